import benchmark_motion
import cv2
import numpy as np
import pytest
from motion_peers import peers


def test_fixed_camera_table_has_the_interpolation_error_of_changed_blocks(tmp_path):
    background = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (128, 160)), (0, 0), 3)
    background = 40 + (background - background.min()) / np.ptp(background) * 100
    foreground = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (72, 72)), (0, 0), 2)
    for number in range(3):  # 8, 9 and 10: the order of the names is another
        frame = background.copy()
        frame[24:96, 20 + 6 * number : 92 + 6 * number] = foreground
        cv2.imwrite(str(tmp_path / f"{8 + number}.png"), frame)
    matchers = {"patchmatch": benchmark_motion.load_motion_matcher(device="cpu").matcher}
    methods = {
        "zero": lambda a, _: np.zeros((a.shape[0] // 32, a.shape[1] // 32, 2)),
        "DIS": peers()["DIS medium"],
        "patchmatch": benchmark_motion.method_of(matchers["patchmatch"]),
    }
    table = benchmark_motion.fixed_camera_table(tmp_path, methods, matchers)
    moved, of_changed, error, unmatched = (list(column.cells) for column in table.columns[1:])
    assert "2 pairs" in str(table.title)
    assert [moved[0], of_changed[0], *unmatched[:2]] == ["0", "0", "", ""]
    assert float(error[0]) > 1.5 * float(error[1])
    assert float(error[0]) > 1.5 * float(error[2])
    assert 4 <= int(of_changed[2]) <= int(moved[2])
    assert int(unmatched[2]) < int(of_changed[2])
    still = tmp_path / "still"
    still.mkdir()
    for number in range(2):
        cv2.imwrite(str(still / f"{number}.png"), frame)
    with pytest.raises(SystemExit, match="no block changes"):
        benchmark_motion.fixed_camera_table(still, methods, matchers)


def test_folder_without_frames_raises(tmp_path):
    with pytest.raises(SystemExit, match="expected at least 2 images, got 0"):
        benchmark_motion.read_frames(tmp_path)
