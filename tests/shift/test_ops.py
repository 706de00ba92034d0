import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from patchmatch.shift.ops import SHIFTS, shift_similarity, shifted_products, window_moments

FLOOR = 1e-6
HEIGHT, WIDTH, BLOCK, STRIDE = 15, 22, 8, 5  # 2 rows and 3 columns of blocks


def similarity(image0, image1, block=BLOCK, stride=STRIDE):
    return shift_similarity(
        image0,
        window_moments(image0, block, stride),
        image1,
        window_moments(image1, block, stride),
        block,
        stride,
        FLOOR,
    )


def windows(image, row, column, dx, dy):
    """The inner window of a block, moved by a shift."""
    y, x = row * STRIDE + 1 + dy, column * STRIDE + 1 + dx
    return image[y : y + BLOCK - 2, x : x + BLOCK - 2]


def test_convention_shifts_are_dx_dy_row_by_row():
    assert SHIFTS[0] == (-1, -1)
    assert SHIFTS[1] == (0, -1)
    assert SHIFTS[4] == (0, 0)
    assert SHIFTS[5] == (1, 0)
    assert all(SHIFTS[8 - i] == (-dx, -dy) for i, (dx, dy) in enumerate(SHIFTS))


@pytest.mark.parametrize("index", range(9))
def test_convention_displacement_points_from_image0_to_image1(index):
    dx, dy = SHIFTS[index]
    canvas = torch.rand(1, HEIGHT + 2, WIDTH + 2)
    image0 = canvas[:, 1:-1, 1:-1]
    # image0[y, x] == image1[y + dy, x + dx]
    image1 = canvas[:, 1 - dy : 1 - dy + HEIGHT, 1 - dx : 1 - dx + WIDTH]
    assert image0[0, 7, 9] == image1[0, 7 + dy, 9 + dx]
    correlation, residual = similarity(image0, image1)
    assert (correlation.argmax(dim=0) == index).all()
    assert (residual.argmin(dim=0) == index).all()
    assert_close(correlation[index], torch.ones(1, 2, 3), rtol=0, atol=1e-4)


def test_moments_agree_with_numpy():
    image = torch.rand(2, HEIGHT, WIDTH)
    mean, variance = window_moments(image, BLOCK, STRIDE)
    assert mean.shape == variance.shape == (9, 2, 2, 3)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            part = windows(image[b].double().numpy(), row, column, dx, dy)
            assert mean[s, b, row, column].item() == pytest.approx(part.mean(), rel=1e-5)
            assert variance[s, b, row, column].item() == pytest.approx(part.var(), rel=1e-4)


def test_products_agree_with_loops_in_both_directions():
    image0, image1 = torch.rand(2, HEIGHT, WIDTH), torch.rand(2, HEIGHT, WIDTH)
    forward, backward = shifted_products(image0, image1, BLOCK, STRIDE)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            there = windows(image0[b], row, column, 0, 0) * windows(image1[b], row, column, dx, dy)
            back = windows(image1[b], row, column, 0, 0) * windows(image0[b], row, column, -dx, -dy)
            assert_close(forward[s, b, row, column], there.mean())
            assert_close(backward[s, b, row, column], back.mean())


def test_correlation_agrees_with_numpy():
    image0, image1 = torch.rand(1, BLOCK, BLOCK), torch.rand(1, BLOCK, BLOCK)
    correlation, _ = similarity(image0, image1)
    a, b = image0[0].double().numpy(), image1[0].double().numpy()
    for s, (dx, dy) in enumerate(SHIFTS):
        there = np.corrcoef(windows(a, 0, 0, 0, 0).ravel(), windows(b, 0, 0, dx, dy).ravel())[0, 1]
        back = np.corrcoef(windows(b, 0, 0, 0, 0).ravel(), windows(a, 0, 0, -dx, -dy).ravel())[0, 1]
        assert correlation[s].item() == pytest.approx((there + back) / 2, abs=1e-4)


def test_gain_and_offset_leave_the_correlation_alone():
    image0, image1 = torch.rand(1, HEIGHT, WIDTH), torch.rand(1, HEIGHT, WIDTH)
    plain, _ = similarity(image0, image1)
    dimmed, _ = similarity(image0, 0.7 * image1 + 0.2)
    assert_close(plain, dimmed, rtol=0, atol=1e-3)


def test_exchanged_frames_give_opposite_shifts():
    image0, image1 = torch.rand(1, HEIGHT, WIDTH), torch.rand(1, HEIGHT, WIDTH)
    for one, other in zip(similarity(image0, image1), similarity(image1, image0), strict=True):
        assert_close(one, other.flip(0))


def test_constant_frames_correlate_with_nothing_and_leave_no_residual():
    flat = torch.full((1, HEIGHT, WIDTH), 0.3)
    correlation, residual = similarity(flat, flat)
    assert_close(correlation, torch.zeros_like(correlation), rtol=0, atol=1e-2)
    assert torch.isfinite(residual).all()


def test_against_a_blank_frame_no_shift_is_better_than_another():
    frame, blank = torch.rand(1, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH)
    for pair in ((frame, blank), (blank, frame)):
        correlation, residual = similarity(*pair)
        assert_close(correlation, torch.zeros_like(correlation), rtol=0, atol=1e-2)
        assert_close(residual, residual[:1].expand_as(residual), rtol=0, atol=1e-2)


def test_gradients_reach_both_frames():
    image0 = torch.rand(1, 8, 9, dtype=torch.float64, requires_grad=True)
    image1 = torch.rand(1, 8, 9, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, b: similarity(a, b, 6, 2), (image0, image1))


def test_a_frame_of_no_sequences_gives_no_answers():
    empty = torch.zeros(0, HEIGHT, WIDTH)
    assert all(part.shape == (9, 0, 2, 3) for part in similarity(empty, empty))
