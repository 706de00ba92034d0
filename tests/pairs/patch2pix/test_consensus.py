"""Neighbourhood consensus against its definition, entry by entry."""

from itertools import product

import pytest
import torch

from patchmatch.pairs.patch2pix import consensus
from patchmatch.pairs.patch2pix.consensus import (
    Consensus,
    Conv4d,
    best_matches,
    matching_score,
    mutual_matching,
    pooled_correlation,
    weak_loss,
)


def convolve_by_loops(volume, weight, bias):
    """Return the definition of a 4D convolution with zero padding of (C, H, W, H1, W1)."""
    outputs, inputs, kernel = weight.shape[:3]
    pad = kernel // 2
    size = volume.shape[1:]
    out = torch.zeros(outputs, *size, dtype=volume.dtype)
    for channel in range(outputs):
        for place in product(*map(range, size)):
            total = bias[channel].clone()
            for source in range(inputs):
                for tap in product(range(kernel), repeat=4):
                    read = [p + t - pad for p, t in zip(place, tap, strict=True)]
                    if all(0 <= r < s for r, s in zip(read, size, strict=True)):
                        total += weight[(channel, source, *tap)] * volume[(source, *read)]
            out[(channel, *place)] = total
    return out


@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_4d_convolution_is_its_definition(monkeypatch, chunk):
    monkeypatch.setattr(consensus, "CHUNK_CELLS", chunk)
    torch.manual_seed(0)
    layer = Conv4d(2, 2, 3).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    volume = torch.randn(2, 2, 3, 2, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        found = layer(volume)
        truth = torch.stack([convolve_by_loops(v, layer.weight, layer.bias) for v in volume])
    assert torch.allclose(found, truth, atol=1e-12)


def test_consensus_gradients():
    torch.manual_seed(0)
    net = Consensus((2, 1), (3, 3)).double()
    scores = torch.rand(1, 2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: net(s), (scores,))
    assert torch.autograd.gradcheck(lambda s: weak_loss(net(s), s.flip(1)), (scores,))


def test_swapping_the_images_transposes_the_consensus():
    torch.manual_seed(0)
    net = Consensus()
    scores = torch.rand(1, 4, 3, 2, 5)
    swapped = net(scores.permute(0, 3, 4, 1, 2)).permute(0, 3, 4, 1, 2)
    assert torch.allclose(net(scores), swapped, atol=1e-6)


def test_mutual_matching_keeps_mutual_maxima():
    scores = torch.tensor([[0.9, 0.3], [0.8, 0.4]])[None, :, None, None]  # (1, 2, 1, 1, 2)
    found = mutual_matching(scores)[0, :, 0, 0]
    assert found[0, 0] == pytest.approx(0.9, abs=1e-4)
    assert found[1, 1] == pytest.approx(0.4 * (0.4 / 0.8) * 1, abs=1e-4)  # best of its column only
    assert found[0, 1] < 0.3 * (0.3 / 0.9) * (0.3 / 0.4) + 1e-4


def test_relocalisation_is_brute_force():
    torch.manual_seed(0)
    k, features0, features1 = 2, torch.randn(2, 5, 4, 6), torch.randn(2, 5, 6, 2)
    pooled = pooled_correlation(features0, features1, k)
    unit0, unit1 = (f / f.norm(dim=1, keepdim=True) for f in (features0, features1))
    full = torch.einsum("bcyx,bcvu->byxvu", unit0, unit1)
    assert torch.allclose(pooled_correlation(features0, features1).scores, full, atol=1e-6)
    for place in product(range(2), range(2), range(3), range(3), range(1)):
        batch, *cell = place
        block = {
            fine: float(full[(batch, *(k * c + f for c, f in zip(cell, fine, strict=True)))])
            for fine in product(range(k), repeat=4)
        }
        best = max(block, key=block.__getitem__)
        assert float(pooled.scores[place]) == pytest.approx(block[best], abs=1e-6)
        assert tuple(pooled.offsets[place].tolist()) == best


@pytest.mark.parametrize(("k", "right", "down", "least"), [(1, 1, 3, 32), (2, 2, 2, 8)])
def test_a_shifted_map_is_matched(k, right, down, least):
    torch.manual_seed(0)
    scene = torch.randn(1, 32, 12, 14)
    features0, features1 = scene[..., :8, :8], scene[..., down : down + 8, right : right + 8]
    pooled = pooled_correlation(features0, features1, k)
    with torch.no_grad():
        scores = Consensus()(pooled.scores)[0]
    found = best_matches(scores, None if k == 1 else pooled.offsets[0], k)
    moved = found.cells1[found.mutual] - found.cells0[found.mutual]
    correct = (moved == torch.tensor([-right, -down])).all(dim=1).sum()
    assert correct >= least  # of 35 cells that both maps show, and of 9 blocks


def test_no_response_gives_no_matches():
    found = best_matches(torch.zeros(2, 2, 3, 3), None)
    assert found.cells0.shape == found.cells1.shape == (0, 2)
    assert found.score.shape == found.mutual.shape == (0,)


def test_the_loss_falls_where_related_pairs_are_distinct():
    distinct = torch.eye(9).view(1, 3, 3, 3, 3)
    uniform = torch.ones(1, 3, 3, 3, 3)
    assert matching_score(distinct) == pytest.approx(2, abs=1e-3)
    assert matching_score(uniform) == pytest.approx(2 / 9, abs=1e-3)
    assert weak_loss(distinct, uniform) < weak_loss(uniform, distinct)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="multiples of 2"):
        pooled_correlation(torch.rand(1, 2, 3, 4), torch.rand(1, 2, 4, 4), 2)
    with pytest.raises(ValueError, match="odd"):
        Conv4d(1, 1, 2)
    with pytest.raises(ValueError, match="end with 1"):
        Consensus((16, 2), (3, 3))
