import dataclasses

import numpy as np
import pytest

from patchmatch.motion.evaluation import (
    evaluate_motion,
    interpolation_error,
    isolated_motion,
    median_block_flow,
    near_motion_boundaries,
)


def field(rows=4, columns=5, motion=(0.0, 0.0)):
    return np.tile(np.array(motion, float), (rows, columns, 1))


def test_exact_motion_has_no_errors():
    truth = [field(2, 3, (0.1, 0)), field(4, 5, (1, 0)), field(1, 2, (9, -7))]
    errors = evaluate_motion([t.copy() for t in truth], truth)
    assert dataclasses.astuple(errors)[:7] == (28, 0, 0, 1, 1, 1, 0)


def test_one_planted_outlier_is_counted_as_one_in_twenty():
    measured = field()
    measured[1, 3] = 3, 4
    errors = evaluate_motion([measured], [field()])
    assert errors.blocks == 20
    assert errors.mean == pytest.approx(5 / 20)
    assert errors.median == 0
    assert errors.within_half == errors.within_one == pytest.approx(19 / 20)


def test_thresholds_of_half_a_pixel_and_one_pixel_are_strict():
    measured = field(1, 4)
    measured[0, :, 1] = 0, 0.4, 0.5, 1
    errors = evaluate_motion([measured], [field(1, 4)])
    assert errors.within_half == 2 / 4
    assert errors.within_one == 3 / 4
    assert errors.median == pytest.approx(0.45)


def test_motion_is_isolated_with_fewer_than_three_in_eight_similar_neighbours():
    truth = field(5, 7)
    truth[1:3, 1:3] = 4, 0  # four blocks, each with three others
    truth[0, 5], truth[3, 4], truth[4, 4] = (3, 0), (0, 5), (0, 5.9)
    truth[3, 0] = np.nan
    expected = np.zeros((5, 7), bool)
    expected[0, 5] = expected[3, 4] = expected[4, 4] = True
    assert (isolated_motion(truth) == expected).all()
    measured = truth.copy()
    measured[3, 4] = 0
    errors = evaluate_motion([measured], [truth])
    assert errors.isolated == 3
    assert errors.mean_isolated == pytest.approx(5 / 3)


def test_mean_isolated_is_nan_without_isolated_blocks():
    errors = evaluate_motion([field()], [field()])
    assert errors.isolated == 0
    assert np.isnan(errors.mean_isolated)


def test_macro_f1_agrees_with_a_computed_example():
    truth = np.array([[[0.0, 0], [0, 0], [0, 0], [1, 0], [1, 0], [9, 9]]])
    measured = np.array([[[0.0, 0], [0, 0], [1, 0], [1, 0], [7, 0], [9, 9]]])
    # still: 2 * 2 / (2 + 3), one pixel: 2 * 1 / (2 + 2), larger: 2 * 1 / (2 + 1)
    errors = evaluate_motion([measured], [truth])
    assert errors.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)


def test_macro_f1_ignores_kinds_that_do_not_occur():
    measured, truth = field(1, 3), field(1, 3)
    measured[0, 2] = 5, 0
    assert evaluate_motion([measured], [truth]).macro_f1 == pytest.approx(2 * 2 / (2 + 3))


def test_blocks_of_unknown_motion_are_ignored():
    measured, truth = field(2, 3, (4, 0)), field(2, 3, (4, 0))
    truth[0, 1] = np.nan
    truth[1, 2, 1] = np.nan
    measured[0, 1] = 700, 0
    measured[1, 2] = np.nan
    errors = evaluate_motion([measured, field(1, 2)], [truth, field(1, 2)])
    assert errors.blocks == 6
    assert errors.mean == 0


def test_different_shapes_raise():
    with pytest.raises(ValueError, match=r"the same shape, got \(2, 3, 2\) and \(3, 2, 2\)"):
        evaluate_motion([field(2, 3)], [field(3, 2)])
    with pytest.raises(ValueError, match="shorter"):
        evaluate_motion([field(), field()], [field()])


def test_unknown_motion_of_all_blocks_raises():
    with pytest.raises(ValueError, match="the motion of every block is unknown"):
        evaluate_motion([field()], [np.full((4, 5, 2), np.nan)])


def test_median_block_flow_is_the_median_of_each_whole_block():
    flow = np.zeros((9, 14, 2))  # 2 rows and 3 columns of blocks of 4, and a remainder
    flow[:4, 4:8] = np.arange(16).reshape(4, 4, 1) * [1, -2]
    flow[8:], flow[:, 12:] = 99, 99
    found = median_block_flow(flow, np.ones((9, 14), bool), 4)
    assert found.shape == (2, 3, 2)
    assert found[0, 1].tolist() == [7.5, -15]
    found[0, 1] = 0
    assert not found.any()


def test_block_with_less_than_half_known_flow_is_nan():
    flow, valid = np.full((4, 12, 2), 3.0), np.ones((4, 12), bool)
    valid[:2, :4] = False  # half is valid
    flow[:2, :4] = 50
    valid[:2, 4:8] = valid[2, 4] = False
    flow[:, 8:] = np.inf
    found = median_block_flow(flow, valid, 4)
    assert found[0, 0].tolist() == [3, 3]
    assert np.isnan(found[0, 1]).all()
    assert np.isnan(found[0, 2]).all()


def frames_apart(dx, dy, height=40, width=72):
    """Return an image and the same image moved by integer offsets, uint8."""
    image = np.random.default_rng(0).integers(0, 256, (height + 20, width + 20), np.uint8)
    return image[10:-10, 10:-10], image[10 - dy : -10 - dy, 10 - dx : -10 - dx]


def test_interpolation_error_of_correct_motion_is_zero():
    frame0, frame1 = frames_apart(3, -2)
    error = interpolation_error(frame0, frame1, field(2, 4, (3, -2)), 16)
    assert error.shape == (2, 4)
    assert np.allclose(error[1:, :3], 0, atol=1e-4)  # the first row and last column leave the frame
    assert (interpolation_error(frame0, frame1, field(2, 4), 16) > 50).all()


def test_interpolation_error_is_in_grey_levels_of_each_block():
    frame0 = np.tile(np.arange(64, dtype=np.uint8) * 2, (32, 1))  # two gray levels a pixel
    motion = field(2, 4)
    motion[0, 1] = 0.5, 0
    motion[1, 2] = -3, 7
    error = interpolation_error(frame0, frame0, motion, 16)
    expected = np.zeros((2, 4))
    expected[0, 1], expected[1, 2] = 1, 6
    assert np.allclose(error, expected, atol=1e-4)


@pytest.mark.parametrize(("rows", "block"), [(3, 16), (2, 8)])
def test_motion_that_does_not_fit_the_frames_raises(rows, block):
    frame = np.zeros((32, 64), np.uint8)
    with pytest.raises(ValueError, match=f"of {rows}x4 blocks of {block} pixels does not fit"):
        interpolation_error(frame, frame, field(rows, 4), block)
    with pytest.raises(ValueError, match="does not fit frames of"):
        interpolation_error(frame, frame[:, 1:], field(2, 4), 16)


def test_pixels_near_motion_boundaries_are_within_five_pixels_of_one():
    flow, valid = np.zeros((20, 40, 2)), np.ones((20, 40), bool)
    flow[:, 20:, 0] = 1.5
    flow[:, 30:, 0] = 2.4  # by less than one pixel: not a boundary
    valid[3] = False
    near = near_motion_boundaries(flow, valid)
    assert near[10].nonzero()[0].tolist() == list(range(14, 26))
    assert not near[3].any()
    assert not near_motion_boundaries(flow * 0, valid).any()
