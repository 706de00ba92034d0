import pytest
import torch
from torch.testing import assert_close

from patchmatch.motion import tensors
from patchmatch.motion.consensus import Regulariser, SubwindowVoting
from patchmatch.motion.consensus_steps import regularise, vote_shares, voting_candidates
from patchmatch.motion.features import PyramidLevel
from patchmatch.motion.matching import Matching

GRID = (1, 5, 6)
HELD = torch.tensor([4.0, 0.5, 3.0])


def field(gradient=((0.0, 0.0), (0.0, 0.0)), start=(2.0, -1.0)):
    """Displacements that change evenly from block to block, (1, 5, 6, 2)."""
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    return torch.tensor(start) + (torch.stack([x, y], dim=-1) @ torch.tensor(gradient))[None]


def drawn(answer, data_term=HELD, pairwise_weight=(1.0, 1.0), confidence=None, reach=(0.2, 0.2)):
    confidence = torch.ones(GRID) if confidence is None else confidence
    pairwise_weight = torch.tensor(pairwise_weight).expand(*GRID, 2)
    return regularise(
        answer, data_term.expand(*GRID, 3), pairwise_weight, confidence, torch.tensor(reach)
    )


def test_candidates_are_the_distinct_estimates_of_neighbours():
    answer = torch.zeros(1, 3, 3, 2)
    answer[0, :, 2] = torch.tensor([4.0, 1.0])
    answer[0, 0, 0] = torch.tensor([0.0, 0.6])
    answer[0, 2, 2] = torch.tensor([4.3, 1.0])  # hardly another one
    runner_up = answer.clone()
    runner_up[0, 1, 1] = torch.tensor([-3.0, 2.0])
    candidates, unique, unsupported = voting_candidates(answer, runner_up)
    expected = [answer[0, 1, 1], answer[0, 0, 0], answer[0, 0, 2], runner_up[0, 1, 1]]
    assert torch.equal(candidates[0, 1, 1, :4], torch.stack(expected))
    assert not candidates[0, 1, 1, 4:].any()
    assert unique[0, 1, 1].tolist() == [True] * 4 + [False] * 6
    assert (
        not (candidates[0, 0, 0] == runner_up[0, 1, 1]).all(dim=-1).any()
    )  # it is no neighbours' affair
    assert torch.equal(unsupported, runner_up)
    runner_up[0, 1, 1] = answer[0, 0, 0]  # which a neighbour found as well
    candidates, _, unsupported = voting_candidates(answer, runner_up)
    assert torch.equal(candidates[0, 1, 1, :3], torch.stack(expected[:3]))
    assert torch.equal(unsupported, answer)
    assert unique[0, :, :, 0].all()


def votes(residual, candidates, noise=0.0, runner_up=None):
    """Shares of the votes of one block by the formula alone."""
    untrained = SubwindowVoting()
    shape = (1, 1, 1)
    runner_up = candidates[0] if runner_up is None else runner_up
    with torch.no_grad():
        return vote_shares(
            candidates.expand(*shape, -1, 2), torch.ones(*shape, len(candidates), dtype=torch.bool),
            runner_up.expand(*shape, 2), residual.expand(*shape, -1, 16), torch.zeros(*shape, 16),
            torch.full((*shape, 16), noise), untrained.formula, untrained.layers,
        )[0, 0, 0]  # fmt: skip


def test_every_subwindow_has_one_vote_whatever_its_contrast():
    candidates = torch.tensor([[1.0, 0.0], [6.0, 0.0]])
    residual = torch.full((2, 16), 0.3)
    residual[0, :6] = 0.0
    residual[0, 6:] = 0.9  # ten subwindows follow the second
    residual[1, :6] = 1.0
    assert_close(votes(residual, candidates), torch.tensor([6 / 16, 10 / 16]), rtol=0, atol=0.01)


def test_runner_up_has_a_penalty():
    candidates = torch.tensor([[1.0, 0.0], [6.0, 0.0]])
    for better, wins in ((0.02, False), (0.3, True)):
        residual = torch.tensor([[0.3], [0.3 - better]]).expand(2, 16)
        share = votes(residual, candidates, runner_up=candidates[1])
        assert share[1] < votes(residual, candidates)[1]
        assert (share[1] > 0.5) == wins
    assert_close(share, votes(residual, candidates), rtol=0, atol=0.01)


def test_own_estimate_wins_equal_residuals():
    share = votes(torch.full((3, 16), 0.2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]]))
    assert share.argmax() == 0


def test_noise_softens_the_votes():
    residual = torch.tensor([[0.2], [0.1]]).expand(2, 16)
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert votes(residual, candidates)[1] > 0.9 > votes(residual, candidates, noise=0.5)[1]


