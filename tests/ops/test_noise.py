import numpy as np
import pytest
import torch
from torch.testing import assert_close

from patchmatch.ops import noise_level, noise_residual


def noisy(image, sigma, seed=0):
    """An image of grey levels as a sensor might give it, (1, 1, H, W)."""
    seen = image + np.random.default_rng(seed).normal(0, sigma, image.shape)
    return torch.from_numpy(np.clip(np.rint(seen), 0, 255).astype(np.float32) / 255)[None, None]


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 8])
@pytest.mark.parametrize("name", ["flat", "ramp", "half", "small"])
def test_the_noise_of_plain_images_is_found(name, sigma):
    images = {
        "flat": np.full((240, 320), 120.0),
        "ramp": np.tile(np.linspace(30, 220, 320), (240, 1)),
        # the upper half is too bright for the sensor and shows none
        "half": np.repeat([[400.0], [90.0]], 120, axis=0) * np.ones((1, 320)),
        "small": np.full((40, 50), 90.0),
    }
    found = noise_level(noisy(images[name], sigma))[0] * 255
    assert found == pytest.approx(sigma, rel=0.25)


def test_texture_is_hardly_taken_for_noise():
    data = pytest.importorskip("skimage.data", reason="photographs are the textures")
    for picture in (data.camera(), data.brick()):
        found = noise_level(noisy(picture.astype(float), 2))[0] * 255
        assert found == pytest.approx(2, rel=0.25)


def test_without_noise_there_is_none():
    assert_close(noise_level(torch.full((2, 1, 48, 70), 0.3)), torch.zeros(2), rtol=0, atol=1e-6)
    assert_close(noise_level(torch.ones(1, 1, 3, 3)), torch.zeros(1))
    assert noise_level(torch.zeros(0, 1, 48, 70)).shape == (0,)


def test_each_image_of_a_batch_has_its_own_noise():
    plain = np.full((90, 120), 100.0)
    both = torch.cat([noisy(plain, 1), noisy(plain, 6, seed=1)])
    alone = torch.cat([noise_level(both[:1]), noise_level(both[1:])])
    assert torch.equal(noise_level(both), alone)
    assert alone[1] > 4 * alone[0]


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.5])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.0), (2.5, -3.5), (0.25, 0.7)])
def test_what_noise_leaves_is_what_two_noisy_images_differ_by(sigma, place):
    generator = torch.Generator().manual_seed(0)
    one, other = (sigma * torch.randn(900, 900, generator=generator) for _ in range(2))
    x, y = (p % 1 for p in place)
    other = torch.lerp(other[:, :-1], other[:, 1:], x)
    other = torch.lerp(other[:-1], other[1:], y)
    expected = (one[1:, 1:] - other).abs().clamp_max(1).mean()
    found = noise_residual(torch.tensor([sigma]), torch.tensor(place))
    assert_close(found[0], expected, rtol=0.01, atol=0)


def test_every_cell_has_its_noise_under_every_displacement():
    found = noise_residual(torch.rand(4, 1, 16), torch.rand(4, 5, 2), clip=0.7)
    assert found.shape == (4, 5, 16)
    assert (found < 0.7).all()
