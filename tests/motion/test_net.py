import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from patchmatch import load_motion_matcher
from patchmatch.motion.coarse_to_fine import Scored
from patchmatch.motion.matching import median_displacement
from patchmatch.motion.net import MotionNet
from patchmatch.motion.scoring import NOISE_PENALTY

MARGIN = 40


@pytest.fixture(scope="module")
def baseline():
    torch.manual_seed(0)
    return MotionNet(learned=False).eval()


@pytest.fixture(scope="module")
def shipped():
    return load_motion_matcher(device="cpu").matcher.net


def textured(height, width, seed=0):
    """Noise with structure at every scale, in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for scale in (1.5, 3, 6, 12):
        noise = rng.standard_normal((height, width)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), scale)
        image += noise / noise.std()
    return (image - image.min()) / np.ptp(image)


def moved_pair(dx, dy, height=136, width=203, seed=0):
    """A frame and the same moved: (1, 1, 2, H, W)."""
    canvas = textured(height + 2 * MARGIN, width + 2 * MARGIN, seed)
    waves = np.fft.rfft2(np.pad(canvas, [(0, side) for side in canvas.shape], mode="symmetric"))
    down, right = (2 * np.fft.fftfreq(2 * side) * np.pi for side in canvas.shape)
    phase = dy * down[:, None] + dx * right[: waves.shape[1]]
    later = np.fft.irfft2(waves * np.exp(-1j * phase)).astype(np.float32)
    later = later[: canvas.shape[0], : canvas.shape[1]]
    frames = np.stack([canvas, later])[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return torch.from_numpy(frames)[None, None]


@torch.no_grad()
def errors(net, shift, block):
    displacement = net(moved_pair(*shift), block).displacement[0]
    return (displacement - torch.tensor(shift)).norm(dim=-1)


@pytest.mark.parametrize("block", [16, 32, 64])
@pytest.mark.parametrize("shift", [(3.0, -2.0), (0.5, 0.25), (20.0, -11.0)])
def test_baseline_measures_a_shift(baseline, shift, block):
    error = errors(baseline, shift, block)
    assert error.shape == (136 // block, 203 // block)
    assert error.median() < 0.06
    assert (error < 0.25).float().mean() > 0.95


@pytest.mark.parametrize("shift", [(0.3, -0.7), (2.5, 1.25), (-0.1, 0.05)])
def test_shipped_weights_measure_subpixel_shifts(shipped, shift):
    error = errors(shipped, shift, 32)
    assert error.median() < 0.1
    assert error.max() < 0.3


@pytest.mark.parametrize("name", ["baseline", "shipped"])
@pytest.mark.parametrize("shift", [(0.3, -0.7), (0.25, 0.25), (-0.1, 0.05)])
def test_subpixel_estimates_are_not_biased_to_half_pixels(name, shift, request):
    """Bilinear interpolation of frame 1 makes the error two to ten times as large."""
    assert errors(request.getfixturevalue(name), shift, 32).median() < 0.008


@pytest.mark.parametrize("name", ["baseline", "shipped"])
@pytest.mark.parametrize("shift", [(2.0, 1.0), (-3.0, 5.0)])
def test_integer_motion_is_exact(name, shift, request):
    """Contrast normalisation on a fixed grid of tiles would bias it."""
    assert errors(request.getfixturevalue(name), shift, 32).median() < 4e-3


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_untrained_network_agrees_with_the_baseline(noise):
    torch.manual_seed(1)
    untrained, baseline = MotionNet().eval(), MotionNet(learned=False).eval()
    baseline.scorer.noise_penalty = NOISE_PENALTY
    frames = moved_pair(7.0, 4.5)
    frames = frames + noise * torch.randn_like(frames)
    with torch.no_grad():
        one, other = untrained(frames).displacement, baseline(frames).displacement
    assert_close(one, other, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["baseline", "shipped"])
def test_result_of_a_pair_is_independent_of_the_batch(name, request):
    net = request.getfixturevalue(name)
    shifts = [(3.0, -2.0), (-9.5, 0.5), (0.0, 0.25)]
    pairs = [moved_pair(*shift, seed=i) for i, shift in enumerate(shifts)]
    with torch.no_grad():
        together = net(torch.cat(pairs))
        for i, pair in enumerate(pairs):
            single = net(pair)
            assert_close(together.displacement[i : i + 1], single.displacement, rtol=0, atol=2e-3)
            logits = together.confidence_logits[i : i + 1]
            assert_close(logits, single.confidence_logits, rtol=0, atol=2e-2)


def test_describe_and_compare_agree_with_forward(shipped):
    clip = torch.cat([moved_pair(2.0, -1.5), moved_pair(5.0, 0.0, seed=3)], dim=2)[0, 0, :3]
    with torch.no_grad():
        features = [shipped.extract_features(frame[None, None]) for frame in clip]
        for first, second in ((0, 1), (1, 2), (0, 2)):
            found = shipped.match(features[first], features[second])
            pair = torch.stack([clip[first], clip[second]])[None, None]
            whole = shipped(pair)
            assert torch.equal(found.displacement, whole.displacement)
            assert torch.equal(found.confidence_logits, whole.confidence_logits)


@pytest.mark.parametrize(("height", "width"), [(32, 47), (33, 64), (71, 99)])
def test_frame_sizes_need_not_be_multiples_of_the_block(shipped, height, width):
    with torch.no_grad():
        motion = shipped(moved_pair(1.0, -0.5, height, width))
    rows, columns = height // 32, width // 32
    assert motion.displacement.shape == (1, rows, columns, 2)
    assert motion.confidence_logits.shape == (1, rows, columns, 2)
    error = (motion.displacement - torch.tensor([1.0, -0.5])).norm(dim=-1)
    assert error.median() < 0.3


@pytest.mark.parametrize("name", ["baseline", "shipped"])
def test_constant_frames_are_still(name, request):
    net = request.getfixturevalue(name)
    flat = torch.full((2, 1, 2, 70, 101), 0.4)
    flat[1] = 0
    with torch.no_grad():
        motion = net(flat)
    # The baseline may prefer a candidate slightly apart from zero motion.
    atol = 1e-3 if name == "shipped" else 0.1
    assert_close(motion.displacement, torch.zeros(2, 2, 3, 2), rtol=0, atol=atol)
    assert torch.isfinite(motion.confidence_logits).all()


@pytest.mark.parametrize("name", ["baseline", "shipped"])
@pytest.mark.parametrize("sigma", [0.5, 0.7, 1, 2, 8])
@pytest.mark.parametrize("kind", ["flat", "ramp", "half sky"])
def test_noise_without_texture_is_still(name, sigma, kind, request):
    net = request.getfixturevalue(name)
    plain = np.full((320, 448), 120.0)
    if kind == "ramp":
        plain = plain + np.linspace(-90, 90, 448)
    if kind == "half sky":
        plain[160:] = 40 + 160 * textured(160, 448)
    rng = np.random.default_rng(7)
    seen = np.clip(np.rint(plain + rng.normal(0, sigma, (2, *plain.shape))), 0, 255)
    with torch.no_grad():
        motion = net(torch.from_numpy(seen.astype(np.float32) / 255)[None, None])
    length = motion.displacement.norm(dim=-1)
    assert (length > 0.5).float().mean() < 0.01
    if name == "shipped":
        assert (motion.confidence_logits.sigmoid() > 0.5).float().mean() > 0.95


def test_identical_frames_are_still(shipped):
    frame = moved_pair(0.0, 0.0)
    with torch.no_grad():
        motion = shipped(frame)
    assert motion.displacement.abs().max() < 0.01
    assert (motion.confidence_logits.sigmoid() > 0.5).all()


def test_unrelated_frames_have_low_confidence(shipped):
    one, other = moved_pair(0.0, 0.0, seed=5), moved_pair(0.0, 0.0, seed=6)
    with torch.no_grad():
        motion = shipped(torch.stack([one[:, :, 0], other[:, :, 0]], dim=2))
    right = motion.confidence_logits[..., 0].sigmoid()
    assert (right < 0.5).float().mean() > 0.8


@pytest.mark.parametrize(("one", "other"), [("camera", "moon"), ("grass", "gravel")])
def test_blocks_are_unmatched_after_a_cut_to_another_scene(shipped, one, other):
    data = pytest.importorskip("skimage.data", reason="photographs are the scenes")
    pictures = [getattr(data, name)()[:512, :512] for name in (one, other)]
    frames = torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)
    with torch.no_grad():
        cut = shipped(frames[None, None]).confidence_logits[..., 1].sigmoid()
        still = frames[:1].expand(2, -1, -1)
        same = shipped(still[None, None]).confidence_logits[..., 1].sigmoid()
    assert (cut > 0.5).float().mean() < 0.4
    assert (same > 0.5).float().mean() > 0.99


def test_a_second_object_keeps_its_own_motion(shipped):
    ground, object_ = moved_pair(2.0, 0.0, 160, 224), textured(64, 96, seed=8)
    ground[0, 0, 0, 32:96, 64:160] = torch.from_numpy(object_)
    ground[0, 0, 1, 26:90, 69:165] = torch.from_numpy(object_)
    with torch.no_grad():
        found = shipped(ground).displacement[0]
    assert_close(found[1:3, 2:5], torch.tensor([5.0, -6]).expand(2, 3, 2), rtol=0, atol=0.5)
    assert_close(found[4], torch.tensor([2.0, 0]).expand(7, 2), rtol=0, atol=0.3)


def test_gain_and_offset_hardly_change_the_displacement(shipped):
    frames = moved_pair(4.0, 1.5)
    dimmed = frames * torch.tensor([1.0, 0.6]).view(2, 1, 1) + torch.tensor([0, 0.2]).view(2, 1, 1)
    with torch.no_grad():
        assert_close(shipped(dimmed).displacement, shipped(frames).displacement, rtol=0, atol=0.05)


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    net = MotionNet()
    layers = [net.scorer.unary, net.scorer.pairwise]
    layers += [part.layers for part in (net.robust_weights, net.voting, net.regulariser)]
    for last in (part[-1] for part in layers):
        torch.nn.init.normal_(last.weight, std=0.1)  # zero weights block gradients
    frames = moved_pair(3.5, 0.5, 71, 99)
    frames[..., 40:] = moved_pair(-2.5, 0.5, 71, 59)  # subwindows have two motions to vote on
    motion = net(frames, trace=True)
    total = motion.displacement.square().sum() + motion.confidence_logits.square().sum()
    for step in motion.trace:
        if isinstance(step, Scored):
            total = total + sum(logits.square().sum() for logits in step.logits)
        else:
            total = total + step.displacement.square().sum()
    total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("block", [8, 20, 33])
def test_block_that_is_not_a_multiple_of_8_raises(baseline, block):
    with pytest.raises(ValueError, match=f"multiple of 8 and at least 16 pixels, got {block}"):
        baseline(torch.zeros(2, 1, 2, 64, 72), block)


def test_frame_smaller_than_a_block_raises(baseline):
    with pytest.raises(ValueError, match="at least as large as one block of 64x64 pixels"):
        baseline(torch.zeros(2, 1, 2, 72, 63), 64)


def test_limiting_the_candidates_hardly_changes_the_displacement(shipped):
    frames = moved_pair(6.25, -3.5)
    with torch.no_grad():
        few = shipped(frames).displacement
        every = shipped.train()(frames).displacement
    shipped.eval()
    assert_close(few, every, rtol=0, atol=0.1)


def test_settle_returns_the_most_probable_candidate():
    candidates = torch.tensor([[3.0, 1], [3.2, 1.1], [-8, 4]]).expand(2, 1, 1, 3, 2)
    logits = torch.tensor([[2.0, 1.5, -3], [2, 1.5, 0]]).view(2, 1, 1, 3)
    best = torch.tensor([3.07, 1.02]).expand(2, 1, 1, 1, 2)
    found = median_displacement(candidates, logits, best)
    assert_close(found, best[..., 0, :], rtol=0, atol=0.05)
