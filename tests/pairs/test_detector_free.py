"""Matching of large pairs in tiles: no gaps and no duplicates at the seams."""

import cv2
import numpy as np
import pytest
import torch

from patchmatch.pairs.dense_field import FieldMatcher
from patchmatch.pairs.detector_free import OVERLAP, DetectorFreeMatcher, _locate_tile
from patchmatch.pairs.results import Correspondences


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).random((height // 8, width // 8)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


class Shifted(DetectorFreeMatcher):
    """Estimates the shift between two images, and returns matches on a grid of eight pixels."""

    def __init__(self, **options):
        super().__init__(**options)
        self.shapes = []

    def match_tile(self, image0, image1, valid0, valid1):
        one, other = (image[0, 0] - image.mean() for image in (image0, image1))
        self.shapes.append((tuple(one.shape), tuple(other.shape)))
        size = [a + b for a, b in zip(one.shape, other.shape, strict=True)]
        product = torch.fft.rfft2(other, size) * torch.fft.rfft2(one, size).conj()
        best = int(torch.fft.irfft2(product, size).argmax())
        dy, dx = best // size[1], best % size[1]
        dy, dx = (
            d if d < len1 else d - total
            for d, len1, total in zip((dy, dx), other.shape, size, strict=True)
        )
        y, x = torch.meshgrid(*(torch.arange(4, n - 4, 8) for n in one.shape), indexing="ij")
        points0 = torch.stack([x, y], dim=-1).view(-1, 2).float()
        points1 = points0 + torch.tensor([dx, dy])
        inside = (points1 >= 4).all(dim=1)
        inside &= (points1 < torch.tensor([other.shape[1] - 4, other.shape[0] - 4])).all(dim=1)
        return Correspondences(points0=points0, points1=points1, score=torch.ones(len(points0)))[
            inside
        ]


def test_tiles_leave_no_gaps_at_the_seams():
    scene = texture(560, 720)
    matcher = Shifted(tile=256)
    found = matcher.match(as_tensor(scene[40:]), as_tensor(scene[:520, 64:]))
    shift = found.keypoints1 - found.keypoints0
    assert (shift - torch.tensor([-64.0, 40.0])).abs().max() < 1e-3
    assert len(found.keypoints0.round().unique(dim=0)) == len(found)
    rows, columns = found.keypoints0[:, 1].unique(), found.keypoints0[:, 0].unique()
    for coordinates, first, last in ((rows, 0, 470), (columns, 68, 716)):
        assert coordinates[0] < first + 16
        assert coordinates[-1] > last - 16
        assert coordinates.diff().max() <= 14  # no gap between two tiles
    squares = (found.keypoints0 // 16).long().unique(dim=0)
    assert len(squares) > 0.95 * (480 // 16) * (656 // 16)
    assert max(max(*first, *second) for first, second in matcher.shapes) <= 256 + 2 * OVERLAP
    assert len(matcher.shapes) > 12


def test_small_pair_is_matched_at_once():
    matcher = Shifted(tile=256)
    matcher.match(as_tensor(texture(100, 250)), as_tensor(texture(104, 250)))
    assert matcher.shapes == [((100, 250), (104, 250))]


def test_tiles_find_the_matches_of_the_whole_image():
    scene = texture(192, 416)
    image0, image1 = as_tensor(scene[20:, :400]), as_tensor(scene[:172, 16:])
    options = {"max_size": None, "patch_size": 7}
    whole = FieldMatcher(tile=None, **options).match(image0, image1)
    tiles = FieldMatcher(tile=256, **options).match(image0, image1)
    for found in (whole, tiles):
        error = found.keypoints1 - found.keypoints0 - torch.tensor([-16.0, 20.0])
        assert (error.norm(dim=1) < 1).float().mean() > 0.97
    assert len(tiles) > 0.9 * len(whole)
    squares = [(found.keypoints0 // 32).long().unique(dim=0) for found in (tiles, whole)]
    assert len(squares[0]) > 0.95 * len(squares[1])


def test_masks_are_tiled_like_the_images():
    scene, valid = texture(160, 320), torch.ones(1, 160, 320).bool()
    valid[..., 200:] = False
    found = FieldMatcher(max_size=None, tile=256).match(as_tensor(scene), as_tensor(scene), valid)
    assert len(found) > 200
    assert found.keypoints0[:, 0].max() < 200


def test_tile_is_located_by_the_coarse_matches():
    image1 = torch.zeros(1, 1, 900, 1000)
    points0 = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) * 200 + 100
    points1 = 2 * points0 + torch.tensor([30.0, -40.0])
    points1[:9] = torch.tensor([900.0, 10.0])  # outliers
    coarse = Correspondences(points0=points0, points1=points1, score=torch.ones(60))
    box = _locate_tile(coarse, (100, 100, 300, 300), image1)
    expected = (230 - OVERLAP, 160 - OVERLAP, 630 + OVERLAP, 560 + OVERLAP)
    assert box == pytest.approx(expected, abs=6)
    few = coarse[torch.arange(7)]
    assert _locate_tile(few, (100, 100, 300, 300), image1) is None


def test_extreme_shapes_and_unrelated_images_are_accepted():
    matcher = Shifted(tile=256)
    narrow = as_tensor(texture(4000, 104)[:, :20])
    for other in (narrow, as_tensor(texture(300, 400)), as_tensor(np.full((300, 400), 0.5))):
        found = matcher.match(narrow, other)
        assert found.keypoints0.shape == found.keypoints1.shape == (len(found), 2)


def test_tile_smaller_than_its_overlap_raises():
    with pytest.raises(ValueError, match="tile must be at least 192"):
        FieldMatcher(tile=100)
