import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from patchmatch.motion.noise import blockiness, noise_level, noise_residual


def integer(image, sigma, seed=0):
    """An image of gray levels as a sensor might give it, (1, 1, H, W)."""
    seen = image + np.random.default_rng(seed).normal(0, sigma, image.shape)
    return torch.from_numpy(np.clip(np.rint(seen), 0, 255).astype(np.float32) / 255)[None, None]


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 8])
@pytest.mark.parametrize("name", ["flat", "ramp", "half", "small"])
def test_noise_level_of_images_without_texture(name, sigma):
    images = {
        "flat": np.full((240, 320), 120.0),
        "ramp": np.tile(np.linspace(30, 220, 320), (240, 1)),
        # the upper half is too bright for the sensor and shows none
        "half": np.repeat([[400.0], [90.0]], 120, axis=0) * np.ones((1, 320)),
        "small": np.full((40, 50), 90.0),
    }
    found = noise_level(integer(images[name], sigma))[0] * 255
    assert found == pytest.approx(sigma, rel=0.25)


def test_texture_hardly_changes_the_noise_level():
    data = pytest.importorskip("skimage.data", reason="photographs are the textures")
    for picture in (data.camera(), data.brick()):
        found = noise_level(integer(picture.astype(float), 2))[0] * 255
        assert found == pytest.approx(2, rel=0.25)


def test_noise_level_without_noise_is_zero():
    assert_close(noise_level(torch.full((2, 1, 48, 70), 0.3)), torch.zeros(2), rtol=0, atol=1e-6)
    assert_close(noise_level(torch.ones(1, 1, 3, 3)), torch.zeros(1))
    assert noise_level(torch.zeros(0, 1, 48, 70)).shape == (0,)


def test_noise_level_is_per_image():
    plain = np.full((90, 120), 100.0)
    both = torch.cat([integer(plain, 1), integer(plain, 6, seed=1)])
    separate = torch.cat([noise_level(both[:1]), noise_level(both[1:])])
    assert torch.equal(noise_level(both), separate)
    assert separate[1] > 4 * separate[0]


def stored(image, quality, left=0, top=0):
    """A picture as JPEG gives it back, less some of its border, (1, 1, H, W)."""
    code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    back = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)[top:, left:]
    return torch.from_numpy(back.astype(np.float32) / 255)[None, None]


@pytest.mark.parametrize("name", ["camera", "coins", "moon"])
def test_jpeg_artefacts_count_as_noise(name):
    data = pytest.importorskip("skimage.data", reason="photographs are the textures")
    picture = getattr(data, name)()
    clean = torch.from_numpy(picture.astype(np.float32) / 255)[None, None]
    assert blockiness(clean) == 0
    found = {q: noise_level(stored(picture, q))[0] for q in (80, 50, 30)}
    assert found[30] > found[50] > found[80]
    left_out = (stored(picture, 30) - clean).square().mean().sqrt()
    # where texture hides the blocks, less is estimated, and less matters
    assert 0.2 < found[30] / left_out < 1.2
    # squares may begin anywhere
    cut = noise_level(stored(picture, 30, left=3, top=6))[0]
    assert_close(cut, found[30], rtol=0.25, atol=0)


def test_edges_are_not_jpeg_artefacts():
    board = np.kron(np.indices((12, 20)).sum(axis=0) % 2, np.ones((8, 8))) * 150 + 50
    assert blockiness(integer(board, 0)) == 0
    assert blockiness(integer(np.full((48, 70), 90.0), 8)) < 1 / 255
    assert blockiness(torch.rand(2, 1, 5, 9)).shape == (2,)
    assert blockiness(torch.rand(0, 1, 40, 50)).shape == (0,)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.5])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.0), (2.5, -3.5), (0.25, 0.7)])
def test_noise_residual_is_the_difference_of_two_noisy_images(sigma, place, device, dtype):
    generator = torch.Generator().manual_seed(0)
    one, other = (sigma * torch.randn(900, 900, generator=generator) for _ in range(2))
    x, y = (p % 1 for p in place)
    other = torch.lerp(other[:, :-1], other[:, 1:], x)
    other = torch.lerp(other[:-1], other[1:], y)
    expected = (one[1:, 1:] - other).abs().clamp_max(1).mean()
    given = (torch.tensor(x, device=device, dtype=dtype) for x in ([sigma], place))
    found = noise_residual(*given)
    assert_close(found[0], expected.to(found), rtol=0.01, atol=0)


def test_noise_residual_broadcasts_over_subwindows_and_displacements():
    found = noise_residual(torch.rand(4, 1, 16), torch.rand(4, 5, 2), clip=0.7)
    assert found.shape == (4, 5, 16)
    assert (found < 0.7).all()
