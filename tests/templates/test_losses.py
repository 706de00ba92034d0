import math

import pytest
import torch
from torch.nn import functional as F

from patchmatch.templates.losses import (
    UNKNOWN,
    corresponding_cells,
    match_log_quality,
    neighbour_cells,
    triplet_loss,
)
from patchmatch.templates.qatm import best_matches, qatm_scores


def unit_vectors(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def semi_hard(embedding, place, margin):
    """Return the loss of the paper by loops."""
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
def test_triplet_loss_agrees_with_loops(margin, device, dtype):
    place = torch.tensor([4, 4, 1, 7, 1, 4, 7], device=device)
    embedding = unit_vectors(7, 3).to(device, dtype)
    expected = semi_hard(embedding, place, margin)
    assert expected > 0.01
    torch.testing.assert_close(triplet_loss(embedding, place, margin), expected)


def test_distant_places_have_zero_triplet_loss_and_near_ones_gradients():
    place = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[place]
    assert triplet_loss(apart, place, 0.5) == 0
    together = F.normalize(torch.ones(4, 2) + 0.01 * torch.eye(4, 2), dim=1).requires_grad_()
    triplet_loss(together, place, 0.5).backward()
    assert together.grad is not None
    assert together.grad.abs().sum() > 0


@pytest.mark.parametrize("place", [[0, 0, 0], [0, 1, 2], []])
def test_triplet_loss_is_zero_without_pairs_or_negatives(place):
    embedding = unit_vectors(3, 4)[: len(place)].requires_grad_()
    loss = triplet_loss(embedding, torch.tensor(place, dtype=torch.long))
    assert loss == 0
    loss.backward()


def test_corresponding_cells_follow_the_homography(device, dtype):
    shift = torch.tensor([[1.0, 0, 8], [0, 1, -4], [0, 0, 1]])  # two cells right, one up
    homographies = torch.stack([torch.eye(3), shift]).to(device, dtype)
    match = corresponding_cells(homographies, (3, 4), 4)
    assert match[0].tolist() == list(range(12))
    grid = match[1].view(3, 4).tolist()
    assert grid == [[UNKNOWN] * 4, [2, 3, UNKNOWN, UNKNOWN], [6, 7, UNKNOWN, UNKNOWN]]


def test_corresponding_cell_contains_the_moved_centre():
    for move, expected in ((1.9, 0), (2.1, 1)):  # pixels of a cell of four
        shift = torch.tensor([[1, 0, move], [0, 1, 0], [0, 0, 1]])
        assert corresponding_cells(shift[None], (1, 3), 4)[0, 0] == expected


def test_unknown_homography_gives_unknown_cells():
    match = corresponding_cells(torch.full((2, 3, 3), torch.nan), (2, 3), 4)
    assert (match == UNKNOWN).all()
    assert match.shape == (2, 6)


def only_itself(count):
    """Return neighbourhoods of radius 0."""
    return torch.arange(count)[:, None]


def test_match_log_quality_is_that_of_qatm(device, dtype):
    scene = unit_vectors(8, 5).to(device, dtype)
    template, alpha = unit_vectors(4, 5, seed=1).to(device, dtype), 7.0
    target, neighbours = torch.tensor([2, UNKNOWN, 5, 0]).to(device), only_itself(4).to(device)
    quality, correct = match_log_quality(scene, template, target, neighbours, alpha)
    pairs = ((0, 2), (2, 5), (3, 0))
    for i, (t, s) in enumerate(pairs):
        one = math.exp(alpha * float(template[t] @ scene[s]))
        over_scene = sum(math.exp(alpha * float(template[t] @ other)) for other in scene)
        over_template = sum(math.exp(alpha * float(other @ scene[s])) for other in template)
        expected = math.log(math.sqrt(one / over_scene * one / over_template))
        assert quality[i].item() == pytest.approx(expected)
    best = best_matches(qatm_scores(scene, template, alpha))
    assert correct.bool().tolist() == [best.scene_index[t].item() == s for t, s in pairs]
    quality, correct = match_log_quality(scene, template, best.scene_index, neighbours, alpha)
    torch.testing.assert_close(quality, best.template_score)
    assert correct.tolist() == [1] * 4


def test_neighbours_of_the_true_match_count_as_correct():
    # Two views of 2x3 cells.
    scene, template, alpha = unit_vectors(12, 5), unit_vectors(6, 5, seed=1), 7.0
    target = torch.full((6,), UNKNOWN)
    target[4] = 6  # from the middle of the lower row to a corner of the second view
    quality, correct = match_log_quality(scene, template, target, neighbour_cells((2, 3), 1), alpha)
    likelihood = (alpha * template @ scene.T).exp()
    in_scene = likelihood[4, [6, 7, 9, 10]].sum() / likelihood[4].sum()
    in_template = 1  # all cells of a view are neighbours of its middle
    assert quality.item() == pytest.approx((in_scene * in_template).sqrt().log().item())
    best = best_matches(qatm_scores(scene, template, alpha)).scene_index[4].item()
    assert correct.item() == (best in (6, 7, 9, 10))


def test_neighbour_cells_end_at_the_border():
    neighbours = neighbour_cells((2, 3), 1)
    assert neighbours.shape == (6, 9)
    assert [sorted(set(row.tolist()) - {UNKNOWN}) for row in neighbours] == [
        [0, 1, 3, 4], [0, 1, 2, 3, 4, 5], [1, 2, 4, 5], [0, 1, 3, 4], [0, 1, 2, 3, 4, 5],
        [1, 2, 4, 5],
    ]  # fmt: skip
    assert neighbour_cells((2, 3), 0)[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize("radius", [0, 1])
def test_match_log_quality_is_differentiable(radius):
    scene, template = unit_vectors(8, 3), unit_vectors(4, 3, seed=1)
    target = torch.tensor([1, UNKNOWN, 3, 6])
    neighbours = neighbour_cells((2, 2), radius)
    assert torch.autograd.gradcheck(
        lambda s, t: match_log_quality(s, t, target, neighbours, 5.0)[0],
        (scene.requires_grad_(), template.requires_grad_()),
    )


def test_unknown_matches_give_empty_results():
    unknown = torch.tensor([UNKNOWN, UNKNOWN])
    quality, correct = match_log_quality(
        unit_vectors(4, 3), unit_vectors(2, 3), unknown, only_itself(2)
    )
    assert quality.shape == correct.shape == (0,)
