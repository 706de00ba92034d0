import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from patchmatch.shift.ops import (
    SHIFTS,
    overlap_moments,
    overlap_products,
    shift_similarity,
    shifted_products,
    window_moments,
)

EPS = 1e-6
HEIGHT, WIDTH, BLOCK, STRIDE = 15, 22, 8, 5  # 2 rows and 3 columns of blocks


def similarity(image0, image1, block=BLOCK, stride=STRIDE):
    return shift_similarity(
        image0,
        window_moments(image0, block, stride),
        image1,
        window_moments(image1, block, stride),
        block,
        stride,
        EPS,
    )


def window(image, row, column, dx, dy):
    """Return the inner window of a block, displaced by (dx, dy)."""
    y, x = row * STRIDE + 1 + dy, column * STRIDE + 1 + dx
    return image[y : y + BLOCK - 2, x : x + BLOCK - 2]


def test_convention_shifts_are_dx_dy_row_by_row():
    assert SHIFTS[0] == (-1, -1)
    assert SHIFTS[1] == (0, -1)
    assert SHIFTS[4] == (0, 0)
    assert SHIFTS[5] == (1, 0)
    assert all(SHIFTS[8 - i] == (-dx, -dy) for i, (dx, dy) in enumerate(SHIFTS))


@pytest.mark.parametrize("index", range(9))
def test_convention_displacement_points_from_image0_to_image1(index, device, dtype):
    dx, dy = SHIFTS[index]
    image = torch.rand(1, HEIGHT + 2, WIDTH + 2, device=device, dtype=dtype)
    image0 = image[:, 1:-1, 1:-1]
    # image0[y, x] == image1[y + dy, x + dx]
    image1 = image[:, 1 - dy : 1 - dy + HEIGHT, 1 - dx : 1 - dx + WIDTH]
    assert image0[0, 7, 9] == image1[0, 7 + dy, 9 + dx]
    correlation, residual, *_ = similarity(image0, image1)
    assert (correlation.argmax(dim=0) == index).all()
    assert (residual.argmin(dim=0) == index).all()
    assert_close(correlation[index], torch.ones_like(correlation[index]), rtol=0, atol=1e-4)


def test_moments_agree_with_numpy(device, dtype):
    image = torch.rand(2, HEIGHT, WIDTH, device=device, dtype=dtype)
    mean, variance = window_moments(image, BLOCK, STRIDE)
    assert mean.shape == variance.shape == (9, 2, 2, 3)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            part = window(image[b].double().cpu().numpy(), row, column, dx, dy)
            assert mean[s, b, row, column].item() == pytest.approx(part.mean(), rel=1e-5)
            assert variance[s, b, row, column].item() == pytest.approx(part.var(), rel=1e-4)


def test_products_agree_with_loops_in_both_directions(device, dtype):
    image0, image1 = torch.rand(2, 2, HEIGHT, WIDTH, device=device, dtype=dtype)
    forward, backward = shifted_products(image0, image1, BLOCK, STRIDE)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            forth = window(image0[b], row, column, 0, 0) * window(image1[b], row, column, dx, dy)
            back = window(image1[b], row, column, 0, 0) * window(image0[b], row, column, -dx, -dy)
            assert_close(forward[s, b, row, column], forth.mean())
            assert_close(backward[s, b, row, column], back.mean())


def test_correlation_agrees_with_numpy(device, dtype):
    image0, image1 = torch.rand(2, 1, BLOCK, BLOCK, device=device, dtype=dtype)
    correlation, *_ = similarity(image0, image1)
    a, b = image0[0].double().cpu().numpy(), image1[0].double().cpu().numpy()
    for s, (dx, dy) in enumerate(SHIFTS):
        forth = np.corrcoef(window(a, 0, 0, 0, 0).ravel(), window(b, 0, 0, dx, dy).ravel())[0, 1]
        back = np.corrcoef(window(b, 0, 0, 0, 0).ravel(), window(a, 0, 0, -dx, -dy).ravel())[0, 1]
        assert correlation[s].item() == pytest.approx((forth + back) / 2, abs=1e-4)


def test_residual_is_the_variance_of_the_difference_and_total_the_sum_of_variances():
    image0, image1 = torch.rand(2, 1, BLOCK, BLOCK, dtype=torch.float64)
    _, _, residual, total = similarity(image0, image1)
    a, b = image0[0].numpy(), image1[0].numpy()
    for s, (dx, dy) in enumerate(SHIFTS):
        pairs = [
            (window(a, 0, 0, 0, 0), window(b, 0, 0, dx, dy)),
            (window(a, 0, 0, -dx, -dy), window(b, 0, 0, 0, 0)),
        ]
        assert residual[s].item() == pytest.approx(np.mean([(p - q).var() for p, q in pairs]))
        assert total[s].item() == pytest.approx(np.mean([p.var() + q.var() for p, q in pairs]))


