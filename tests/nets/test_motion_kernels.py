"""The compiled steps of the motion network against the tensor operations that they stand for."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from patchmatch import load_motion_matcher
from patchmatch.kernels import compiled_for, compiling, threads_for, threads_left
from patchmatch.nets import MotionNet, motion_kernels, motion_steps
from patchmatch.nets.answers import Smoother
from patchmatch.nets.judge import NOT_JUDGED, CellTrust, Judge, PlainJudge, PlainTrust, steps_for

SIZES = [(64, 96), (67, 101), (33, 50)]
GRID = torch.Size([2, 3, 5])


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def level(rng, batch, height, width):
    """A level of frames that are nothing but noise, of different loudness."""
    noise = torch.rand(batch, -(-height // 4), -(-width // 4), generator=rng)
    return motion_steps.Level(normal(rng, batch, height, width), noise)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_frames_are_described_alike(rng, height, width):
    frames = torch.rand(2, 1, height, width, generator=rng)
    frames[1, :, : height // 2] = 0.3  # plain: all gain is that of the floor
    given = frames, 4
    both = motion_steps.describe(*given), motion_kernels.describe(*given)
    for one, other in zip(*both, strict=True):
        assert_close(one.even, other.even, rtol=1e-5, atol=1e-4)
        assert_close(one.noise, other.noise, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("block", "radius"), [(4, 1), (4, 4), (2, 3), (8, 2), (9, 1)])
def test_the_search_finds_the_same(rng, block, radius):
    described = [level(rng, 2, 3 * block + 2, 5 * block + 3) for _ in range(2)]
    given = *described, GRID, block, radius, 6
    assert_close(motion_steps.search(*given), motion_kernels.search(*given), rtol=0, atol=1e-4)


def test_of_equal_costs_the_shortest_is_found_first():
    flat = motion_steps.Level(torch.zeros(2, 12, 20), torch.zeros(2, 3, 5))
    given = flat, flat, GRID, 4, 2, 9
    found = motion_kernels.search(*given)
    assert not found[..., 0, :].any()
    assert_close(motion_steps.search(*given).norm(dim=-1), found.norm(dim=-1))


@pytest.mark.parametrize("kept", [1, 4])
@pytest.mark.parametrize(("level", "count"), [(0, 5), (2, 6), (1, None), (0, None)])
def test_the_same_candidates_are_offered(rng, kept, level, count):
    candidates = (0.2 * normal(rng, *GRID, kept, 2)).round(decimals=1)  # many repeat others
    one, other = (s.offer(candidates, level, count) for s in (motion_steps, motion_kernels))
    assert not one.fresh.all()
    assert one.fresh[..., 0].all()
    for found, wanted in zip(other, one, strict=True):
        assert torch.equal(found, wanted)


def test_the_same_answer_is_settled_on(rng):
    given = normal(rng, *GRID, 7, 2), normal(rng, *GRID, 7), normal(rng, *GRID, 1, 2)
    assert_close(motion_steps.settle(*given), motion_kernels.settle(*given))
    assert_close(motion_steps.settle(*given[:2]), motion_kernels.settle(*given[:2]))


def test_the_same_rivals_are_found(rng):
    candidates, logits = normal(rng, *GRID, 6, 2), 3 * normal(rng, *GRID, 6)
    logits[..., 4:] = NOT_JUDGED
    found = [s.with_rival(candidates, logits) for s in (motion_steps, motion_kernels)]
    assert torch.equal(*found)
    alone = (found[0][..., 0, :] == found[0][..., 1, :]).all(dim=-1)
    assert 0.05 < alone.float().mean() < 0.95


@pytest.fixture(params=[(8, 24, 40), (16, 55, 90), (24, 72, 125)], ids=["inside", "16", "24"])
def matchings(request, rng):
    """Both kinds of a level whose windows are larger than its blocks, as large, and not 2^n."""
    block, height, width = request.param
    smooth = torch.nn.functional.avg_pool2d(normal(rng, 2, height + 4, width + 4), 5, 1) * 3
    images = [smooth, smooth.roll((1, 2), dims=(1, 2)) + 0.1 * normal(rng, 2, height, width)]
    images = [motion_steps.Level(i, 0.1 * level(rng, 2, height, width).noise) for i in images]
    shape = torch.Size([2, height // block, width // block])
    return [steps.Matching(*images, shape, block) for steps in (motion_steps, motion_kernels)]


def far_and_near(rng, shape, count):
    """Displacements between pixels, at them, and far beyond the border."""
    found = 4 * normal(rng, *shape, count, 2)
    found[..., 0, :] = found[..., 0, :].round()
    found[:, 0, 0, -1] = torch.tensor([-400.0, 400.0])
    return found


def test_what_is_in_the_cells_is_the_same(matchings):
    one, other = matchings
    for name in ("tensor", "loudness", "texture", "noise"):
        assert_close(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-6)


def test_windows_differ_as_much(matchings, rng):
    one, other = matchings
    candidates = far_and_near(rng, one.shape, 5)
    assert_close(one.residual(candidates), other.residual(candidates), rtol=0, atol=2e-6)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("level", [0, 2])
def test_candidates_are_judged_alike(matchings, rng, learned, level):
    judge = Judge(12, 5, rounds=2) if learned else PlainJudge(rounds=2)
    for weight in judge.parameters():
        weight.add_(0.3 * normal(rng, *weight.shape))
    offered = motion_steps.offer(normal(rng, *matchings[0].shape, 2, 2), level)
    assert 1 < offered.fresh.sum(dim=-1).min() < offered.fresh.shape[-1]
    found = []
    for steps, matching in zip((motion_steps, motion_kernels), matchings, strict=True):
        residual = matching.residual(offered.candidates, offered.fresh)
        if steps is motion_kernels:  # what nobody asks for may be anything
            residual[~offered.fresh] = torch.nan
        found.append(steps.judged(judge, offered, residual, matching, level))
    assert len(found[0]) == 3
    for one, other in zip(*found, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("learned", [True, False])
def test_displacements_are_refined_alike(matchings, rng, learned):
    one, other = matchings
    trust = CellTrust(16) if learned else PlainTrust()
    for weight in trust.parameters():
        weight.copy_(0.3 * normal(rng, *weight.shape))
    candidates = far_and_near(rng, one.shape, 3)
    candidates[0, :, :, 2] = candidates[0, :, :, 0]  # which is not done again
    before = candidates.clone()
    wanted = one.refine(candidates, trust, 1, 3)[-1]
    assert_close(other.refine(candidates, trust, 1, 3)[-1], wanted, rtol=0, atol=1e-4)
    assert torch.equal(candidates, before)


def test_an_answer_is_told_from_a_wrong_one_alike(matchings, rng):
    one, other = matchings
    answer, offered = (normal(rng, *one.shape, *n, 2) for n in ((), (7,)))
    at_rest = normal(rng, *one.shape, 16)
    given = answer, at_rest, offered, normal(rng, *one.shape, 7).softmax(dim=-1)
    assert_close(one.evidence(*given), other.evidence(*given), rtol=1e-4, atol=1e-5)


def test_cells_elect_the_same_answers(matchings, rng):
    answer, rival = (  # some are repeated
        normal(rng, *matchings[0].shape, 2).round(decimals=1) for _ in range(2)
    )
    rival[:, 0] = answer[:, 1]
    layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    for weight in layers.parameters():
        weight.copy_(normal(rng, *weight.shape))
    formula = torch.tensor([20.0, 0.5, 3.0, 2.0]).log()
    found = []
    for steps, matching in zip((motion_steps, motion_kernels), matchings, strict=True):
        offered, fresh, alone = steps.answers_around(answer, rival)
        residual = matching.residual(offered, fresh)
        known = matching.texture, matching.noise
        share = steps.ballot(offered, fresh, alone, residual, *known, formula, layers)
        found.append((offered, fresh, share, alone))
    (one, fresh, share, alone), (other, other_fresh, other_share, other_alone) = found
    assert torch.equal(one, other)
    assert torch.equal(alone, other_alone)
    assert 0 < (alone == rival).all(dim=-1).sum() < rival[..., 0].numel()
    assert torch.equal(fresh, other_fresh)
    assert 1 < fresh.sum(dim=-1).max() <= 10
    assert_close(share, other_share, rtol=0, atol=1e-5)


def test_answers_are_drawn_together_alike(matchings, rng):
    one, other = matchings
    smoother = Smoother(12)
    for weight in smoother.parameters():
        weight.add_(0.2 * normal(rng, *weight.shape))
    answer, evidence = 0.3 * normal(rng, *one.shape, 2), normal(rng, *one.shape, 13).abs()
    found = motion_steps.smoothed(smoother, answer, one, evidence)
    again = motion_kernels.smoothed(smoother, answer, other, evidence)
    assert_close(found, again, rtol=1e-4, atol=1e-5)
    assert (found - answer).norm(dim=-1).max() > 0.1


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_jpeg_left_out_is_told_alike(rng, height, width):
    squares = torch.rand(2, 9, 13, generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    frames = 0.4 + 0.05 * squares[:, None, 3 : 3 + height, 5 : 5 + width]
    one, other = (steps.describe(frames, 1)[0].noise for steps in (motion_steps, motion_kernels))
    assert_close(one, other, rtol=1e-2, atol=1e-6)
    assert one.mean() > 0.1


@pytest.mark.parametrize("count", [2, 3])
def test_several_threads_write_what_one_does(monkeypatch, rng, count):
    image = normal(rng, 1)
    shape = torch.Size([1, 24, 33])  # blocks enough for three threads
    candidates, trust, judge = far_and_near(rng, shape, 5), CellTrust(16), Judge()
    levels = [[level(rng, 1, 390, 530), level(rng, 1, 195, 265)] for _ in range(2)]
    frames = torch.rand(5, 1, 40, 50, generator=rng)

    def written():
        coarse, fine = motion_kernels.matchings(*levels, shape, 16)
        offered = motion_kernels.offer(candidates, 1)
        residual = fine.residual(offered.candidates, offered.fresh)
        logits = motion_kernels.judged(judge, offered, residual, fine, 1)
        refined = fine.refine(candidates, trust, 1, 2)[-1]
        described = motion_kernels.describe(frames, 2)[1]
        residual = residual[offered.fresh]
        return coarse.tensor, fine.tensor, residual, *logits, refined, *described

    alone = written()
    parts, submit = [], compiling._submit
    monkeypatch.setattr(compiling, "_submit", lambda *x: parts.append(x[0]) or submit(*x))
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threads_for(image):
            assert (threads_left(), torch.get_num_threads()) == (count, 1)
            with threads_for(image):  # as where a matcher asks before its network does
                assert threads_left() == count
            together = written()
        assert (threads_left(), torch.get_num_threads()) == (1, count)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, alone, together))
    names = {getattr(part, "function", part).__name__ for part in parts}
    divided = {"window_residuals", "weigh_candidates", "refine_windows"}
    assert names == divided | {"Matching", "_describe"}


def test_what_was_described_with_gradients_is_compared_without():
    frames = torch.rand(2, 1, 64, 96, requires_grad=True)
    net = MotionNet()
    with torch.enable_grad():
        described = net.describe(frames)
    motion = net.eval().compare(
        *([d.frames(part) for d in described] for part in (slice(1), slice(1, 2))), 32
    )
    assert not motion.displacement.requires_grad


def test_a_displacement_that_is_no_number_reads_no_strange_memory(matchings):
    _, other = matchings
    nowhere = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38]).view(1, 1, 1, 4, 1)
    assert other.residual(nowhere.expand(*other.shape, 4, 2)).shape == (*other.shape, 4, 16)


@pytest.mark.parametrize("learned", [True, False])
def test_the_whole_network_measures_the_same(rng, learned):
    net = load_motion_matcher(device="cpu").net if learned else MotionNet(learned=False)
    net.eval()
    scene = torch.nn.functional.interpolate(torch.rand(2, 1, 30, 40, generator=rng), (134, 197))
    frames = torch.stack([scene, scene.roll((2, -3), dims=(2, 3))], dim=2)
    compiled = net(frames)
    with torch.enable_grad():  # the steps that pass gradients
        wanted = net(frames)
    assert wanted.displacement.requires_grad == learned
    apart = (compiled.displacement - wanted.displacement).norm(dim=-1)
    assert (apart < 1e-3).float().mean() > 0.95  # among equally good ones rounding may choose
    assert_close(compiled.doubts.median(), wanted.doubts.median(), rtol=0, atol=0.05)


def test_kernels_serve_float32_on_the_cpu_without_gradients():
    tensor = torch.zeros(1)
    assert compiled_for(tensor)
    assert steps_for(tensor) is motion_kernels
    assert not compiled_for(tensor, tensor.double())
    assert not compiled_for(torch.zeros(1, device="meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not compiled_for(tensor)
    with torch.enable_grad():
        assert not compiled_for(tensor)
        assert steps_for(tensor) is motion_steps


def test_both_kinds_offer_the_same_steps():
    assert set(motion_steps.__all__) == set(motion_kernels.__all__)
