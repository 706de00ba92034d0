import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.templates.qatm import best_matches, qatm_scores
from patchmatch.templates.losses import (
    UNKNOWN,
    neighbour_cells,
    match_log_quality,
    corresponding_cells,
    triplet_loss,
)


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
    match = corresponding_cells(torch.stack([torch.eye(3), shift]), (3, 4), 4)
    assert match[0].tolist() == list(range(12))
    grid = match[1].view(3, 4).tolist()
    assert grid == [[UNKNOWN] * 4, [2, 3, UNKNOWN, UNKNOWN], [6, 7, UNKNOWN, UNKNOWN]]


def test_the_centre_of_a_cell_decides_where_it_goes():
    for move, expected in ((1.9, 0), (2.1, 1)):  # pixels of a cell of four
        shift = torch.tensor([[1, 0, move], [0, 1, 0], [0, 0, 1]])
        assert corresponding_cells(shift[None], (1, 3), 4)[0, 0] == expected


def test_where_the_homography_is_not_known_no_match_is():
    match = corresponding_cells(torch.full((2, 3, 3), torch.nan), (2, 3), 4)
    assert (match == UNKNOWN).all()
    assert match.shape == (2, 6)


def alone(count):
    """No cell has others around it that count."""
    return torch.arange(count)[:, None]


def test_the_quality_of_a_match_is_that_of_qatm_in_loops():
    scene, template, alpha = units(8, 5), units(4, 5, seed=1), 7.0
    match = torch.tensor([2, UNKNOWN, 5, 0])
    quality, found = match_log_quality(scene, template, match, alone(4), alpha)
    pairs = ((0, 2), (2, 5), (3, 0))
    for i, (t, s) in enumerate(pairs):
        one = math.exp(alpha * float(template[t] @ scene[s]))
        over_scene = sum(math.exp(alpha * float(template[t] @ other)) for other in scene)
        over_template = sum(math.exp(alpha * float(other @ scene[s])) for other in template)
        expected = math.log(math.sqrt(one / over_scene * one / over_template))
        assert quality[i].item() == pytest.approx(expected)
    best = best_matches(qatm_scores(scene, template, alpha))
    assert found.bool().tolist() == [best.place[t] == s for t, s in pairs]
    right = match_log_quality(scene, template, best.place, alone(4), alpha)
    torch.testing.assert_close(right[0], best.template)
    assert right[1].tolist() == [1] * 4


def test_what_lies_around_the_true_match_counts_as_right():
    scene, template, alpha = units(12, 5), units(6, 5, seed=1), 7.0  # two views of 2x3 cells
    match = torch.full((6,), UNKNOWN)
    match[4] = 6  # from the middle of the lower row to a corner of the second view
    quality, found = match_log_quality(scene, template, match, neighbour_cells((2, 3), 1), alpha)
    likelihood = (alpha * template @ scene.T).exp()
    forth = likelihood[4, [6, 7, 9, 10]].sum() / likelihood[4].sum()
    back = likelihood[:, 6].sum() / likelihood[:, 6].sum()  # all of a view lies around its middle
    assert quality.item() == pytest.approx((forth * back).sqrt().log().item())
    best = best_matches(qatm_scores(scene, template, alpha)).place[4].item()
    assert found.item() == (best in (6, 7, 9, 10))


def test_the_cells_around_end_at_the_border():
    around = neighbour_cells((2, 3), 1)
    assert around.shape == (6, 9)
    assert [sorted(set(row.tolist()) - {UNKNOWN}) for row in around] == [
        [0, 1, 3, 4], [0, 1, 2, 3, 4, 5], [1, 2, 4, 5], [0, 1, 3, 4], [0, 1, 2, 3, 4, 5],
        [1, 2, 4, 5],
    ]  # fmt: skip
    assert neighbour_cells((2, 3), 0)[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize("radius", [0, 1])
def test_gradients_of_the_quality_are_right(radius):
    scene, template = units(8, 3), units(4, 3, seed=1)
    match = torch.tensor([1, UNKNOWN, 3, 6])
    around = neighbour_cells((2, 2), radius)
    assert torch.autograd.gradcheck(
        lambda s, t: match_log_quality(s, t, match, around, 5.0)[0],
        (scene.requires_grad_(), template.requires_grad_()),
    )


def test_of_no_known_match_nothing_is_said():
    nothing = torch.tensor([UNKNOWN, UNKNOWN])
    quality, found = match_log_quality(units(4, 3), units(2, 3), nothing, alone(2))
    assert quality.shape == found.shape == (0,)
