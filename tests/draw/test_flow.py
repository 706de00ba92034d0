import math

import numpy as np
import pytest

from patchmatch.draw import color_wheel, draw_flow, flow_colors, robust_max_flow


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def test_color_wheel_has_the_hues_of_the_benchmark():
    wheel = np.floor(color_wheel() * 255).astype(int)
    assert wheel.shape == (55, 3)
    assert wheel[0].tolist() == [255, 0, 0]
    assert wheel[15].tolist() == [255, 255, 0]
    assert wheel[21].tolist() == [0, 255, 0]
    assert wheel[25].tolist() == [0, 255, 255]
    assert wheel[36].tolist() == [0, 0, 255]
    assert wheel[49].tolist() == [255, 0, 255]
    assert wheel[7].tolist() == [255, 255 * 7 // 15, 0]


def reference_color(dx: float, dy: float) -> list[int]:
    """computeColor of the benchmark's C++ code; dx and dy relative to the maximum flow."""
    wheel = [[255, 255 * i // 15, 0] for i in range(15)]
    wheel += [[255 - 255 * i // 6, 255, 0] for i in range(6)]
    wheel += [[0, 255, 255 * i // 4] for i in range(4)]
    wheel += [[0, 255 - 255 * i // 11, 255] for i in range(11)]
    wheel += [[255 * i // 13, 0, 255] for i in range(13)]
    wheel += [[255, 0, 255 - 255 * i // 6] for i in range(6)]
    radius, angle = math.hypot(dx, dy), math.atan2(-dy, -dx) / math.pi
    position = (angle + 1) / 2 * 54
    low = int(position)
    weight, color = position - low, []
    for channel in range(3):
        col0, col1 = wheel[low][channel] / 255, wheel[(low + 1) % 55][channel] / 255
        col = (1 - weight) * col0 + weight * col1
        color.append(int(255 * (1 - radius * (1 - col) if radius <= 1 else col * 0.75)))
    return color


def test_flow_colors_agree_with_the_reference_code():
    rng = np.random.default_rng(0)
    flow = rng.uniform(-7, 7, (9, 11, 2))
    expected = [[reference_color(*(flow[y, x] / 5)) for x in range(11)] for y in range(9)]
    # The reference rounds the hues of the wheel before it mixes them.
    assert np.abs(flow_colors(flow, 5.0).astype(int) - expected).max() <= 1


def test_zero_is_white_right_is_red_and_not_finite_is_black():
    flow = np.array([[[0, 0], [-0.0, -0.0], [2, 0], [2, -0.0], [np.nan, 0], [np.inf, 1]]])
    white, black, red = [255] * 3, [0] * 3, [255, 0, 0]
    assert flow_colors(flow, 2.0).tolist() == [[white, white, red, red, black, black]]


def test_maximum_is_robust_to_outliers():
    flow = np.full((10, 20, 2), (3.0, 4.0))
    flow[0, 0] = 1000
    valid = np.ones((10, 20), bool)
    assert robust_max_flow(flow, valid) == pytest.approx(5)
    assert robust_max_flow(flow, ~valid) == 1
    assert robust_max_flow(np.full((10, 20, 2), 0.1), valid) == 1


def test_static_pixels_do_not_affect_the_maximum():
    flow = np.zeros((10, 20, 2))
    flow[3, 3] = 6.0, 8.0
    assert robust_max_flow(flow, np.ones((10, 20), bool)) == pytest.approx(10)


def test_flow_is_overlaid_with_the_color_wheel_in_the_corner():
    flow, valid = np.zeros((120, 160, 2)), np.zeros((120, 160), bool)
    flow[:60, :80], valid[:60] = (4, 0), True
    image = draw_flow(gray(120, 160), flow, valid, max_flow=4)
    red, white = image[10, 10].astype(int), image[10, 100].astype(int)
    assert red[0] > red[1] + 150
    assert white.min() == white.max() > 200
    assert image[80, 10].tolist() == [50] * 3  # not valid: dark
    corner = image[-60:, -60:].reshape(-1, 3)
    assert len(np.unique(corner, axis=0)) > 50


def test_image_too_small_for_the_color_wheel_has_no_legend():
    assert (
        draw_flow(gray(6, 9), np.zeros((6, 9, 2)), np.zeros((6, 9), bool)).tolist()
        == [[[50] * 3] * 9] * 6
    )


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (flow_colors, (np.zeros((2, 3)), 1.0), r"flow must be \(H, W, 2\), got \(2, 3\)"),
        (flow_colors, (np.zeros((2, 3, 2)), 0.0), "max_flow must be a positive number, got 0"),
        (
            draw_flow,
            (gray(2, 3), np.zeros((3, 2, 2)), np.zeros((3, 2), bool)),
            r"the size of the image, got \(3, 2\) and \(3, 2\) for \(2, 3\)",
        ),
    ],
)
def test_invalid_flows_raise(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