def test_block_across_an_edge_has_the_motion_of_its_larger_part():
    """Ground that stands still, and texture that covers more than half of the middle block."""
    torch.manual_seed(0)
    ground, cover = torch.rand(2, 48, 48)
    frames = torch.stack([ground, ground])
    frames[0, :, 13:], frames[1, :, 15:] = cover[:, 13:], cover[:, 13:46]
    matching = Matching(
        *(PyramidLevel(f[None], torch.zeros(1, 12, 12)) for f in frames), torch.Size([1, 3, 3]), 16
    )
    answer = torch.zeros(1, 3, 3, 2)
    answer[0, :, 2] = torch.tensor([2.0, 0.0])
    with torch.no_grad():
        chosen, _, share = SubwindowVoting()(tensors, matching, answer, answer)
        # a column of subwindows in the first block follows the cover, all of the second do
        assert_close(chosen[0, 1], torch.tensor([[0.0, 0], [2, 0], [2, 0]]), rtol=0, atol=0.1)
        assert_close(share.sum(dim=-1), torch.ones(1, 3, 3))
        # two iterations are needed where the displacement is two blocks away
        answer[0, :, 1:], answer[0, :2, 2] = 0, 0
        answer[0, 2, 2] = torch.tensor([2.0, 0.0])
        once, _, _ = SubwindowVoting(iterations=1)(tensors, matching, answer, answer)
        twice, _, _ = SubwindowVoting(iterations=2)(tensors, matching, answer, answer)
        assert once[0, 0, 2, 0] == 0
        assert twice[0, 0, 2, 0] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("gradient", [((0.0, 0.0), (0.0, 0.0)), ((0.04, 0.01), (-0.02, 0.03))])
def test_smoothing_keeps_linear_motion(gradient):
    answer = field(gradient)
    found = drawn(answer, pairwise_weight=(0.0, 1.0))
    assert_close(found, answer, rtol=0, atol=1e-5)


def test_estimate_with_weak_data_term_follows_its_neighbours():
    answer = field(((0.04, 0.0), (0.0, 0.02)))
    right = answer[0, 2, 3].clone()
    answer[0, 2, 3] += torch.tensor([0.15, -0.1])
    data_term = HELD.repeat(*GRID, 1)
    assert (drawn(answer, data_term)[0, 2, 3] - right).norm() > 0.05
    data_term[0, 2, 3] = 0.01
    found = drawn(answer, data_term)
    assert (found[0, 2, 3] - right).norm() < 0.02
    # with a gradient along x alone, the data term holds x only
    data_term[0, 2, 3] = torch.tensor([100.0, 0.0, 0.0])
    x, y = (drawn(answer, data_term)[0, 2, 3] - right).abs()
    assert x > 0.1
    assert y < 0.02


def test_smoothing_keeps_motion_edges():
    answer = field()
    answer[0, :, 3:] += 6
    assert_close(drawn(answer), answer, rtol=0, atol=0.02)


def test_neighbour_of_zero_weight_is_ignored():
    answer = field()
    answer[0, 2, 2] += 0.2
    confidence = torch.ones(GRID)
    confidence[0, 2, 2] = 0
    rest = torch.ones(GRID, dtype=torch.bool)
    rest[0, 2, 2] = False
    assert_close(drawn(answer, confidence=confidence)[rest], field()[rest], rtol=0, atol=1e-6)
    assert not torch.allclose(drawn(answer)[rest], field()[rest], rtol=0, atol=1e-3)


@pytest.mark.parametrize("strength", [400.0, 3e3, 1e6])
def test_estimate_is_unconstrained_along_an_edge_whatever_its_contrast(strength):
    """Brightness changes along x = y alone; across, only the neighbours count."""
    answer = field(start=(0.0, 0.0))
    answer[0, 2, 2] = torch.tensor([0.1, 0.0])
    data_term = HELD.repeat(*GRID, 1)
    data_term[0, 2, 2] = torch.tensor([strength, strength, strength])
    pairwise_weight = torch.ones(*GRID, 2, requires_grad=True)
    found = regularise(
        answer, data_term, pairwise_weight, torch.ones(GRID), torch.tensor([0.2, 0.2])
    )
    assert_close(found[0, 2, 2].sum(), torch.tensor(0.1), rtol=0, atol=0.05)
    assert (found[0, 2, 2, 0] - found[0, 2, 2, 1]).abs() < 0.02
    found.square().sum().backward()
    assert torch.isfinite(pairwise_weight.grad).all()


def test_single_block_keeps_its_estimate():
    answer = torch.tensor([[[[3.0, -2.0]]]])
    one = torch.ones(1, 1, 1)
    pairwise_weight, reach = torch.ones(1, 1, 1, 2), torch.tensor([0.2, 0.2])
    found = regularise(answer, torch.zeros(1, 1, 1, 3), pairwise_weight, one, reach)
    assert_close(found, answer)
    edge = torch.tensor([3e3, 3e3, 3e3]).expand(1, 1, 1, 3)
    assert_close(regularise(answer, edge, pairwise_weight, one, reach), answer)


def test_untrained_smoother_is_its_formula():
    torch.manual_seed(1)
    answer, evidence = field() + 0.1 * torch.randn(*GRID, 2), torch.rand(*GRID, 13)
    tensor = torch.tensor([2.0, 0.1, 1.0]).expand(*GRID, 3)
    with torch.no_grad():
        one, other = (Regulariser(hidden)(tensors, answer, tensor, evidence) for hidden in (4, 16))
    assert_close(one, other)
    assert one.sub(field()).norm() < answer.sub(field()).norm()
