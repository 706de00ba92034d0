import torch
from torch.testing import assert_close

from patchmatch.ops.pyramid import pyramid


def test_pixel_of_the_next_level_is_the_mean_of_four(device, dtype):
    image = torch.tensor([[1.0, 3, 0, 2, 5, 5], [5, 7, 4, 2, 5, 9]])
    image = image.to(device, dtype).repeat(2, 1, 1, 1)
    image[1] *= -2
    full, half = pyramid(image, 2)
    assert full is image
    assert half[0, 0].tolist() == [[4, 2, 6]]
    assert half[1, 0].tolist() == [[-8, -4, -12]]


def test_odd_height_and_width_are_padded_by_repetition():
    image = torch.tensor([[1.0, 3, 8], [5, 7, 4], [2, 6, 10]])[None, None]
    assert pyramid(image, 2)[1][0, 0].tolist() == [[4, 6], [4, 10]]


def test_convention_pixel_centre_is_the_centre_of_the_averaged_pixels(device, dtype):
    x = torch.arange(48, device=device, dtype=dtype).expand(2, 1, 16, 48)
    for level, image in enumerate(pyramid(x, 4)):
        size = 2**level
        centres = size * (torch.arange(48 // size, device=device, dtype=dtype) + 0.5) - 0.5
        assert_close(image, centres.expand(2, 1, 16 // size, 48 // size))


def test_displacements_halve_from_level_to_level(device, dtype):
    canvas = torch.rand(2, 1, 24, 48, device=device, dtype=dtype)
    moved = canvas.roll((8, -16), dims=(2, 3))
    for level, (one, other) in enumerate(zip(pyramid(canvas, 4), pyramid(moved, 4), strict=True)):
        assert_close(one.roll((8 >> level, -16 >> level), dims=(2, 3)), other)


def test_single_level_is_the_image():
    image = torch.rand(2, 3, 5, 7)
    (only,) = pyramid(image, 1)
    assert only is image


def test_empty_batch_gives_an_empty_batch():
    assert [x.shape for x in pyramid(torch.zeros(0, 1, 8, 12), 2)] == [(0, 1, 8, 12), (0, 1, 4, 6)]
