"""Proposals of Patch2Pix: mutual nearest neighbours and their expansion."""

import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.patch2pix.proposals import expand_patches, mutual_neighbours


def test_neighbours_agree_with_a_loop():
    torch.manual_seed(0)
    coarse0, coarse1 = torch.randn(6, 4, 5), torch.randn(6, 3, 4)
    flat0, flat1 = (c.flatten(1).mT / c.flatten(1).norm(dim=0)[:, None] for c in (coarse0, coarse1))
    cosine = flat0 @ flat1.mT
    expected = {
        ((i % 5) * 8, (i // 5) * 8, (j % 4) * 8, (j // 4) * 8)
        for i in range(20)
        for j in range(12)
        if cosine[i].argmax() == j and cosine[:, j].argmax() == i
    }
    points0, points1, probability = mutual_neighbours(coarse0, coarse1)
    assert {tuple(map(int, row)) for row in torch.cat([points0, points1], 1).tolist()} == expected
    joint = (cosine / 0.1).softmax(dim=0) * (cosine / 0.1).softmax(dim=1)
    column0, row0, column1, row1 = (torch.cat([points0, points1], 1) / 8).long().unbind(dim=1)
    assert_close(probability, joint[5 * row0 + column0, 4 * row1 + column1])
    assert (probability.diff() <= 0).all()


def test_masked_cells_have_no_neighbours():
    coarse = torch.randn(6, 4, 4)
    valid = torch.zeros(4, 4, dtype=torch.bool)
    assert len(mutual_neighbours(coarse, coarse, valid, None)[0]) == 0
    valid[1, 2] = True
    points0, points1, _ = mutual_neighbours(coarse, coarse, valid, None)
    assert points0.tolist() == points1.tolist() == [[16, 8]]


@pytest.mark.parametrize("panc", [1, 8])
def test_anchors_surround_the_proposal(panc):
    points0, points1 = torch.tensor([[8.0, 16], [0, 0]]), torch.tensor([[24.0, 8], [0, 0]])
    expanded0, expanded1, index = expand_patches(points0, points1, panc)
    assert index.tolist() == [0] * panc + [1] * panc
    assert_close(expanded0[:panc].mean(dim=0), points0[0])
    assert_close(expanded1[:panc].mean(dim=0), points1[0])
    moves = torch.cat([expanded0[:panc] - points0[0], expanded1[:panc] - points1[0]], dim=1)
    assert len(moves.unique(dim=0)) == panc
    assert (moves.abs().sum(dim=1) == (0 if panc == 1 else 8)).all()
    assert len(expand_patches(points0[:0], points1[:0], panc)[0]) == 0
