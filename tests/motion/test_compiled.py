"""The compiled loops of the motion network against the tensor operations that they stand for.

What one step of the loops has written is given to both forms of the next: where they part, it is
that step.
"""

from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from patchmatch import load_motion_matcher
from patchmatch.core.process import compiled_threads, threads_for_compiled_loops
from patchmatch.motion import compiled, tensors
from patchmatch.motion.coarse_to_fine import COARSEST, LEVELS, SEARCH_CANDIDATES, STEPS
from patchmatch.motion.kernels import compiled_for
from patchmatch.motion.net import MotionNet
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
    both = tensors.extract_features(*given), compiled.extract_features(*given)
    for one, other in zip(*both, strict=True):
        assert_close(one.normalized, other.normalized, rtol=1e-5, atol=1e-4)
        assert_close(one.noise, other.noise, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_jpeg_noise_agrees(rng, height, width):
    squares = torch.rand(2, 9, 13, generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    frames = 0.4 + 0.05 * squares[:, None, 3 : 3 + height, 5 : 5 + width]
    one, other = (
        extract_features(frames, 1)[0].noise
        for extract_features in (tensors.extract_features, compiled.extract_features)
    )
    assert_close(one, other, rtol=1e-2, atol=1e-6)
    assert one.mean() > 0.1


def random_pairs(rng, height, width):
    """Two pairs of frames, (2, 1, 2, H, W): halves that move apart, and nothing but noise."""
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=rng)
    scene = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    moved = torch.cat(
        [scene.roll((3, -2), (1, 2))[..., : width // 2], scene[..., width // 2 :]], -1
    )
    pair = torch.stack([scene, moved + 0.02 * normal(rng, 1, height, width)], dim=1)
    return torch.stack([pair, torch.rand(1, 2, height, width, generator=rng)]).clamp(0, 1)


class Both:
    """The compiled primitives; each is compared with the tensor operations on the same input."""

    def __init__(self):
        self.seen = Counter()

    def search(self, *given):
        best = compiled.search(*given)
        assert_close(tensors.search(*given), best, rtol=0, atol=1e-4)
        return best

    def propose(self, *given):
        found, wanted = compiled.propose(*given), tensors.propose(*given)
        assert all(map(torch.equal, wanted, found))
        assert found.unique[..., 0].all()
        self.seen["duplicates"] += int((~found.unique).sum())
        self.seen["distant candidates"] += int((found.candidates.abs() > 2.5).sum())
        return found

    def Matching(self, *given):  # noqa: N802 - as the modules of primitives name it
        return BothMatchings(self.seen, *given)

    def score(self, scorer, proposals, residual, matching, level):
        found = compiled.score(scorer, proposals, residual, matching, level)[-1]
        residual = residual.where(proposals.unique.unsqueeze(-1), 0)  # others are undefined
        scores = tensors.score(scorer, proposals, residual, matching.wanted, level)
        assert len(scores) == scorer.iterations + 1
        assert_close(scores[-1], found, rtol=1e-4, atol=2e-4)
        return [found]

    def median_displacement(self, *given):
        displacement = compiled.median_displacement(*given)
        assert_close(tensors.median_displacement(*given), displacement, rtol=2e-5, atol=1e-4)
        return displacement

    def voting_candidates(self, displacement, runner_up):
        found = compiled.voting_candidates(displacement, runner_up)
        assert all(map(torch.equal, tensors.voting_candidates(displacement, runner_up), found))
        self.seen["several candidates"] += int((found[1].sum(dim=-1) > 1).sum())
        self.seen["unsupported runners-up"] += int((found[2] == runner_up).all(dim=-1).sum())
        return found

    def vote_shares(self, *given):
        share = compiled.vote_shares(*given)
        assert_close(tensors.vote_shares(*given), share, rtol=0, atol=2e-5)
        return share

    def regularise(self, displacement, *given):
        found = compiled.regularise(displacement, *given)
        assert_close(tensors.regularise(displacement, *given), found, rtol=1e-4, atol=2e-5)
        self.seen["smoothed"] += int(((found - displacement).norm(dim=-1) > 0.02).sum())
        return found


class BothMatchings(compiled.Matching):
    """The compiled matching of a level, compared with the tensor operations."""

    def __init__(self, seen, *given):
        super().__init__(*given)
        self.seen, self.wanted = seen, tensors.Matching(*given)
        for name in ("structure_tensor", "noise_variance", "texture", "noise", "subwindow_weights"):
            assert_close(getattr(self.wanted, name), getattr(self, name), rtol=1e-4, atol=1e-6)

    def residual(self, candidates, mask=None):
        found = super().residual(candidates, mask)
        expected = self.wanted.residual(candidates)
        evaluated = torch.ones(found.shape[:-1], dtype=torch.bool) if mask is None else mask
        assert_close(expected[evaluated], found[evaluated], rtol=0, atol=3e-5)
        return found

    def refine(self, begin, *given):
        found = super().refine(begin, *given)[-1]
        assert_close(self.wanted.refine(begin, *given)[-1], found, rtol=0, atol=1e-4)
        self.seen["refined"] += int(((found - begin).abs() > 0.03).sum())
        return [found]


def random_net(rng, learned=True, messages=2, votes=2, hidden=16):
    net = MotionNet(hidden, learned)
    net.scorer.iterations, net.voting.iterations = messages, votes
    for weight in net.parameters():
        if weight.requires_grad:
            weight.add_(0.2 * normal(rng, *weight.shape))
    return net


CASES = {  # settings of the network, block, height, width, radius
    "16": ({}, 16, 134, 197, 3),
    "hand-crafted": ({"learned": False}, 16, 134, 197, 3),
    "24": ({}, 24, 150, 203, 1),  # subwindows whose side is not a power of 2
    "other sizes": ({"messages": 5, "votes": 3, "hidden": 6}, 16, 70, 100, 2),
    "no iterations": ({"messages": 0, "votes": 0}, 16, 134, 197, 3),
    "training": ({}, 16, 134, 197, 3),  # no limit of candidates
}


@pytest.mark.parametrize("name", CASES)
def test_compiled_primitives_agree_with_tensor_operations(name):
    settings, block, height, width, radius = CASES[name]
    rng = torch.Generator().manual_seed(0)
    net = random_net(rng, **settings).train(name == "training")
    frames = random_pairs(rng, height, width)
    features = [compiled.extract_features(frames[:, :, i], LEVELS) for i in (0, 1)]
    grid, both = block_counts(height, width, block, block, edges=True), Both()
    motion = net._match(both, *features, grid, block, radius, False)
    assert motion.displacement.shape == (2, *grid, 2)
    asked = ["duplicates", "distant candidates", "refined", "smoothed"]
    asked += ["several candidates", "unsupported runners-up"] if net.voting.iterations else []
    assert all(both.seen[key] for key in asked), both.seen


def test_shortest_of_equal_candidates_comes_first():
    features = compiled.extract_features(torch.zeros(2, 1, 64, 96), LEVELS)[COARSEST]
    given = features, features, torch.Size([2, 4, 6]), 2, 2, SEARCH_CANDIDATES
    begin = compiled.search(*given)
    assert not begin[..., 0, :].any()
    assert_close(tensors.search(*given).norm(dim=-1), begin.norm(dim=-1))


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("count", [2, 3])
def test_several_threads_give_the_results_of_one(monkeypatch, rng, torch_threads, count, pairs):
    net, frames = random_net(rng).eval(), random_pairs(rng, 134, 197)[:pairs]
    torch_threads(1)
    single = net(frames, 16, 3)
    torch_threads(count)
    monkeypatch.setattr(compiled, "PART", 1)  # a pair alone is divided among all threads
    with threads_for_compiled_loops():
        assert (compiled_threads(), torch.get_num_threads()) == (count, 1)
        with threads_for_compiled_loops():  # as where a matcher asks before its network does
            assert compiled_threads() == count
    assert (compiled_threads(), torch.get_num_threads()) == (1, count)
    together = net(frames, 16, 3)
    assert torch.equal(single.displacement, together.displacement)
    assert torch.equal(single.confidence_logits, together.confidence_logits)


def test_features_with_gradients_are_compared_without():
    frames = torch.rand(2, 1, 64, 96, requires_grad=True)
    net = MotionNet()
    with torch.enable_grad():
        features = net.extract_features(frames)
    motion = net.eval().match(
        *([d.frames(part) for d in features] for part in (slice(1), slice(1, 2))), 16
    )
    assert not motion.displacement.requires_grad


def test_nan_frames_do_not_read_out_of_bounds(rng):
    frames = torch.rand(1, 1, 2, 80, 112, generator=rng)
    frames[..., 20:60, 30:70] = torch.nan
    frames[..., 70, 90] = torch.inf
    assert MotionNet().eval()(frames, 16, 3).displacement.shape == (1, 5, 7, 2)


@pytest.mark.parametrize("learned", [True, False])
def test_compiled_network_agrees_with_tensor_operations(rng, learned):
    net = load_motion_matcher(device="cpu").matcher.net if learned else MotionNet(learned=False)
    net.eval()
    scene = torch.nn.functional.interpolate(torch.rand(2, 1, 30, 40, generator=rng), (134, 197))
    frames = torch.stack([scene, scene.roll((2, -3), dims=(2, 3))], dim=2)
    found = net(frames, 16)
    with torch.enable_grad():  # the steps that pass gradients
        wanted = net(frames, 16)
    assert wanted.displacement.requires_grad == learned
    apart = (found.displacement - wanted.displacement).norm(dim=-1)
    assert (apart < 1e-3).float().mean() > 0.95  # among equally good ones rounding may choose
    medians = (motion.confidence_logits.median() for motion in (found, wanted))
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
    search = compiled.search
    monkeypatch.setattr(compiled, "search", lambda *x: calls.append(1) or search(*x))
    net, frames = MotionNet().eval(), torch.rand(1, 1, 2, 64, 96, generator=rng)
    assert net(frames, 16).trace is None
    assert calls == [1]
    with torch.enable_grad():
        assert net(frames, 16).trace is None
    assert len(net(frames, 16, trace=True).trace) == 3 + sum(STEPS) + 2
    assert calls == [1]
