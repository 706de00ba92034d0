import dataclasses

import numpy as np
import pytest

from patchmatch.motion.evaluation import left_over, moves_alone, score_motion, true_block_motion


def field(rows=4, columns=5, motion=(0.0, 0.0)):
    return np.tile(np.array(motion, float), (rows, columns, 1))


def test_exact_answers_score_best():
    truth = [field(2, 3, (0.1, 0)), field(4, 5, (1, 0)), field(1, 2, (9, -7))]
    scores = score_motion([t.copy() for t in truth], truth)
    assert dataclasses.astuple(scores)[:7] == (28, 0, 0, 1, 1, 1, 0)


def test_one_planted_outlier_is_one_in_twenty():
    measured = field()
    measured[1, 3] = 3, 4
    scores = score_motion([measured], [field()])
    assert scores.blocks == 20
    assert scores.mean == pytest.approx(5 / 20)
    assert scores.median == 0
    assert scores.within_half == scores.within_one == pytest.approx(19 / 20)


def test_the_two_limits_are_told_apart():
    measured = field(1, 4)
    measured[0, :, 1] = 0, 0.4, 0.5, 1
    scores = score_motion([measured], [field(1, 4)])
    assert scores.within_half == 2 / 4
    assert scores.within_one == 3 / 4
    assert scores.median == pytest.approx(0.45)


def test_what_moves_with_fewer_than_three_neighbours_in_eight_moves_alone():
    truth = field(5, 7)
    truth[1:3, 1:3] = 4, 0  # four blocks, each with three others
    truth[0, 5], truth[3, 4], truth[4, 4] = (3, 0), (0, 5), (0, 5.9)
    truth[3, 0] = np.nan
    expected = np.zeros((5, 7), bool)
    expected[0, 5] = expected[3, 4] = expected[4, 4] = True
    assert (moves_alone(truth) == expected).all()
    measured = truth.copy()
    measured[3, 4] = 0
    scores = score_motion([measured], [truth])
    assert scores.alone == 3
    assert scores.mean_alone == pytest.approx(5 / 3)


def test_where_nothing_moves_alone_there_is_no_mean_of_it():
    scores = score_motion([field()], [field()])
    assert scores.alone == 0
    assert np.isnan(scores.mean_alone)


def test_macro_f1_by_hand():
    truth = np.array([[[0.0, 0], [0, 0], [0, 0], [1, 0], [1, 0], [9, 9]]])
    measured = np.array([[[0.0, 0], [0, 0], [1, 0], [1, 0], [7, 0], [9, 9]]])
    # still: 2 * 2 / (2 + 3), one pixel: 2 * 1 / (2 + 2), larger: 2 * 1 / (2 + 1)
    scores = score_motion([measured], [truth])
    assert scores.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)


def test_a_kind_that_does_not_occur_is_left_out_of_macro_f1():
    measured, truth = field(1, 3), field(1, 3)
    measured[0, 2] = 5, 0
    assert score_motion([measured], [truth]).macro_f1 == pytest.approx(2 * 2 / (2 + 3))


def test_blocks_of_unknown_motion_are_ignored():
    measured, truth = field(2, 3, (4, 0)), field(2, 3, (4, 0))
    truth[0, 1] = np.nan
    truth[1, 2, 1] = np.nan
    measured[0, 1] = 700, 0
    measured[1, 2] = np.nan
    scores = score_motion([measured, field(1, 2)], [truth, field(1, 2)])
    assert scores.blocks == 6
    assert scores.mean == 0


def test_what_differs_in_shape_is_refused():
    with pytest.raises(ValueError, match=r"must agree, got \(2, 3, 2\), \(3, 2, 2\)"):
        score_motion([field(2, 3)], [field(3, 2)])
    with pytest.raises(ValueError, match="shorter"):
        score_motion([field(), field()], [field()])


def test_nothing_known_is_refused():
    with pytest.raises(ValueError, match="no block has known motion"):
        score_motion([field()], [np.full((4, 5, 2), np.nan)])


def test_the_motion_of_a_block_is_the_median_of_its_flow():
    flow = np.zeros((9, 14, 2))  # 2 rows and 3 columns of blocks of 4, and a rest
    flow[:4, 4:8] = np.arange(16).reshape(4, 4, 1) * [1, -2]
    flow[8:], flow[:, 12:] = 99, 99
    found = true_block_motion(flow, np.ones((9, 14), bool), 4)
    assert found.shape == (2, 3, 2)
    assert found[0, 1].tolist() == [7.5, -15]
    found[0, 1] = 0
    assert not found.any()


def test_a_block_that_is_known_by_less_than_half_is_unknown():
    flow, valid = np.full((4, 12, 2), 3.0), np.ones((4, 12), bool)
    valid[:2, :4] = False  # a half is left
    flow[:2, :4] = 50
    valid[:2, 4:8] = valid[2, 4] = False
    flow[:, 8:] = np.inf
    found = true_block_motion(flow, valid, 4)
    assert found[0, 0].tolist() == [3, 3]
    assert np.isnan(found[0, 1]).all()
    assert np.isnan(found[0, 2]).all()


def frames_apart(dx, dy, height=40, width=72):
    """A picture and the same moved by whole pixels, uint8."""
    picture = np.random.default_rng(0).integers(0, 256, (height + 20, width + 20), np.uint8)
    return picture[10:-10, 10:-10], picture[10 - dy : -10 - dy, 10 - dx : -10 - dx]


def test_nothing_is_left_over_where_the_motion_is_right():
    frame0, frame1 = frames_apart(3, -2)
    left = left_over(frame0, frame1, field(2, 4, (3, -2)), 16)
    assert left.shape == (2, 4)
    assert np.allclose(left[1:, :3], 0, atol=1e-4)  # above and to the right it leaves the frame
    assert (left_over(frame0, frame1, field(2, 4), 16) > 50).all()


def test_what_is_left_over_is_told_in_grey_levels_of_each_block():
    frame0 = np.tile(np.arange(64, dtype=np.uint8) * 2, (32, 1))  # two grey levels a pixel
    motion = field(2, 4)
    motion[0, 1] = 0.5, 0
    motion[1, 2] = -3, 7
    left = left_over(frame0, frame0, motion, 16)
    expected = np.zeros((2, 4))
    expected[0, 1], expected[1, 2] = 1, 6
    assert np.allclose(left, expected, atol=1e-4)


@pytest.mark.parametrize(("rows", "block"), [(3, 16), (2, 8)])
def test_motion_of_other_blocks_than_the_frames_have_is_refused(rows, block):
    frame = np.zeros((32, 64), np.uint8)
    with pytest.raises(ValueError, match=f"no {rows}x4 blocks of {block} pixels"):
        left_over(frame, frame, field(rows, 4), block)
    with pytest.raises(ValueError, match="frames of"):
        left_over(frame, frame[:, 1:], field(2, 4), 16)
