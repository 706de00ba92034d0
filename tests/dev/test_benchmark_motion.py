import benchmark_motion
import cv2
import numpy as np
import pytest
from motion_peers import peers


def test_a_fixed_camera_is_measured_by_what_motion_leaves_over(tmp_path):
    ground = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (128, 160)), (0, 0), 3)
    ground = 40 + (ground - ground.min()) / np.ptp(ground) * 100
    figure = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (72, 72)), (0, 0), 2)
    for number in range(3):  # 8, 9 and 10, whose names are not in this order
        frame = ground.copy()
        frame[24:96, 20 + 6 * number : 92 + 6 * number] = figure
        cv2.imwrite(str(tmp_path / f"{8 + number}.png"), frame)
    matchers = {"patchmatch": benchmark_motion.load_motion_matcher(device="cpu").matcher}
    methods = {
        "rest": lambda a, _: np.zeros((a.shape[0] // 32, a.shape[1] // 32, 2)),
        "DIS": peers()["DIS medium"],
        "patchmatch": benchmark_motion.network(matchers["patchmatch"]),
    }
    table = benchmark_motion.explained(tmp_path, methods, matchers)
    moved, of_changed, left, gone = (list(column.cells) for column in table.columns[1:])
    assert "2 pairs" in str(table.title)
    assert [moved[0], of_changed[0], *gone[:2]] == ["0", "0", "", ""]
    assert float(left[0]) > 1.5 * float(left[1])
    assert float(left[0]) > 1.5 * float(left[2])
    assert 4 <= int(of_changed[2]) <= int(moved[2])
    assert int(gone[2]) < int(of_changed[2])
    still = tmp_path / "still"
    still.mkdir()
    for number in range(2):
        cv2.imwrite(str(still / f"{number}.png"), frame)
    with pytest.raises(SystemExit, match="no block changes"):
        benchmark_motion.explained(still, methods, matchers)


def test_folders_without_frames_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="two pictures or more, holds 0"):
        benchmark_motion.read_frames(tmp_path)
