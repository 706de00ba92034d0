import numpy as np
import pytest

from patchmatch.draw import draw_heat


def test_high_values_are_red_low_ones_blue_and_the_color_bar_is_on_the_right():
    heat = np.zeros((60, 80), np.float32)
    heat[20, 50] = 0.7
    drawn = draw_heat(np.full((60, 80), 128, np.uint8), heat).astype(int)
    assert drawn.shape[0] == 60
    assert drawn.shape[1] > 100
    red, _, blue = drawn[20, 50]
    assert red > blue + 30
    red, _, blue = drawn[40, 10]
    assert blue > red
    top, bottom = drawn[0, 90], drawn[-1, 90]  # in the color bar
    assert top[0] > top[2]
    assert bottom[2] > bottom[0]


def test_map_of_zeros_has_one_color():
    drawn = draw_heat(np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.float32))
    assert len(np.unique(drawn[:, :50].reshape(-1, 3), axis=0)) == 1


def dark_rows(drawn, width):
    """Return the rows right of the color bar that contain text."""
    beside = drawn[:, width + 30 * max(1, drawn.shape[0] // 700) :]
    return (beside.min(axis=(1, 2)) < 100).nonzero()[0]


@pytest.mark.parametrize("height", [60, 700, 2800])
def test_tick_labels_scale_with_the_image(height):
    heat = np.full((height, 50), 0.7, np.float32)
    rows = dark_rows(draw_heat(np.zeros((height, 50), np.uint8), heat), 50)
    groups = np.split(rows, (np.diff(rows) > height // 20).nonzero()[0] + 1)
    assert len(groups) == 3  # 0.70, 0.35 and 0.00
    assert all(max(6, height // 110) <= np.ptp(group) for group in groups)


def test_small_image_has_fewer_tick_labels():
    for height in (6, 20, 34):
        heat = np.full((height, 50), 0.7, np.float32)
        drawn = draw_heat(np.zeros((height, 50), np.uint8), heat)
        assert drawn.shape[0] == height
        assert len(dark_rows(drawn, 50)) > 0
