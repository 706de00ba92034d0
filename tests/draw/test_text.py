import numpy as np
import pytest

from patchmatch.draw.text import draw_label, text_size, to_ascii


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cup 3", "cup 3"),
        ("Tässchen", "Tasschen"),
        ("影", "template 2"),
        ("чашка", "template 2"),
        ("a\x1b", "template 2"),
        ("caf\udce9", "template 2"),
    ],
)
def test_text_is_reduced_to_the_letters_of_the_font_or_replaced(text, shown):
    assert to_ascii(text, "template 2") == shown


def draw(text, width):
    image = np.full((40, width, 3), 128, np.uint8)
    draw_label(image, 0, 20, (0, 0, 255), text, 0.4)
    return image


def test_a_label_wider_than_the_image_keeps_its_end():
    width, name = 120, "a_long_name_of_a_template_" * 3
    image, other = draw(f"{name} 0.93", width), draw(f"{name} 0.11", width)
    assert np.array_equal(draw("cup 0.93", width), draw("cup 0.93", width))
    differing = np.nonzero((image != other).any(axis=(0, 2)))[0]
    assert len(differing) > 4  # the score is in both images
    assert differing.min() > width // 2


def test_a_label_that_fits_is_not_changed():
    text = "cup 0.93"
    width = text_size(text, 0.4)[0] + 4
    assert np.array_equal(draw(text, width), draw(text, width + 50)[:, :width])
    assert not np.array_equal(draw(text, width - 1), draw(text, width)[:, : width - 1])


def test_nothing_is_drawn_where_no_letter_fits():
    assert draw("cup 0.93", 5).shape == (40, 5, 3)
