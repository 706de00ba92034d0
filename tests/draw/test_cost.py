import numpy as np
import pytest

from patchmatch.draw import cost_colors, draw_cost, robust_max_cost


def test_zero_is_black_the_maximum_pale_yellow_and_infinity_gray():
    colors = cost_colors(np.array([[0.0, 2.0, 9.0, np.inf]]), 2.0)
    assert colors[0, 0].max() < 10
    assert colors[0, 1].min() > 150
    assert colors[0, 1, 0] > colors[0, 1, 2]  # yellow, not blue: the order is RGB
    assert colors[0, 2].tolist() == colors[0, 1].tolist()
    assert colors[0, 3].tolist() == [128] * 3


def test_maximum_is_robust_to_outliers():
    cost = np.full((20, 20), 3.0)
    cost[0, 0], cost[0, 1] = 1000, np.inf
    assert robust_max_cost(cost) == pytest.approx(3)
    assert robust_max_cost(np.zeros((2, 3))) == 1
    assert robust_max_cost(np.full((2, 3), np.inf)) == 1


def test_single_nonzero_cost_sets_the_maximum():
    cost = np.zeros((20, 20))
    cost[3, 4] = 5
    assert robust_max_cost(cost) == 5


def test_costs_keep_their_pixels_and_the_color_bar_is_on_the_right():
    cost = np.linspace(0, 4, 60 * 50).reshape(60, 50)
    drawn = draw_cost(cost, max_cost=4.0)
    assert drawn.shape[0] == 60
    assert drawn.shape[1] > 60
    assert np.array_equal(drawn[:, :50], cost_colors(cost, 4.0))
    bar = drawn[:, 50 + 6 + 2].astype(int).sum(axis=1)
    assert bar[0] > bar[30] > bar[-1]


@pytest.mark.parametrize(
    ("cost", "max_cost", "message"),
    [
        (np.zeros((2, 3, 1)), 1.0, r"cost must be \(H, W\)"),
        (np.zeros((2, 3)), 0.0, "max_cost must be a positive number, got 0"),
        (np.zeros((2, 3)), np.inf, "max_cost must be a positive number, got inf"),
    ],
)
def test_invalid_costs_raise(cost, max_cost, message):
    with pytest.raises(ValueError, match=message):
        cost_colors(cost, max_cost)
