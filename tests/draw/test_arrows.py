import numpy as np
import pytest

from patchmatch.draw import draw_arrows

RED = (255, 0, 0)


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 100, np.uint8)


def reddish(picture: np.ndarray) -> set[tuple]:
    """Return the places (y, x) of strokes, whose edges are blended with what lies below."""
    places = (picture[..., 0] > 200) & (picture[..., 1] < 60)
    return {tuple(place) for place in np.argwhere(places).tolist()}


def test_an_arrow_goes_from_its_start_along_the_displacement():
    picture = draw_arrows(gray(40, 60), [(10, 20)], [(30.0, 0.0)], [RED], thickness=1)
    red = reddish(picture)
    assert {(20, x) for x in range(11, 40)} <= red
    assert max(x for _, x in red) == 40
    assert min(x for _, x in red) == 11  # the end of the shaft is blended
    steep = draw_arrows(gray(40, 60), [(10, 5)], [(0.0, 20.0)], [RED], thickness=1)
    assert max(y for y, _ in reddish(steep)) == 25


def test_a_short_arrow_is_drawn_long_enough_to_see_its_direction():
    for dx in (0.1, 1.0, 12.0):
        picture = draw_arrows(gray(40, 60), [(10, 20)], [(dx, 0.0)], [RED], thickness=1)
        assert max(x for _, x in reddish(picture)) == 22
    scaled = draw_arrows(gray(40, 60), [(10, 20)], [(5.0, 0.0)], [RED], scale=6, thickness=1)
    assert max(x for _, x in reddish(scaled)) == 40


def test_a_displacement_that_is_not_known_is_a_cross_and_none_is_a_dot():
    cross = draw_arrows(gray(30, 30), [(15, 15)], [(np.nan, 1.0)], [RED], thickness=1)
    red = reddish(cross)
    assert {(13, 13), (13, 17), (17, 13), (17, 17), (15, 15)} <= red
    dot = reddish(draw_arrows(gray(30, 30), [(15, 15)], [(0, 0)], [RED], thickness=1))
    assert {(15, 15)} <= dot <= {(y, x) for y in (14, 15, 16) for x in (14, 15, 16)}


def test_arrows_leave_the_input_alone_and_survive_any_number():
    picture = gray(30, 40)
    starts = [(5, 5), (np.nan, 3), (-1e9, 4), (5, 5)]
    ways = [(1e30, -1e30), (1, 1), (2, 2), (np.inf, 0)]
    draw_arrows(picture, starts, ways, [RED] * 4)
    assert (picture == 100).all()
    assert (draw_arrows(picture, np.zeros((0, 2)), [], []) == 100).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colors": []}, "got 1 starts, 1 displacements, 0 colors"),
        ({"displacement": []}, "got 1 starts, 0 displacements, 1 colors"),
        ({"scale": 0}, "scale must be a positive number, got 0"),
        ({"scale": float("inf")}, "scale must be a positive number, got inf"),
        ({"thickness": 0}, "thickness must be at least 1 pixel, got 0"),
    ],
)
def test_arrows_that_cannot_be_drawn_are_refused(options, message):
    usual = {"starts": [(1, 1)], "displacement": [(1, 0)], "colors": [RED]}
    with pytest.raises(ValueError, match=message):
        draw_arrows(gray(5, 6), **usual | options)
