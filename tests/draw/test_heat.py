import numpy as np

from patchmatch.draw import draw_heat


def test_hot_places_are_red_cold_ones_blue_and_the_scale_stands_beside():
    heat = np.zeros((60, 80), np.float32)
    heat[20, 50] = 0.7
    drawn = draw_heat(np.full((60, 80), 128, np.uint8), heat).astype(int)
    assert drawn.shape[0] == 60
    assert drawn.shape[1] > 100
    red, _, blue = drawn[20, 50]
    assert red > blue + 30
    red, _, blue = drawn[40, 10]
    assert blue > red
    top, bottom = drawn[0, 90], drawn[-1, 90]  # within the scale
    assert top[0] > top[2]
    assert bottom[2] > bottom[0]


def test_a_map_of_zeros_is_cold_everywhere():
    drawn = draw_heat(np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.float32))
    assert len(np.unique(drawn[:, :50].reshape(-1, 3), axis=0)) == 1
