import numpy as np
import pytest

from patchmatch.draw import draw_polygons

RED, BLUE = (255, 0, 0), (0, 0, 255)
SQUARE = [(5, 6), (20, 6), (20, 15), (5, 15)]


def test_polygon_is_closed_and_passes_through_its_corners():
    image = np.full((30, 40), 100, np.uint8)
    drawn = draw_polygons(image, [SQUARE], [RED], thickness=1)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 60)
    assert red[6, 5:21].all()
    assert red[15, 5:21].all()
    assert red[6:16, 5].all()  # the edge from the last corner to the first
    assert not red[8:14, 8:18].any()
    assert (image == 100).all()


def test_first_polygon_is_on_top_and_an_unknown_one_is_not_drawn():
    image = np.full((30, 40, 3), 100, np.uint8)
    drawn = draw_polygons(image, [SQUARE, SQUARE], [RED, BLUE], thickness=1)
    assert drawn[6, 12, 0] > 200 > 10 > drawn[6, 12, 2]
    unknown = np.full((1, 4, 2), np.nan)
    assert (draw_polygons(image, unknown, [RED]) == 100).all()
    assert (draw_polygons(image, np.zeros((0, 4, 2)), []) == 100).all()


def test_invalid_arguments_raise():
    image = np.zeros((30, 40), np.uint8)
    with pytest.raises(ValueError, match="got 1 polygons, 0 colors"):
        draw_polygons(image, [SQUARE], [])
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        draw_polygons(image, [SQUARE], [RED], thickness=0)
