import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.pairs import matching
from patchmatch.pairs.matching import drop_duplicates, match_descriptors


def descriptors(count, seed=0, size=8):
    noise = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(noise, dim=1)


def brute_force(descriptors0, descriptors1, ratio, mutual):
    """Reference implementation with loops."""
    found = []
    for i, one in enumerate(descriptors0):
        distances = sorted((float((one - other).norm()), j) for j, other in enumerate(descriptors1))
        (nearest, j), (second, _) = distances[:2]
        back = min(
            range(len(descriptors0)),
            key=lambda k: float((descriptors0[k] - descriptors1[j]).norm()),
        )
        if (ratio is None or nearest < ratio * second) and (not mutual or back == i):
            found.append((i, j, 1 - nearest / second))
    return sorted(found, key=lambda match: -match[2])


@pytest.mark.parametrize(
    ("ratio", "mutual"), [(0.8, True), (0.9, False), (None, True), (None, False)]
)
@pytest.mark.parametrize("max_similarities", [20, 4_000_000])
def test_matches_equal_a_brute_force_search(
    ratio, mutual, max_similarities, monkeypatch, device, dtype
):
    monkeypatch.setattr(matching, "MAX_SIMILARITIES", max_similarities)
    first, second = (descriptors(*a).to(device, dtype) for a in ((17, 0), (11, 1)))
    expected = brute_force(first, second, ratio, mutual)
    index0, index1, score = match_descriptors(first, second, ratio, mutual)
    assert expected
    assert list(zip(index0.tolist(), index1.tolist(), strict=True)) == [m[:2] for m in expected]
    assert score.tolist() == pytest.approx([m[2] for m in expected], abs=1e-4)


def test_identical_descriptors_have_score_one():
    index0, index1, score = match_descriptors(descriptors(5), descriptors(5))
    assert sorted(index0.tolist()) == list(range(5))
    assert torch.equal(index0, index1)
    assert score.tolist() == pytest.approx([1] * 5, abs=2e-3)


def test_second_nearest_close_to_the_nearest_keypoint_is_ignored():
    angle = torch.tensor([0.0, 0.02, 1.5])
    second = torch.stack([angle.cos(), angle.sin()], dim=1)
    first, points1 = second[:1] + 1e-3, torch.tensor([[10.0, 10.0], [11.0, 10.0], [90.0, 10.0]])
    first = F.normalize(first + torch.tensor([[0.0, 8e-3]]), dim=1)
    assert len(match_descriptors(first, second, ratio=0.5)[0]) == 0
    assert (
        len(match_descriptors(first, second, 0.5, points1=points1, spatial_threshold=5.0)[0]) == 1
    )


@pytest.mark.parametrize(("count0", "count1"), [(0, 3), (3, 0), (0, 0)])
def test_no_descriptors_give_no_matches(count0, count1):
    found = match_descriptors(descriptors(count0), descriptors(count1))
    assert [len(part) for part in found] == [0, 0, 0]


def test_single_descriptor_passes_the_ratio_test():
    index0, _, score = match_descriptors(descriptors(1), descriptors(1))
    assert index0.tolist() == [0]
    assert 0 < float(score) <= 1


def test_best_match_of_a_keypoint_is_kept(device, dtype):
    points0 = torch.tensor(
        [[5.0, 5.0], [5.1, 5.2], [9.0, 9.0], [20.0, 20.0]], device=device, dtype=dtype
    )
    points1 = torch.tensor(
        [[1.0, 1.0], [8.0, 8.0], [1.2, 0.9], [30.0, 2.0]], device=device, dtype=dtype
    )
    # match 1 shares its first keypoint with match 0, match 2 its second one
    assert drop_duplicates(points0, points1).tolist() == [0, 3]
    assert drop_duplicates(points0[:0], points1[:0]).tolist() == []
    assert math.isclose(len(drop_duplicates(points0, points1, cell=1e-3)), 4)
