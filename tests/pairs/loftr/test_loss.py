"""Losses of LoFTR against their definitions."""

import math

import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.loftr.loss import NO_MATCH, coarse_loss, fine_loss, true_matches


def test_coarse_loss_is_the_focal_loss_of_the_dual_softmax():
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    matches = torch.tensor([[2, NO_MATCH, 0], [NO_MATCH, 3, 1]])
    terms = []
    for b in range(2):
        for i in range(3):
            j = int(matches[b, i])
            if j == NO_MATCH:
                continue
            row = math.exp(scores[b, i, j]) / sum(math.exp(s) for s in scores[b, i])
            column = math.exp(scores[b, i, j]) / sum(math.exp(s) for s in scores[b, :, j])
            p = row * column
            terms.append(-0.25 * (1 - p) ** 2 * math.log(p))
    assert float(coarse_loss(scores, matches)) == pytest.approx(sum(terms) / len(terms))
    likelihood = coarse_loss(scores, matches, alpha=1.0, gamma=0.0)
    log_p = scores.log_softmax(2) + scores.log_softmax(1)
    expected = -(log_p[0, 0, 2] + log_p[0, 2, 0] + log_p[1, 1, 3] + log_p[1, 2, 1]) / 4
    assert_close(likelihood, expected)


def test_coarse_loss_is_differentiable_and_finite():
    scores = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    matches = torch.tensor([[2, NO_MATCH, 0]])
    assert torch.autograd.gradcheck(lambda s: coarse_loss(s, matches), scores.requires_grad_())
    certain = torch.full((1, 2, 2), -1e4)
    certain[0, 0, 0] = certain[0, 1, 1] = 1e4
    certain.requires_grad_()
    for truth in ([[0, 1]], [[1, 0]], [[NO_MATCH, NO_MATCH]]):
        loss = coarse_loss(certain, torch.tensor(truth))
        (gradient,) = torch.autograd.grad(loss, certain, allow_unused=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_fine_loss_weights_by_the_inverse_variance():
    expected = torch.tensor([[0.5, 0.0], [0.0, -0.25], [0.9, 0.9]]).double()
    variance = torch.tensor([0.1, 0.3, 0.2]).double()
    target = torch.tensor([[0.0, 0.0], [0.5, 0.25], [1.2, 0.0]]).double()
    weights = [10.0, 10 / 3]  # the third target is outside the window
    mean = sum(weights) / 2
    errors = [0.25, 0.5]
    by_hand = sum(w / mean * e for w, e in zip(weights, errors, strict=True)) / 2
    assert float(fine_loss(expected, variance, target)) == pytest.approx(by_hand)


def test_fine_loss_is_differentiable_in_the_position_only():
    expected = torch.tensor([[0.5, 0.1], [0.0, -0.25]]).double().requires_grad_()
    variance = torch.tensor([0.1, 0.3]).double().requires_grad_()
    target = torch.tensor([[0.0, 0.0], [0.5, 0.25]]).double()
    assert torch.autograd.gradcheck(lambda e: fine_loss(e, variance.detach(), target), expected)
    fine_loss(expected, variance, target).backward()
    assert variance.grad is None
    outside = fine_loss(expected, variance, target + 5)
    assert float(outside) == 0


def brute_force(flow, valid, stride):
    """Return the matches of one pair, cell by cell; the closest of several cells wins."""
    height, width = valid.shape
    columns, rows = -(-width // stride), -(-height // stride)
    best = {}
    for i in range(rows * columns):
        y, x = stride * (i // columns), stride * (i % columns)
        if not valid[y, x]:
            continue
        u, v = x + float(flow[0, y, x]), y + float(flow[1, y, x])
        column, row = round(u / stride), round(v / stride)
        if 0 <= column < columns and 0 <= row < rows:
            distance = math.hypot(u - stride * column, v - stride * row)
            j = row * columns + column
            if j not in best or distance < best[j][0]:
                best[j] = (distance, i)
    matches = [NO_MATCH] * (rows * columns)
    for j, (_, i) in best.items():
        matches[i] = j
    return matches


def test_true_matches_agree_with_a_loop():
    generator = torch.Generator().manual_seed(2)
    flow = 12 * torch.randn(3, 2, 20, 28, generator=generator)
    valid = torch.rand(3, 20, 28, generator=generator) > 0.2
    matches, points1 = true_matches(flow, valid, 4)
    assert matches.tolist() == [brute_force(f, v, 4) for f, v in zip(flow, valid, strict=True)]
    for row in matches.tolist():
        found = [j for j in row if j != NO_MATCH]
        assert len(found) == len(set(found)) > 5
    assert points1[1, 9].tolist() == pytest.approx(
        (flow[1, :, 4, 8] + torch.tensor([8, 4])).tolist()
    )


def test_of_two_cells_at_the_same_distance_the_first_matches():
    """Reduced to half the size: cells 1 and 2 are at 4 and 8 pixels, cell 3 at 12."""
    x = torch.arange(64.0).expand(1, 1, 64, 64)
    flow = torch.cat([-x / 2, -x.mT / 2], dim=1)
    matches, _ = true_matches(flow, torch.ones(1, 64, 64, dtype=torch.bool), 8)
    grid = matches.unflatten(1, (8, 8))[0]
    assert grid[0, :5].tolist() == [0, NO_MATCH, 1, NO_MATCH, 2]
    assert (grid[::2, ::2] == (8 * torch.arange(4)[:, None] + torch.arange(4))).all()


def test_displacements_that_are_not_finite_do_not_match():
    flow = torch.full((1, 2, 16, 16), torch.nan)
    matches, _ = true_matches(flow, torch.ones(1, 16, 16, dtype=torch.bool), 8)
    assert (matches == NO_MATCH).all()