def overlap(image, row, column, dx, dy):
    """Return the pixels x of a block for which x + (dx, dy) lies in the block, too."""
    y, x = row * STRIDE, column * STRIDE
    block = image[y : y + BLOCK, x : x + BLOCK]
    return block[max(0, -dy) : BLOCK - max(0, dy), max(0, -dx) : BLOCK - max(0, dx)]


def test_overlap_moments_agree_with_numpy(device, dtype):
    image = torch.rand(2, HEIGHT, WIDTH, device=device, dtype=dtype)
    mean, variance = overlap_moments(image, BLOCK, STRIDE)
    assert mean.shape == variance.shape == (9, 2, 2, 3)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            part = overlap(image[b].double().cpu().numpy(), row, column, dx, dy)
            assert mean[s, b, row, column].item() == pytest.approx(part.mean(), rel=1e-5)
            assert variance[s, b, row, column].item() == pytest.approx(part.var(), rel=1e-4)


def test_overlap_products_agree_with_loops(device, dtype):
    image0, image1 = torch.rand(2, 2, HEIGHT, WIDTH, device=device, dtype=dtype)
    products = overlap_products(image0, image1, BLOCK, STRIDE)
    for s, (dx, dy) in enumerate(SHIFTS):
        for b, row, column in np.ndindex(2, 2, 3):
            part0 = overlap(image0[b], row, column, dx, dy)
            part1 = overlap(image1[b], row, column, -dx, -dy)
            assert_close(products[s, b, row, column], (part0 * part1).mean())


def test_gain_and_offset_do_not_change_the_correlation(device, dtype):
    image0, image1 = torch.rand(2, 1, HEIGHT, WIDTH, device=device, dtype=dtype)
    plain, *_ = similarity(image0, image1)
    dimmed, *_ = similarity(image0, 0.7 * image1 + 0.2)
    assert_close(plain, dimmed, rtol=0, atol=1e-3)


def test_swapped_frames_give_opposite_shifts(device, dtype):
    image0, image1 = torch.rand(2, 1, HEIGHT, WIDTH, device=device, dtype=dtype)
    for one, other in zip(similarity(image0, image1), similarity(image1, image0), strict=True):
        assert_close(one, other.flip(0))


def test_constant_frames_have_zero_correlation_and_finite_residual():
    flat = torch.full((1, HEIGHT, WIDTH), 0.3)
    correlation, residual, *_ = similarity(flat, flat)
    assert_close(correlation, torch.zeros_like(correlation), rtol=0, atol=1e-2)
    assert torch.isfinite(residual).all()


def test_all_shifts_are_equal_against_a_blank_frame(device, dtype):
    frame = torch.rand(1, HEIGHT, WIDTH, device=device, dtype=dtype)
    blank = torch.zeros_like(frame)
    for pair in ((frame, blank), (blank, frame)):
        correlation, residual, *_ = similarity(*pair)
        assert_close(correlation, torch.zeros_like(correlation), rtol=0, atol=1e-2)
        assert_close(residual, residual[:1].expand_as(residual), rtol=0, atol=1e-2)


def test_gradients_reach_both_frames():
    image0 = torch.rand(1, 8, 9, dtype=torch.float64, requires_grad=True)
    image1 = torch.rand(1, 8, 9, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, b: similarity(a, b, 6, 2), (image0, image1))


def test_an_empty_batch_gives_an_empty_result():
    empty = torch.zeros(0, HEIGHT, WIDTH)
    assert all(part.shape == (9, 0, 2, 3) for part in similarity(empty, empty))


@pytest.mark.parametrize("moments", [window_moments, overlap_moments])
def test_block_at_the_border_has_the_statistics_of_the_same_block_alone(moments, device, dtype):
    """Of 15x22 pixels, the last blocks of 8 begin at row 7 and column 14 with edges."""
    image = torch.rand(2, HEIGHT, WIDTH, device=device, dtype=dtype)
    regular, covering = (moments(image, BLOCK, STRIDE, edges) for edges in (False, True))
    alone = moments(image[:, -BLOCK:, -BLOCK:], BLOCK, STRIDE)
    for part, whole, corner in zip(regular, covering, alone, strict=True):
        assert whole.shape == (9, 2, 3, 4)
        assert_close(whole[..., :2, :3], part)
        assert_close(whole[..., -1:, -1:], corner, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("products", [shifted_products, overlap_products])
def test_block_at_the_border_has_the_products_of_the_same_block_alone(products, device, dtype):
    image0, image1 = torch.rand(2, 2, HEIGHT, WIDTH, device=device, dtype=dtype)
    whole = products(image0, image1, BLOCK, STRIDE, edges=True)
    parts = (image[:, -BLOCK:, -BLOCK:] for image in (image0, image1))
    alone = products(*parts, BLOCK, STRIDE)
    if products is overlap_products:
        whole, alone = (whole,), (alone,)
    for found, expected in zip(whole, alone, strict=True):
        assert found.shape == (9, 2, 3, 4)
        assert_close(found[..., -1:, -1:], expected, rtol=1e-4, atol=1e-5)
