import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.pairs import matching
from patchmatch.pairs.matching import drop_duplicates, match_descriptors


def descriptors(count, seed=0, size=8):
    noise = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(noise, dim=1)


def by_hand(descriptors0, descriptors1, ratio, mutual):
    """The same by loops."""
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
@pytest.mark.parametrize("at_once", [20, 4_000_000])
def test_matches_are_those_of_a_plain_search(ratio, mutual, at_once, monkeypatch):
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    first, second = descriptors(17), descriptors(11, seed=1)
    expected = by_hand(first, second, ratio, mutual)
    index0, index1, score = match_descriptors(first, second, ratio, mutual)
    assert expected
    assert list(zip(index0.tolist(), index1.tolist(), strict=True)) == [m[:2] for m in expected]
    assert score.tolist() == pytest.approx([m[2] for m in expected], abs=1e-4)


def test_identical_descriptors_are_matched_surely():
    index0, index1, score = match_descriptors(descriptors(5), descriptors(5))
    assert sorted(index0.tolist()) == list(range(5))
    assert torch.equal(index0, index1)
    assert score.tolist() == pytest.approx([1] * 5, abs=2e-3)


def test_a_second_nearest_that_is_the_same_place_does_not_count():
    angle = torch.tensor([0.0, 0.02, 1.5])
    second = torch.stack([angle.cos(), angle.sin()], dim=1)
    first, places = second[:1] + 1e-3, torch.tensor([[10.0, 10.0], [11.0, 10.0], [90.0, 10.0]])
    first = F.normalize(first + torch.tensor([[0.0, 8e-3]]), dim=1)
    assert len(match_descriptors(first, second, ratio=0.5)[0]) == 0
    assert len(match_descriptors(first, second, 0.5, points1=places, apart=5.0)[0]) == 1


@pytest.mark.parametrize(("count0", "count1"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_match_gives_nothing(count0, count1):
    found = match_descriptors(descriptors(count0), descriptors(count1))
    assert [len(part) for part in found] == [0, 0, 0]


def test_a_single_descriptor_has_no_rival():
    index0, _, score = match_descriptors(descriptors(1), descriptors(1))
    assert index0.tolist() == [0]
    assert 0 < float(score) <= 1


def test_the_best_of_the_matches_of_a_place_stays():
    points0 = torch.tensor([[5.0, 5.0], [5.1, 5.2], [9.0, 9.0], [20.0, 20.0]])
    points1 = torch.tensor([[1.0, 1.0], [8.0, 8.0], [1.2, 0.9], [30.0, 2.0]])
    # 1 starts where 0 does, 2 ends where 0 does
    assert drop_duplicates(points0, points1).tolist() == [0, 3]
    assert drop_duplicates(points0[:0], points1[:0]).tolist() == []
    assert math.isclose(len(drop_duplicates(points0, points1, cell=1e-3)), 4)
