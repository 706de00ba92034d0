import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.ops import UNKNOWN, match_quality, matching_cells, qatm_quality, triplet_loss


def units(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def semi_hard(embedding, place, margin):
    """The loss in loops, as the paper words it."""
    total = []
    for a in range(len(place)):
        for p in range(len(place)):
            if a == p or place[a] != place[p]:
                continue
            apart = (embedding[a] - embedding[p]).square().sum()
            others = [(embedding[a] - e).square().sum() for e in embedding[place != place[a]]]
            farther = [d for d in others if d > apart]
            negative = min(farther) if farther else max(others)
            total.append((apart - negative + margin).clamp_min(0))
    return torch.stack(total).mean()


@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_the_triplet_loss_is_that_of_semi_hard_negatives(margin):
    place = torch.tensor([4, 4, 1, 7, 1, 4, 7])
    embedding = units(7, 3)
    expected = semi_hard(embedding, place, margin)
    assert expected > 0.01
    torch.testing.assert_close(triplet_loss(embedding, place, margin), expected)


def test_places_far_apart_have_no_triplet_loss_and_gradients_pass():
    place = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[place]
    assert triplet_loss(apart, place, 0.5) == 0
    together = F.normalize(torch.ones(4, 2) + 0.01 * torch.eye(4, 2), dim=1).requires_grad_()
    triplet_loss(together, place, 0.5).backward()
    assert together.grad is not None
    assert together.grad.abs().sum() > 0


@pytest.mark.parametrize("place", [[0, 0, 0], [0, 1, 2], []])
def test_without_pairs_or_other_places_the_triplet_loss_is_zero(place):
    embedding = units(3, 4)[: len(place)].requires_grad_()
    loss = triplet_loss(embedding, torch.tensor(place, dtype=torch.long))
    assert loss == 0
    loss.backward()


def test_cells_follow_the_homography_and_are_unknown_outside():
    shift = torch.tensor([[1.0, 0, 8], [0, 1, -4], [0, 0, 1]])  # two cells right, one up
    match = matching_cells(torch.stack([torch.eye(3), shift]), (3, 4), 4)
    assert match[0].tolist() == list(range(12))
    grid = match[1].view(3, 4).tolist()
    assert grid == [[UNKNOWN] * 4, [2, 3, UNKNOWN, UNKNOWN], [6, 7, UNKNOWN, UNKNOWN]]


def test_the_centre_of_a_cell_decides_where_it_goes():
    for move, expected in ((1.9, 0), (2.1, 1)):  # pixels of a cell of four
        shift = torch.tensor([[1, 0, move], [0, 1, 0], [0, 0, 1]])
        assert matching_cells(shift[None], (1, 3), 4)[0, 0] == expected


def test_where_the_homography_is_not_known_no_match_is():
    match = matching_cells(torch.full((2, 3, 3), torch.nan), (2, 3), 4)
    assert (match == UNKNOWN).all()
    assert match.shape == (2, 6)


def test_the_quality_of_a_match_is_that_of_qatm_in_loops():
    scene, template, alpha = units(6, 5), units(4, 5, seed=1), 7.0
    match = torch.tensor([2, UNKNOWN, 5, 0])
    quality, found = match_quality(scene, template, match, alpha)
    for i, (t, s) in enumerate(((0, 2), (2, 5), (3, 0))):
        one = math.exp(alpha * float(template[t] @ scene[s]))
        over_scene = sum(math.exp(alpha * float(template[t] @ other)) for other in scene)
        over_template = sum(math.exp(alpha * float(other @ scene[s])) for other in template)
        expected = math.log(math.sqrt(one / over_scene * one / over_template))
        assert quality[i].item() == pytest.approx(expected)
    best = qatm_quality(scene, template, alpha)
    assert found.bool().tolist() == [best.place[t] == s for t, s in ((0, 2), (2, 5), (3, 0))]
    right = match_quality(scene, template, best.place, alpha)
    torch.testing.assert_close(right[0], best.template)
    assert right[1].tolist() == [1] * 4


def test_gradients_of_the_quality_are_right():
    scene, template = units(4, 3), units(3, 3, seed=1)
    match = torch.tensor([1, UNKNOWN, 3])
    assert torch.autograd.gradcheck(
        lambda s, t: match_quality(s, t, match, 5.0)[0],
        (scene.requires_grad_(), template.requires_grad_()),
    )


def test_of_no_known_match_nothing_is_said():
    quality, found = match_quality(units(4, 3), units(2, 3), torch.tensor([UNKNOWN, UNKNOWN]))
    assert quality.shape == found.shape == (0,)
