import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from torch.testing import assert_close
from torch.utils.data import DataLoader, default_collate

from patchmatch import load_motion_matcher
from patchmatch.core.errors import InputError
from patchmatch.frames.results import Kind
from patchmatch.motion import compiled, net
from patchmatch.motion.coarse_to_fine import Motion, Scored, default_radius
from patchmatch.motion.data import MovingScenes
from patchmatch.motion.loss import motion_loss
from patchmatch.motion.matcher import METRICS, MotionMatcher
from patchmatch.motion.net import MotionNet


@pytest.fixture(scope="module")
def loaded():
    return load_motion_matcher(device="cpu")


@pytest.fixture(scope="module")
def shipped(loaded):
    return loaded.matcher


def textured(height, width, seed=0):
    """Noise with structure at every scale, in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for scale in (1.5, 3, 6, 12):
        noise = rng.standard_normal((height, width)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), scale)
        image += noise / noise.std()
    return torch.from_numpy((image - image.min()) / np.ptp(image))


def panning_frames(*shifts, height=136, width=203):
    """Return frames of one image at shifted positions, as of a camera that pans."""
    canvas = textured(height + 80, width + 80)
    return [canvas[40 - y : 40 - y + height, 40 - x : 40 - x + width] for x, y in shifts]


def clip_of(*frames, pairs=None):
    return {
        "index": 0,
        "source": "walk",
        "several": False,
        "frames": torch.stack(frames)[:, None],
        "images": [],
        "names": [f"frame_{i}" for i in range(len(frames))],
        "times": [0.5 * i for i in range(len(frames))],
        "pairs": pairs or [(i, i + 1) for i in range(len(frames) - 1)],
        "notes": [],
    }


def drawn_digits(count=40):
    """Draw digits with OpenCV: reading MNIST takes seconds."""
    images = np.zeros((count, 28, 28), np.uint8)
    for i, image in enumerate(images):
        cv2.putText(image, str(i % 10), (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    return images


def scenes(count=4, side=64):
    textures = [textured(150, 170, seed=i).numpy() for i in range(4)]
    return MovingScenes(textures, drawn_digits(), count, 5, side, upright=True)


def batch_of(dataset):
    return default_collate([dataset[i] for i in range(len(dataset))])


def quiet_trainer(**options):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_training_overfits_four_scenes():
    torch.manual_seed(0)
    dataset = scenes()
    batch = batch_of(dataset)
    matcher = MotionMatcher(lr=1e-2)

    @torch.no_grad()
    def loss():
        motion = matcher.net(batch["frames"], trace=True)
        return motion_loss(motion, batch["displacement"], batch["visible"]).item()

    before = loss()
    trainer = quiet_trainer(max_epochs=12, enable_checkpointing=False)
    trainer.fit(matcher, DataLoader(dataset, batch_size=4))
    assert loss() < before


def validation_metrics(matcher, batch, monkeypatch):
    """Return what a validation step with the batch adds to the metrics."""
    monkeypatch.setattr(matcher, "log", lambda *_, **__: None)
    for name in METRICS:
        matcher.metrics[f"val_{name}"].reset()
    with torch.inference_mode():
        matcher.validation_step(batch, 0)
    return {name: matcher.metrics[f"val_{name}"].compute() for name in METRICS}


def test_validation_metrics_are_the_same_with_and_without_compiled_loops(monkeypatch):
    matcher, batch = load_motion_matcher(device="cpu").matcher, batch_of(scenes(6, side=192))
    calls, search = [], compiled.search
    monkeypatch.setattr(compiled, "search", lambda *x: calls.append(x) or search(*x))
    with_loops = validation_metrics(matcher, batch, monkeypatch)
    assert len(calls) == 6  # one for each pair
    monkeypatch.setattr(net, "compiled_for", lambda *_: False)
    without = validation_metrics(matcher, batch, monkeypatch)
    assert len(calls) == 6
    assert_close(with_loops["loss"], without["loss"], rtol=1e-3, atol=0)
    assert_close(with_loops["epe"], without["epe"], rtol=0.02, atol=0)
    assert_close(with_loops["within_half"], without["within_half"], rtol=0, atol=0.01)


def test_validation_loss_is_the_training_loss_in_eval_mode(monkeypatch):
    matcher, batch = load_motion_matcher(device="cpu").matcher, batch_of(scenes(6, side=192))
    assert not matcher.training
    validated = validation_metrics(matcher, batch, monkeypatch)["loss"]
    trained = matcher.training_step(batch, 0)
    assert trained.requires_grad
    assert_close(validated, trained.detach(), rtol=1e-3, atol=0)


@torch.no_grad()
def test_loss_of_a_motion_without_trace_raises(shipped):
    motion = shipped(torch.zeros(1, 1, 2, 64, 96))
    with pytest.raises(ValueError, match=r"motion has no trace .* with trace=True"):
        motion_loss(motion, torch.zeros(1, 2, 3, 2), torch.ones(1, 2, 3))


@torch.no_grad()
def test_training_on_digits_beats_the_baseline_on_photographs(shipped):
    data = pytest.importorskip("skimage.data", reason="photographs are the textures")
    images = [data.camera(), data.brick(), data.moon()] + [
        cv2.cvtColor(p(), cv2.COLOR_RGB2GRAY) for p in (data.astronaut, data.coffee, data.chelsea)
    ]
    textures = [p.astype(np.float32) / 255 for p in images]
    # A few outliers dominate the mean error; over a dozen scenes it would be random.
    batch = batch_of(MovingScenes(textures, drawn_digits(), 48, 3, 320, upright=True))
    visible = batch["visible"] > 0.6
    learned, baseline = (
        (network(batch["frames"]).displacement - batch["displacement"]).norm(dim=-1)[visible].mean()
        for network in (shipped.net, MotionNet(learned=False).eval())
    )
    assert learned < 0.9 * baseline
    assert learned < 1.0


def test_pairs_with_gaps_are_predicted_in_order(shipped):
    frames = panning_frames((0, 0), (3, -2), (9, 0), (9, 20))
    changes = shipped.predict_step(clip_of(*frames, pairs=[(0, 1), (0, 2), (2, 3)]), 0)
    assert [(c.frame0, c.frame1) for c in changes] == [
        ("frame_0", "frame_1"),
        ("frame_0", "frame_2"),
        ("frame_2", "frame_3"),
    ]
    assert [(c.time0, c.time1) for c in changes] == [(0.0, 0.5), (0.0, 1.0), (1.0, 1.5)]
    for found, shift in zip(changes, [(3.0, -2.0), (9.0, 0.0), (0.0, 20.0)], strict=True):
        assert found.source == "walk"
        assert found.camera is None
        assert found.boxes.shape == (5 * 7, 4)
        assert found.boxes[8].tolist() == [32, 32, 64, 64]
        assert found.boxes[-1].tolist() == [203 - 32, 136 - 32, 203, 136]
        middle = found.displacement.nanmedian(dim=0).values  # NaN: moved out of the frame
        assert_close(middle, torch.tensor(shift), rtol=0, atol=0.1)
        inside = found.kind.view(5, 7)[1:3, 1:5]
        assert (inside == Kind.LARGER).all()


def test_predict_step_agrees_with_measure_motion(loaded, shipped):
    frames = panning_frames((0, 0), (1, -3))
    (changes,) = shipped.predict_step(clip_of(*frames), 0)
    measured = loaded.measure_motion(*frames)
    # the blocks at the border are neighbours of others, which follow them a little
    found = changes.displacement.view(5, 7, 2)[:4, :6]
    assert_close(found, measured, rtol=0, atol=0.05)
    assert_close(found[:3, :5], measured[:3, :5], rtol=0, atol=1e-2)


def test_predict_step_agrees_with_measure_motion_if_whole_blocks_cover_the_frame(loaded, shipped):
    frames = panning_frames((0, 0), (1, -3), height=128, width=192)
    (changes,) = shipped.predict_step(clip_of(*frames), 0)
    measured = loaded.measure_motion(*frames)
    assert_close(changes.displacement.view(4, 6, 2), measured, rtol=0, atol=1e-3)


def test_identical_frames_are_still(shipped):
    scene = textured(136, 203)
    (changes,) = shipped.predict_step(clip_of(scene, scene), 0)
    assert (changes.kind == Kind.STILL).all()
    assert changes.matched.all()
    assert changes.score.max() < 0.3
    assert 0 <= changes.confidence.min() <= changes.confidence.max() <= 1


def test_camera_motion_is_subtracted_so_that_only_the_square_has_moved(shipped):
    first, second = panning_frames((0, 0), (-6, 3), height=224, width=288)
    square = textured(64, 64, seed=9)
    first, second = first.clone(), second.clone()
    first[64:128, 96:160] = square
    second[72:136, 100:164] = square
    panned = load_motion_matcher(camera=True, device="cpu").matcher
    (own,) = panned.predict_step(clip_of(first, second), 0)
    (both,) = shipped.predict_step(clip_of(first, second), 0)
    assert (both.kind == Kind.LARGER).float().mean() > 0.8
    kind = own.kind.view(7, 9)
    assert (kind[2:4, 3:5] == Kind.LARGER).all()
    # Blocks away from the square and from the borders that leave the frame.
    background = torch.ones(7, 9, dtype=torch.bool)
    background[1:5, 2:6] = False
    background[:, 0] = background[-1] = False
    assert (kind[background] == Kind.STILL).all()
    assert own.camera is not None
    assert_close(own.camera, torch.tensor([-6.0, 3]).expand(63, 2), rtol=0, atol=0.3)
    assert_close(own.total_displacement, both.displacement, equal_nan=True)
    assert (own.displacement[own.kind == Kind.STILL].norm(dim=1) < 0.5).all()


def motion_of(displacement, correct, visible):
    logits = torch.tensor([correct, visible]).logit().T  # (N, 2)
    return Motion(
        displacement=torch.tensor(displacement)[None, None], confidence_logits=logits[None, None]
    )


def test_unmatched_blocks_are_of_kind_larger_whatever_their_displacement():
    boxes = torch.tensor([[0, 0, 16, 16], [16, 0, 32, 16], [32, 0, 48, 16], [48, 0, 64, 16]])
    motion = motion_of(
        [[0.1, 0.0], [0.0, 0.1], [-0.6, 0.8], [3.0, 4.0]], [0.9, 0.2, 0.8, 0.7], [0.9, 0.3, 1, 0.5]
    )
    found = MotionMatcher(block=16)._block_changes(motion, boxes)
    assert found["kind"].tolist() == [Kind.STILL, Kind.LARGER, Kind.ONE_PIXEL, Kind.LARGER]
    assert found["matched"].tolist()[:3] == [True, False, True]
    length = torch.tensor([0.29, 1.43, 1.0, 3.5])  # visible * length + (1 - visible) * 2
    assert_close(found["score"], length / (length + 1 + 1.0))  # the median length is 1
    assert_close(found["confidence"], torch.tensor([0.9, 0.2, 0.8, 0.7]))
    assert found["camera"] is None
    found = MotionMatcher(block=16, min_matched=0)._block_changes(motion, boxes)
    assert found["matched"].all()
    assert found["kind"][1] == Kind.STILL


def test_empty_clip_has_no_changes(shipped):
    clip = clip_of(torch.zeros(0, 0)) | {"pairs": [], "names": []}
    assert shipped.predict_step(clip, 0) == []


def test_frames_smaller_than_a_block_are_skipped_with_a_note(shipped):
    frame = textured(31, 90)
    clip = clip_of(frame, frame) | {"notes": []}
    assert shipped.predict_step(clip, 0) == []
    (note,) = clip["notes"]
    assert note.startswith("walk: frames of 90x31 pixels are smaller than a block of 32x32")
    assert clip["pairs"] == []


def test_all_image_formats_give_the_same_motion(loaded):
    levels = [(255 * f).round().to(torch.uint8) for f in panning_frames((0, 0), (4, -1))]
    expected = loaded.measure_motion(*levels)
    assert expected.shape == (4, 6, 2)
    assert_close(
        expected.flatten(0, 1).median(dim=0).values, torch.tensor([4.0, -1]), rtol=0, atol=0.1
    )
    forms = {
        "numpy bytes": [f.numpy() for f in levels],
        "floats": [f / 255 for f in levels],
        "doubles": [f.double().numpy() / 255 for f in levels],
        "numpy words": [f.numpy().astype(np.uint16) * 257 for f in levels],
        "RGB": [np.repeat(f.numpy()[..., None], 3, axis=2) for f in levels],
        "CHW": [f.expand(3, -1, -1) for f in levels],
        "one channel": [f[None] / 255 for f in levels],
        "batch of one": [f[None, None].expand(1, 3, -1, -1) for f in levels],
        "two forms": [levels[0].numpy(), levels[1] / 255],
    }
    for name, frames in forms.items():
        found = loaded.measure_motion(*frames)
        assert_close(found, expected, rtol=0, atol=0.01, msg=name)


def test_convention_colours_are_red_green_blue(loaded):
    """Only red and blue change, so that the motion depends on their weights in the luma."""
    frames = panning_frames((0, 0), (4, -1))
    red, blue = panning_frames((0, 0), (-3, 2))[1], frames[1]
    colors = [torch.stack([f, f, f], dim=-1) for f in frames]
    colors[1] = torch.stack([red, frames[1], blue], dim=-1)
    gray = [0.299 * c[..., 0] + 0.587 * c[..., 1] + 0.114 * c[..., 2] for c in colors]
    assert_close(loaded.measure_motion(*colors), loaded.measure_motion(*gray), rtol=0, atol=1e-3)
    swapped = [c.flip(-1) for c in colors]
    assert (loaded.measure_motion(*swapped) - loaded.measure_motion(*gray)).abs().max() > 0.01


@pytest.mark.parametrize("block", [16, 32, 64])
def test_block_sizes_16_32_and_64_are_measured(loaded, block):
    found = loaded.measure_motion(*panning_frames((0, 0), (-5, 2)), block)
    assert found.shape == (136 // block, 203 // block, 2)
    middle = found.flatten(0, 1).median(dim=0).values
    assert_close(middle, torch.tensor([-5.0, 2]), rtol=0, atol=0.1)


def test_default_radius_is_a_quarter_of_the_width_within_bounds():
    assert [default_radius(width) for width in (64, 192, 200, 640, 3840)] == [6, 6, 7, 20, 20]


def test_motion_of_a_quarter_of_the_width_is_found_by_default(loaded):
    canvas = textured(200, 420)
    frames = [canvas[20:180, :320], canvas[10:170, 72:392]]
    found = loaded.measure_motion(*frames)[1:-1, 3:-1]  # blocks whose target is inside
    assert_close(found, torch.tensor([-72.0, 10]).expand_as(found), rtol=0, atol=0.2)
    near = load_motion_matcher(radius=6, device="cpu").measure_motion(*frames)[1:-1, 3:-1]
    assert (near - found).norm(dim=-1).median() > 20


def test_measure_motion_keeps_frames_and_training_mode():
    frames = panning_frames((0, 0), (1, 0))
    kept = [f.clone() for f in frames]
    matcher = MotionMatcher().train()
    assert not matcher.measure_motion(*(f[None, None] for f in frames)).requires_grad
    assert matcher.training
    assert all(torch.equal(a, b) for a, b in zip(frames, kept, strict=True))


PLAIN = torch.zeros(40, 72)
BLUE = torch.stack([0 * PLAIN, 0 * PLAIN, 1 + 0 * PLAIN])


@pytest.mark.parametrize(
    ("frame0", "frame1", "message"),
    [
        (PLAIN, torch.zeros(72, 40), "must have the same size, got 72x40 and 40x72"),
        (PLAIN, torch.full((40, 72), math.nan), "frame1 contains NaN or infinite values"),
        (torch.full((40, 72), math.inf), PLAIN, "frame0 contains NaN or infinite values"),
        (
            255 + PLAIN,
            PLAIN,
            "frame0 must be float in .* from 255 to 255; divide gray levels by 255",
        ),
        (3 * BLUE, PLAIN, "frame0 must be float in .* from 0 to 3; divide gray levels by 255"),
        (PLAIN, PLAIN - 3, "frame1 must be float in .* or uint16, got values from -3 to -3"),
        (np.zeros((40, 72, 5)), PLAIN, r"frame0 must be .* got \(40, 72, 5\)"),
        (torch.zeros(2, 1, 40, 72), PLAIN, r"frame0 must be .* got \(2, 1, 40, 72\)"),
        (torch.zeros(5), PLAIN, r"frame0 must be .* got \(5,\)"),
        (PLAIN[:20], PLAIN[:20], "at least as large as one block of 32x32 pixels, got 20x72"),
        (
            torch.zeros(0, 0),
            torch.zeros(0, 0),
            r"frame0 must be .* at least one pixel, got \(0, 0\)",
        ),
    ],
)
def test_invalid_frames_raise(loaded, frame0, frame1, message):
    with pytest.raises(ValueError, match=message):
        loaded.measure_motion(frame0, frame1)


@pytest.mark.parametrize("block", [8, 17, 36])
def test_block_that_is_not_a_multiple_of_8_raises(loaded, block):
    with pytest.raises(ValueError, match=f"multiple of 8 and at least 16 pixels, got {block}"):
        loaded.measure_motion(PLAIN, PLAIN, block)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 8}, "block must be a multiple of 8 and at least 16 pixels, got 8"),
        ({"block": 20}, "block must be a multiple of 8 and at least 16 pixels, got 20"),
        ({"block": 32.0}, "block must be a multiple of 8 and at least 16 pixels, got 32.0"),
        ({"radius": 0}, "radius must be an integer from 1 to 64, got 0"),
        ({"radius": 65}, "radius must be an integer from 1 to 64, got 65"),
        ({"radius": 2.5}, "radius must be an integer from 1 to 64, got 2.5"),
        ({"min_matched": 1.5}, "min_matched must be between 0 and 1, got 1.5"),
    ],
)
def test_invalid_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        MotionMatcher(**options)


def test_checkpoint_opens_with_weights_only_and_restores_the_weights(tmp_path):
    trainer = quiet_trainer(max_steps=1, default_root_dir=tmp_path)
    trainer.fit(MotionMatcher(hidden=8, block=64), DataLoader(scenes(), batch_size=2))
    (path,) = tmp_path.rglob("*.ckpt")
    hyper_parameters = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hyper_parameters["_class_path"] == "patchmatch.motion.matcher.MotionMatcher"
    assert hyper_parameters["hidden"] == 8
    assert not {"block", "radius", "camera", "min_matched"} & set(hyper_parameters)
    is_duplicate = load_motion_matcher(path, block=16, device="cpu")
    assert is_duplicate.matcher.block == 16
    trained = trainer.model.state_dict()
    assert all(torch.equal(v, trained[k]) for k, v in is_duplicate.matcher.state_dict().items())
    same = MotionMatcher.load_from_checkpoint(path, map_location="cpu")
    frames = panning_frames((0, 0), (2, 1))
    found = same.measure_motion(*(f[None, None] for f in frames))
    assert torch.equal(found, is_duplicate.measure_motion(*frames))


def test_predict_config_exists_and_uses_the_matcher():
    named = Path(__file__).parents[2] / "configs" / MotionMatcher.predict_config
    assert "class_path: MotionMatcher" in named.read_text(encoding="utf-8")


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_not_float32_raise(precision):
    matcher = load_motion_matcher(device="cpu").matcher.to(precision)
    frames = panning_frames((0, 0), (2, 1))
    message = rf"weights must be float32 .* got {precision}; give --trainer.precision 32-true"
    with pytest.raises(InputError, match=message):
        matcher.measure_motion(*(f[None, None] for f in frames))
    with pytest.raises(InputError, match=message):
        matcher.predict_step(clip_of(*frames), 0)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_mixed_precision_measures_the_same_motion(loaded, precision):
    frames = panning_frames((0, 0), (20, -12))
    expected = loaded.measure_motion(*frames)
    with torch.autocast("cpu", precision):
        found = loaded.measure_motion(*frames)
    assert_close(found, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("brightness", [0.0, 0.5, 1.0])
def test_constant_frames_have_finite_gradients(brightness):
    network = MotionNet()
    motion = network(torch.full((2, 1, 2, 64, 96), brightness), trace=True)
    assert any(not step.proposals.unique.all() for step in motion.trace if isinstance(step, Scored))
    motion_loss(motion, torch.ones(2, 2, 3, 2), torch.ones(2, 2, 3)).backward()
    for weight in network.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()


@torch.no_grad()
def test_prediction_measures_every_pixel_only_if_asked(shipped):
    frames = panning_frames((0, 0), (5, -3))
    (blocks,) = shipped.predict_step(clip_of(*frames), 0)
    assert blocks.flow is None
    shipped.dense = True
    try:
        (found,) = shipped.predict_step(clip_of(*frames), 0)
    finally:
        shipped.dense = False
    assert_close(found.displacement, blocks.displacement, equal_nan=True)
    measured = shipped.measure_flow(*(frame[None, None] for frame in frames))
    known = found.flow.isfinite().all(dim=0)
    assert torch.equal(known, measured.confidence >= shipped.min_matched)
    assert torch.equal(found.flow[:, known], measured.flow[:, known])
    assert known.float().mean() > 0.85
    assert (found.flow[:, known] - torch.tensor([[5.0], [-3.0]])).norm(dim=0).mean() < 0.1
