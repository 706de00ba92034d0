import numpy as np
import pytest
import torch
from textures import smooth

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.pairs.homography.similarity import image_correlation, local_correlation

IDENTITY = torch.eye(3, dtype=torch.float64)[None]


def test_image_correlation_is_over_the_overlap(device):
    scene = torch.from_numpy(smooth(60, 90, 1)[..., 0].astype(np.float32) / 255)
    scene, identity = scene[None, None].to(device), IDENTITY.to(device)
    for shift, fraction in ((0, 1.0), (10, 2 / 3)):
        moved = identity.clone()
        moved[0, 0, 2] = shift
        image0, image1 = scene[..., 30:60], scene[..., 30 - shift : 60 - shift]
        correlation, overlap = image_correlation(image0, image1, moved)
        assert correlation.item() > 0.9
        assert overlap.item() == pytest.approx(fraction)
        assert image_correlation(image0, 1 - image1, moved)[0].item() < -0.9
    away = identity.clone()
    away[0, 0, 2] = 100
    assert [value.item() for value in image_correlation(scene, scene, away)] == [0, 0]


def test_local_correlation_is_that_of_windows():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 40, 48, generator=generator)
    found, inside = local_correlation(image, 0.5 * image + 0.3, IDENTITY)
    assert found.min() > 0.8
    assert inside.all()
    assert local_correlation(image, 1 - image, IDENTITY)[0].max() == 0
    other = torch.rand(1, 1, 40, 48, generator=generator)
    found = local_correlation(image, other, IDENTITY)[0][0, 0, 20, 22]
    windows = [normalize_contrast(i)[0, 0, 12:29, 14:31].flatten() for i in (image, other)]
    first, second = (values.double().numpy() for values in windows)
    expected = max(0.0, np.corrcoef(first, second)[0, 1])
    assert found.item() == pytest.approx(expected, abs=0.02)
    assert local_correlation(image, torch.full_like(image, 0.4), IDENTITY)[0].max() < 0.05


def test_windows_outside_image1_have_zero_correlation():
    image = torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0))
    right = torch.eye(3, dtype=torch.float64)[None]
    right[0, 0, 2] = 16
    found, inside = local_correlation(image, image[..., 16:].repeat(1, 1, 1, 2)[..., :48], right)
    assert inside[..., :32].all()
    assert not inside[..., 32:].any()
    assert found[..., 42:].max() == 0
