import math

import cv2
import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from torch.testing import assert_close
from torch.utils.data import DataLoader

from patchmatch import load_shift_matcher
from patchmatch.frames.results import Kind
from patchmatch.shift.data import ShiftedDigits
from patchmatch.shift.matcher import ShiftMatcher, decide
from patchmatch.shift.ops import SHIFTS, STILL
from patchmatch.shift.pairs import ShiftedPairs


@pytest.fixture(scope="module")
def shipped():
    return load_shift_matcher(device="cpu")


def textured(height, width, seed=0):
    """Return smooth multiscale noise in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width))
    for size in (4, 8, 16, 32):
        rows, columns = -(-height // size) + 1, -(-width // size) + 1
        coarse = torch.from_numpy(rng.random((1, 1, rows, columns)))
        image += torch.nn.functional.interpolate(coarse, scale_factor=size, mode="bicubic")[
            0, 0, :height, :width
        ].numpy()
    return torch.from_numpy((image - image.min()) / np.ptp(image)).float()


def clip_of(*frames):
    return {
        "index": 0,
        "source": "synthetic",
        "several": False,
        "frames": [frame[None] for frame in frames],
        "images": [],
        "names": [f"frame_{i}" for i in range(len(frames))],
        "times": [None] * len(frames),
        "pairs": [(i, i + 1) for i in range(len(frames) - 1)],
        "notes": [],
    }


def test_overfits_four_pairs():
    torch.manual_seed(0)
    images = [textured(80, 90).numpy()]
    pairs = ShiftedPairs(images, 4, seed=1, augment=False, larger_share=0)
    matcher = ShiftMatcher(lr=1e-2)
    trainer = Trainer(
        max_epochs=20,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(matcher, DataLoader(pairs, batch_size=4))
    batch = next(iter(DataLoader(pairs, batch_size=4)))
    found = matcher.match_patches(batch["frames"][:, :, 0], batch["frames"][:, :, 1])
    assert torch.equal(found.displacement, batch["displacement"])


@pytest.mark.parametrize("index", range(9))
def test_each_shift_of_texture_is_found_with_high_score(shipped, index):
    dx, dy = SHIFTS[index]
    image = textured(40, 200)
    starts = range(2, 170, 30)
    patches0 = torch.stack([image[None, 7:33, x : x + 26] for x in starts])
    patches1 = torch.stack([image[None, 7 - dy : 33 - dy, x - dx : x - dx + 26] for x in starts])
    found = shipped.match_patches(patches0, patches1)
    assert found.displacement.tolist() == [[dx, dy]] * len(starts)
    expected = Kind.STILL if index == STILL else Kind.ONE_PIXEL
    assert found.kind.tolist() == [expected] * len(starts)
    assert found.score.min() > 0.9


def test_unrelated_patches_are_of_kind_larger(shipped):
    one, other = textured(60, 300, seed=1), textured(60, 300, seed=2)
    patches0, patches1 = (
        torch.stack([image[None, 10:36, x : x + 26] for x in range(0, 270, 30)])
        for image in (one, other)
    )
    assert (shipped.match_patches(patches0, patches1).kind == Kind.LARGER).all()


def test_numpy_uint8_gives_the_same_result_as_float(shipped):
    levels = (255 * textured(30, 30)).round().to(torch.uint8)
    patches0, patches1 = levels[None, None, 2:28, 2:28], levels[None, None, 2:28, 1:27]
    from_uint8 = shipped.match_patches(patches0.numpy(), patches1.numpy())
    from_float = shipped.match_patches(patches0 / 255, patches1 / 255)
    assert_close(from_uint8.score, from_float.score)
    assert from_uint8.displacement.tolist() == [[1, 0]]


def test_no_patches_give_an_empty_result(shipped):
    found = shipped.match_patches(torch.zeros(0, 1, 26, 26), torch.zeros(0, 1, 26, 26))
    assert len(found) == 0
    assert found.displacement.shape == (0, 2)


@pytest.mark.parametrize(
    ("patches0", "patches1", "message"),
    [
        (torch.zeros(2, 26, 26), torch.zeros(2, 26, 26), "must be square and gray"),
        (torch.zeros(2, 1, 26, 20), torch.zeros(2, 1, 26, 20), "must be square and gray"),
        (torch.zeros(2, 1, 6, 6), torch.zeros(2, 1, 6, 6), "at least 8 pixels wide, got 6"),
        (torch.zeros(2, 1, 26, 26), torch.zeros(3, 1, 26, 26), "must have the same shape"),
        (torch.full((1, 1, 26, 26), math.nan), torch.zeros(1, 1, 26, 26), "patches0 contains NaN"),
        (torch.zeros(1, 1, 26, 26), torch.full((1, 1, 26, 26), 255.0), "divide gray levels by 255"),
    ],
)
def test_wrong_patches_raise(shipped, patches0, patches1, message):
    with pytest.raises(ValueError, match=message):
        shipped.match_patches(patches0, patches1)


def test_a_still_scene_has_no_changes_with_any_texture_and_noise(shipped):
    scene = textured(120, 150)
    generator = torch.Generator().manual_seed(0)
    flat = torch.full_like(scene, 0.4)
    for image in (scene, flat, 0.05 * scene + 0.2):
        noisy = [image + 0.01 * torch.randn(image.shape, generator=generator) for _ in range(3)]
        for changes in (
            *shipped.matcher.predict_step(clip_of(image, image), 0),
            *shipped.matcher.predict_step(clip_of(*noisy), 0),
        ):
            assert (changes.kind == Kind.STILL).all()
            assert len(changes.top(20)) == 0


def test_only_the_blocks_of_a_moved_object_move(shipped):
    scene, object_ = textured(130, 156, seed=3), textured(52, 52, seed=4)
    frames = []
    for x in (52, 53):
        frame = scene.clone()
        frame[39:91, x : x + 52] = object_
        frames.append(frame)
    (changes,) = shipped.matcher.predict_step(clip_of(*frames), 0)
    x0, y0, x1, y1 = changes.boxes.T
    inside = (x0 >= 53) & (x1 <= 104) & (y0 >= 39) & (y1 <= 91)
    outside = (x1 <= 50) | (x0 >= 107) | (y1 <= 37) | (y0 >= 93)
    assert inside.any()
    assert (changes.kind[inside] == Kind.ONE_PIXEL).all()
    assert changes.displacement[inside].unique(dim=0).tolist() == [[1, 0]]
    assert (changes.kind[outside] == Kind.STILL).all()


def moving_square(step, height=156, width=182):
    """Return two frames of a textured square that moves to the right in a still scene."""
    scene, square = textured(height, width, seed=3), textured(52, 52, seed=4)
    frames = []
    for x in (52, 52 + step):
        frame = scene.clone()
        frame[39:91, x : x + 52] = square
        frames.append(frame)
    return frames


def test_scores_rise_from_still_to_one_pixel_to_larger(shipped):
    scores = []
    for step in (0, 1, 5):
        (changes,) = shipped.matcher.predict_step(clip_of(*moving_square(step)), 0)
        x0, y0, x1, y1 = changes.boxes.T
        inside = (x0 >= 53) & (x1 <= 104) & (y0 >= 39) & (y1 <= 91)
        scores.append(changes.score[inside].median().item())
    assert scores[0] < 0.02
    assert 0.45 < scores[1] < 0.75
    assert scores[1] < scores[2] < 0.9


def test_scores_of_a_moving_scene_differ(shipped):
    scene = textured(156, 182, seed=5)
    (changes,) = shipped.matcher.predict_step(clip_of(scene[4:, 4:], scene[:-4, :-4]), 0)
    assert (changes.kind == Kind.LARGER).float().mean() > 0.8
    assert len(changes.score.unique()) > 0.9 * len(changes)
    assert changes.score.max() < 0.8


@pytest.mark.parametrize("level", [0, 16, 255])
@pytest.mark.parametrize("noise", [1, 2, 4])
def test_bars_of_one_constant_level_do_not_move(shipped, level, noise):
    rng = np.random.default_rng(level)
    frames = []
    for _ in range(2):
        wall = np.clip(np.round(120 + rng.normal(0, noise, (260, 390))), 0, 255)
        wall[:40], wall[-40:] = level, level
        frames.append(torch.from_numpy(wall / 255).float())
    (changes,) = shipped.matcher.predict_step(clip_of(*frames), 0)
    changed = changes.top(20)
    assert len(changed) <= 1  # of 551
    assert (changed.confidence < 0.8).all()  # not drawn by the configurations


@pytest.mark.parametrize("blur", [0, 1.5])
@pytest.mark.parametrize("texture", [0.0, 0.05, 0.8])
def test_noise_of_any_spectrum_is_no_change(shipped, blur, texture):
    rng = np.random.default_rng(0)
    scene = 0.1 + texture * textured(156, 182, seed=6).numpy()
    frames = []
    for _ in range(9):
        noise = rng.normal(0, 4 / 255, scene.shape)
        if blur:
            noise = cv2.GaussianBlur(noise, (0, 0), blur) * 4
        levels = np.clip(np.round(255 * (scene + noise)), 0, 255)
        frames.append(torch.from_numpy(levels / 255).float())
    pairs = shipped.matcher.predict_step(clip_of(*frames), 0)
    assert sum((changes.kind != Kind.STILL).sum() for changes in pairs) <= 2  # of 1,056


def test_pairs_need_not_be_consecutive(shipped):
    frames = [textured(40, 40, seed=i) for i in range(4)]
    clip = clip_of(*frames)
    clip["pairs"] = [(0, 1), (2, 3)]
    changes = shipped.matcher.predict_step(clip, 0)
    assert [(c.frame0, c.frame1) for c in changes] == [
        ("frame_0", "frame_1"),
        ("frame_2", "frame_3"),
    ]


@pytest.mark.parametrize("net", ["energy", "correlation"])
def test_all_pairs_of_a_clip_at_once_give_the_scores_of_each(net, device, monkeypatch):
    torch.manual_seed(0)
    matcher = ShiftMatcher(net=net).eval().to(device)
    monkeypatch.setattr("patchmatch.shift.matcher.MAX_PIXELS", 2 * 40 * 53)  # two pairs at once
    frames = [textured(40, 53, seed=i)[None].to(device) for i in range(3)]
    pairs = [(0, 1), (1, 2), (0, 2)]
    with torch.inference_mode():
        one_by_one = list(matcher.match_frames(frames, pairs, at_once=False))
        at_once = list(matcher.match_frames(frames, pairs, at_once=True))
    for one, other in zip(one_by_one, at_once, strict=True):
        for part, same in zip(one, other, strict=True):
            assert_close(part, same, rtol=1e-3, atol=1e-4)


def test_an_empty_clip_gives_no_changes(shipped):
    clip = clip_of(torch.zeros(0, 0)) | {"pairs": [], "names": []}
    assert shipped.matcher.predict_step(clip, 0) == []


def test_decide_returns_the_kind_of_the_likeliest_class():
    probability = torch.zeros(3, 10)
    probability[0, [STILL, 9]] = torch.tensor([0.4, 0.6])
    probability[1, [STILL, 0]] = torch.tensor([0.6, 0.4])
    probability[2, 5] = 1
    displacement, kind = decide(probability)
    assert kind.tolist() == [Kind.LARGER, Kind.STILL, Kind.ONE_PIXEL]
    assert displacement.tolist() == [[0, 0], [0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": "other"}, "net must be one of energy, correlation, got 'other'"),
        ({"block": 4}, "block must be an integer of at least 8, got 4"),
        ({"stride": 0}, "stride must be an integer of at least 1, got 0"),
        ({"prior_still": 1.0}, "prior_still must lie between 0 and 1, got 1.0"),
    ],
)
def test_wrong_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        ShiftMatcher(**options)


def test_checkpoints_contain_training_settings_only_and_open_with_weights_only(tmp_path):
    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = ShiftedDigits(train_pairs=8, eval_pairs=8, canvases=5, batch_size=8, num_workers=0)
    trainer.fit(ShiftMatcher(width=8, block=32), datamodule=data)
    (path,) = tmp_path.rglob("*.ckpt")
    hyper_parameters = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hyper_parameters["_class_path"] == "patchmatch.shift.matcher.ShiftMatcher"
    assert hyper_parameters["width"] == 8
    assert "block" not in hyper_parameters  # a setting of prediction, from the command line
    assert load_shift_matcher(path).matcher.net.head[0].out_features == 8
    assert ShiftMatcher.load_from_checkpoint(path, map_location="cpu").net.head[0].out_features == 8


@pytest.mark.parametrize("level", [0, 0.5, 1])
def test_patches_without_texture_are_still_with_a_low_score(shipped, level):
    flat = torch.full((3, 1, 26, 26), float(level))
    found = shipped.match_patches(flat, flat)
    assert found.displacement.tolist() == [[0, 0]] * 3
    assert found.kind.tolist() == [Kind.STILL] * 3
    assert (found.score <= 0.11).all()


def test_ties_with_zero_motion_give_zero_motion():
    displacement, kind = decide(torch.full((2, 10), 0.1))
    assert displacement.tolist() == [[0, 0]] * 2
    assert kind.tolist() == [Kind.STILL] * 2


def test_uint16_patches_give_the_same_result_as_uint8(shipped):
    levels = (255 * textured(40, 40)).round().numpy().astype(np.uint8)
    patches0, patches1 = levels[None, None, 5:31, 5:31], levels[None, None, 5:31, 4:30]
    expected = shipped.match_patches(patches0, patches1)
    found = shipped.match_patches(*(p.astype(np.uint16) * 257 for p in (patches0, patches1)))
    assert found.displacement.tolist() == expected.displacement.tolist() == [[1, 0]]
    assert_close(found.score, expected.score)


def test_larger_blocks_are_unmatched_and_confidence_is_the_probability_of_the_class(shipped):
    scene = textured(80, 110)
    (changes,) = shipped.matcher.predict_step(clip_of(scene, textured(80, 110, seed=1)), 0)
    assert (changes.matched == (changes.kind != Kind.LARGER)).all()
    assert not changes.matched.all()
    (same,) = shipped.matcher.predict_step(clip_of(scene, scene), 0)
    assert same.matched.all()
    assert (same.confidence > 0.9).all()  # the score of an unchanged block is near 0 instead
    assert (same.score < 0.1).all()
    assert (changes.confidence >= 0.1).all()


def test_an_error_leaves_the_training_mode_as_it_was(monkeypatch):
    matcher = ShiftMatcher().train()

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(matcher.net, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        matcher.match_patches(torch.rand(1, 1, 26, 26), torch.rand(1, 1, 26, 26))
    assert matcher.training
    assert matcher.net.training
