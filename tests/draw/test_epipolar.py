"""Epipolar lines."""

import numpy as np

from patchmatch.draw import draw_epipolar_lines

# A pure translation along x: the line of (x, y) is the row y.
ROWS = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0.0]])


def test_lines_pass_through_the_points_in_both_images():
    image0, image1 = np.zeros((40, 60), np.uint8), np.zeros((50, 70), np.uint8)
    drawn = draw_epipolar_lines(
        image0, image1, np.array([[20.0, 10.0]]), np.array([[30.0, 25.0]]), ROWS
    )
    assert drawn.shape == (50, 60 + 8 + 70, 3)
    assert drawn[25, :10].any(axis=1).all()  # in image 0, the row of the point of image 1
    assert drawn[10, 70:80].any(axis=1).all()  # and the reverse
    assert drawn[10, 20].any()
    assert drawn[25, 98].any()
    assert not drawn[33, :60].any()


def test_a_line_at_infinity_is_left_out_and_the_size_is_limited():
    image = np.zeros((100, 200), np.uint8)
    points = np.array([[20.0, 10.0], [150.0, 60.0]])
    drawn = draw_epipolar_lines(image, image, points, points, np.zeros((3, 3)), size=204)
    assert max(drawn.shape[:2]) <= 212
    empty = np.zeros((0, 2))
    assert draw_epipolar_lines(image, image, empty, empty, ROWS)[:, :200].max() == 0
