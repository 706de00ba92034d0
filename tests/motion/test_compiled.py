"""The compiled loops of the motion network against the tensor operations that they stand for.

What one step of the loops has written is given to both forms of the next: where they part, it is
that step.
"""

import threading

import pytest
import torch
from torch.testing import assert_close

from patchmatch import load_motion_matcher
from patchmatch.core.process import compiled_threads, threads_for_compiled_loops
from patchmatch.motion import compiled as motion_kernels
from patchmatch.motion import features as levels
from patchmatch.motion.candidates import Offered, offer, with_rival
from patchmatch.motion.coarse_to_fine import COARSEST, FIRST, LEVELS, MOST, STEPS
from patchmatch.motion.consensus import NEVER
from patchmatch.motion.consensus_steps import answers_around, ballot
from patchmatch.motion.kernels import compiled_for, team
from patchmatch.motion.net import MotionNet
from patchmatch.motion.refine import Matching, settle
from patchmatch.ops.blocks import block_counts

SIZES = [(64, 96), (67, 101), (33, 50)]


@pytest.fixture(autouse=True, scope="module")
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_features_agree(rng, height, width):
    frames = torch.rand(2, 1, height, width, generator=rng)
    frames[1, :, : height // 2] = 0.3  # plain: all gain is that of the floor
    given = frames, 4
    both = levels.describe(*given), motion_kernels.describe(*given)
    for one, other in zip(*both, strict=True):
        assert_close(one.even, other.even, rtol=1e-5, atol=1e-4)
        assert_close(one.noise, other.noise, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_jpeg_noise_agrees(rng, height, width):
    squares = torch.rand(2, 9, 13, generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    frames = 0.4 + 0.05 * squares[:, None, 3 : 3 + height, 5 : 5 + width]
    one, other = (
        describe(frames, 1)[0].noise for describe in (levels.describe, motion_kernels.describe)
    )
    assert_close(one, other, rtol=1e-2, atol=1e-6)
    assert one.mean() > 0.1


def restless(rng, height, width):
    """Two pairs of frames, (2, 1, 2, H, W): halves that move apart, and nothing but noise."""
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=rng)
    scene = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    moved = torch.cat(
        [scene.roll((3, -2), (1, 2))[..., : width // 2], scene[..., width // 2 :]], -1
    )
    pair = torch.stack([scene, moved + 0.02 * normal(rng, 1, height, width)], dim=1)
    return torch.stack([pair, torch.rand(1, 2, height, width, generator=rng)]).clamp(0, 1)


class Case:
    """All that was found out about frames by kernels, as tensors."""

    def __init__(self, net, frames, block, radius):
        self.net, self.block, self.radius = net, block, radius
        self.described = [motion_kernels.describe(frames[:, :, i], LEVELS) for i in (0, 1)]
        counts = block_counts(*frames.shape[3:], block, block, edges=True)
        self.shape = torch.Size([len(frames), *counts])
        found = motion_kernels.compared(net, *self.described, self.shape, block, radius)
        self.begin = torch.from_numpy(found.begin)
        self.ending = self._tensors(found.ending)
        self.levels = [self._tensors(level) for level in found.levels]

    def _tensors(self, work):
        blocks = self.shape.numel()
        found = {}
        for name, values in work._asdict().items():
            values = torch.from_numpy(values)
            if len(values) == blocks:
                values = values.unflatten(0, self.shape)
            elif values.ndim > 1 and values.shape[1] == blocks:
                values = values.unflatten(1, self.shape)
            found[name] = values
        return work._replace(**found)

    def matching(self, level):
        given = (described[level] for described in self.described)
        return Matching(*given, self.shape, self.block >> level)

    def above(self, level):
        """What was found on the level above, in its pixels."""
        return self.begin if level == COARSEST - 1 else self.levels[level + 1].refined


def restless_net(rng, learned=True, messages=2, votes=2, hidden=16):
    net = MotionNet(hidden, learned)
    net.judge.rounds, net.ballot.rounds = messages, votes
    for weight in net.parameters():
        if weight.requires_grad:
            weight.add_(0.2 * normal(rng, *weight.shape))
    return net


CASES = {  # settings of the network, block, height, width, radius
    "16": ({}, 16, 134, 197, 3),
    "by hand": ({"learned": False}, 16, 134, 197, 3),
    "24": ({}, 24, 150, 203, 1),  # whose cells are no power of 2
    "other sizes": ({"messages": 5, "votes": 3, "hidden": 6}, 16, 70, 100, 2),
    "no rounds": ({"messages": 0, "votes": 0}, 16, 134, 197, 3),
    "training": ({}, 16, 134, 197, 3),  # where no candidate is left out
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    settings, block, height, width, radius = CASES[request.param]
    rng = torch.Generator().manual_seed(0)
    net = restless_net(rng, **settings).train(request.param == "training")
    return Case(net, restless(rng, height, width), block, radius)


every_level = pytest.mark.parametrize("level", range(COARSEST))


def test_compiled_search_agrees(case):
    coarsest = (described[COARSEST] for described in case.described)
    given = case.shape, case.block >> COARSEST, case.radius, FIRST
    assert_close(levels.search(*coarsest, *given), case.begin, rtol=0, atol=1e-4)


def test_shortest_of_equal_candidates_comes_first():
    case = Case(MotionNet().eval(), torch.zeros(2, 1, 2, 64, 96), 16, 2)
    assert not case.begin[..., 0, :].any()
    coarsest = (described[COARSEST] for described in case.described)
    wanted = levels.search(*coarsest, case.shape, 2, 2, FIRST)
    assert_close(wanted.norm(dim=-1), case.begin.norm(dim=-1))


@every_level
def test_compiled_candidates_agree(case, level):
    wanted = offer(2 * case.above(level), level, None if case.net.training else MOST)
    found = case.levels[level]
    assert not wanted.fresh.all()
    assert wanted.fresh[..., 0].all()
    for one, other in zip(wanted, (found.offered, found.fresh, found.common), strict=True):
        assert torch.equal(one, other)


@every_level
def test_compiled_cell_statistics_agree(case, level):
    matching, found = case.matching(level), case.levels[level]
    for name in ("texture", "noise"):
        assert_close(getattr(matching, name), getattr(found, name), rtol=1e-4, atol=1e-6)
    for name in ("tensor", "loudness"):
        wanted = getattr(matching, name).unflatten(0, case.shape)
        assert_close(wanted, getattr(found, name), rtol=1e-4, atol=1e-6)


@every_level
def test_compiled_residuals_agree(case, level):
    found = case.levels[level]
    wanted = case.matching(level).residual(found.offered)
    assert found.offered.abs().max() > 2.5
    assert_close(wanted[found.fresh], found.residual[found.fresh], rtol=0, atol=1e-5)


@every_level
def test_compiled_scores_agree(case, level):
    matching, found = case.matching(level), case.levels[level]
    assert found.fresh.sum(dim=-1).max() > found.fresh.sum(dim=-1).min()
    residual = found.residual.where(
        found.fresh.unsqueeze(-1), 0
    )  # what nobody asks may be anything
    cells = matching.texture, matching.noise, matching.shares
    offered = Offered(found.offered, found.fresh, found.common)
    wanted = case.net.judge(offered, residual, *cells, level)
    assert len(wanted) == len(found.logits) == case.net.judge.rounds + 1
    for one, other in zip(wanted, found.logits, strict=True):
        assert_close(one, other, rtol=1e-4, atol=2e-4)


@every_level
def test_compiled_refinement_agrees(case, level):
    found = case.levels[level]
    begin = with_rival(found.offered, found.logits[-1])
    alone = (begin[..., 0, :] == begin[..., 1, :]).all(dim=-1)
    assert 0 < alone.float().mean() < 1
    wanted = case.matching(level).refine(begin, case.net.trust, level, STEPS[level])[-1]
    assert (wanted - begin).abs().max() > 0.03
    assert_close(wanted, found.refined, rtol=0, atol=1e-4)


def test_compiled_geometric_median_agrees(case):
    found = case.levels[0]
    wanted = settle(found.offered, found.logits[-1], found.refined[..., :1, :])
    assert_close(wanted, case.ending.answers[0], rtol=2e-5, atol=1e-4)


def test_compiled_votes_agree(case):
    found, ballots = case.ending, case.net.ballot
    matching, refined = case.matching(0), case.levels[0].refined
    offered, fresh, alone = answers_around(found.answers[-2], refined[..., 1, :])
    for one, other in zip(
        (offered, fresh, alone), (found.offered, found.fresh, found.alone), strict=True
    ):
        assert torch.equal(one, other)
    assert 1 < fresh.sum(dim=-1).max() <= 10
    assert 0 < (alone == refined[..., 1, :]).all(dim=-1).float().mean() < 1
    residual = matching.residual(offered)
    assert_close(residual[found.asked], found.residual[found.asked], rtol=0, atol=1e-5)
    cells = residual, matching.texture, matching.noise
    share = ballot(offered, fresh, alone, *cells, ballots.formula, ballots.layers)
    assert_close(share, found.share, rtol=0, atol=2e-5)
    wanted = settle(offered, (found.share + NEVER).log())
    assert_close(wanted, found.answers[-1], rtol=2e-5, atol=1e-4)


def test_compiled_evidence_and_smoothing_agree(case):
    found, matching, answer = case.ending, case.matching(0), case.ending.answers[-1]
    at_rest = case.levels[0].residual[..., 0, :]
    evidence = matching.evidence(answer, at_rest, found.offered, found.share)
    assert_close(evidence, found.evidence, rtol=1e-4, atol=2e-5)
    tensor = matching.tensor.mean(dim=-2).unflatten(0, case.shape)
    wanted = case.net.smoother(answer, tensor, found.evidence)
    assert_close(wanted, found.found, rtol=1e-4, atol=2e-5)
    assert (wanted - answer).norm(dim=-1).max() > 0.02


def everything(case):
    """All that somebody asks for, level by level, and the answers."""
    for level in case.levels:
        yield level.residual[level.fresh]
        yield from (level.tensor, level.offered, level.logits, level.refined)
    yield from (case.ending.answers, case.ending.evidence, case.ending.found)
    for described in case.described:
        for level in described:
            yield from level


@pytest.fixture
def threads():
    """Call to let torch use so many threads, which it may no longer after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [2, 3])
def test_several_threads_give_the_results_of_one(monkeypatch, rng, threads, count):
    given = restless_net(rng).eval(), restless(rng, 240, 330), 16, 3  # enough for three of them
    alone = Case(*given)
    asked, submit = [], team._submit

    def submit_and_see_it_begin(call, function, *arguments):
        begun = threading.Event()
        asked.append(function.function.__name__)

        def begin(*given):
            begun.set()
            call(*given)

        future = submit(begin, function, *arguments)
        assert begun.wait(60)
        return future

    monkeypatch.setattr(team, "_submit", submit_and_see_it_begin)
    threads(count)
    with threads_for_compiled_loops():
        assert (compiled_threads(), torch.get_num_threads()) == (count, 1)
        with threads_for_compiled_loops():  # as where a matcher asks before its network does
            assert compiled_threads() == count
        together = Case(*given)
    assert (compiled_threads(), torch.get_num_threads()) == (1, count)
    assert all(map(torch.equal, everything(alone), everything(together)))
    assert asked.count("describe_frames") == 2  # of two frames each one is described by a thread
    assert asked.count("compare_frames") == count - 1


def test_pair_is_compared_if_no_other_thread_starts(monkeypatch, rng, threads):
    given = restless_net(rng).eval(), restless(rng, 240, 330), 16, 3
    alone = Case(*given)
    monkeypatch.setattr(team, "_submit", lambda *_: team.Future())
    threads(3)
    with threads_for_compiled_loops():
        deserted = Case(*given)
    assert all(map(torch.equal, everything(alone), everything(deserted)))


def test_features_with_gradients_are_compared_without():
    frames = torch.rand(2, 1, 64, 96, requires_grad=True)
    net = MotionNet()
    with torch.enable_grad():
        described = net.describe(frames)
    motion = net.eval().compare(
        *([d.frames(part) for d in described] for part in (slice(1), slice(1, 2))), 16
    )
    assert not motion.displacement.requires_grad


def test_nan_frames_do_not_read_out_of_bounds(rng):
    frames = torch.rand(1, 1, 2, 80, 112, generator=rng)
    frames[..., 20:60, 30:70] = torch.nan
    frames[..., 70, 90] = torch.inf
    assert Case(MotionNet().eval(), frames, 16, 3).ending.found.shape == (1, 5, 7, 2)


@pytest.mark.parametrize("learned", [True, False])
def test_compiled_network_agrees_with_tensor_operations(rng, learned):
    net = load_motion_matcher(device="cpu").matcher.net if learned else MotionNet(learned=False)
    net.eval()
    scene = torch.nn.functional.interpolate(torch.rand(2, 1, 30, 40, generator=rng), (134, 197))
    frames = torch.stack([scene, scene.roll((2, -3), dims=(2, 3))], dim=2)
    compiled = net(frames, 16)
    with torch.enable_grad():  # the steps that pass gradients
        wanted = net(frames, 16)
    assert wanted.displacement.requires_grad == learned
    apart = (compiled.displacement - wanted.displacement).norm(dim=-1)
    assert (apart < 1e-3).float().mean() > 0.95  # among equally good ones rounding may choose
    medians = (motion.confidence_logits.median() for motion in (compiled, wanted))
    assert_close(*medians, rtol=0, atol=0.05)


def test_compiled_loops_support_float32_on_the_cpu_without_gradients():
    tensor = torch.zeros(1)
    assert compiled_for(tensor)
    assert not compiled_for(tensor, tensor.double())
    assert not compiled_for(torch.zeros(1, device="meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not compiled_for(tensor)
    with torch.enable_grad():
        assert not compiled_for(tensor)


def test_compiled_loops_are_used_without_gradients_and_without_a_trace(monkeypatch, rng):
    calls = []
    compare = motion_kernels.compare
    monkeypatch.setattr(motion_kernels, "compare", lambda *x: calls.append(x[0]) or compare(*x))
    net, frames = MotionNet().eval(), torch.rand(1, 1, 2, 64, 96, generator=rng)
    assert net(frames, 16).trace is None
    assert calls == [net]
    with torch.enable_grad():
        assert net(frames, 16).trace is None
    assert len(net(frames, 16, trace=True).trace) == 3 + sum(STEPS) + 2
    assert calls == [net]
