"""Flow of every pixel."""

import cv2
import numpy as np
import pytest
import torch

from patchmatch import load_motion_matcher
from patchmatch.motion import dense
from patchmatch.motion.dense import FramePair, GuidedFilter, dense_flow, pad_grid, to_levels
from patchmatch.motion.dense_confidence import confidence_features, flow_confidence


def textured(height, width, seed=0):
    """Return noise with structure at several scales, in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for scale in (1.5, 3, 6):
        noise = cv2.GaussianBlur(
            rng.standard_normal((height, width)).astype(np.float32), (0, 0), scale
        )
        image += noise / noise.std()
    return (image - image.min()) / np.ptp(image)


def shifted(image, dx, dy):
    """Return the image with its content moved by (dx, dy), by cubic interpolation."""
    matrix = np.float32([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(
        image, matrix, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def normalised(image):
    mean = cv2.blur(image, (11, 11))
    std = np.sqrt(cv2.blur(image * image, (11, 11)) - mean * mean)
    return (image - mean) / (std + 0.01)


def pair_of(frame0, frame1, blocks):
    images = (to_levels(normalised(frame)) for frame in (frame0, frame1))
    return FramePair(*images, frame0, np.asarray(blocks, np.float32))


def two_layers(height=112, width=144):
    """A disc that moves by (4, 1) in front of a ground that moves by (-2, 0)."""
    y, x = np.mgrid[:height, :width]
    ground, disc = textured(height, width, 1), textured(height, width, 2)
    inside = [np.hypot(x - 70 - dx, y - 55 - dy) < 31 for dx, dy in ((0, 0), (4, 1))]
    frame0 = np.where(inside[0], disc, ground)
    frame1 = np.where(inside[1], shifted(disc, 4, 1), shifted(ground, -2, 0))
    return frame0.astype(np.float32), frame1.astype(np.float32), inside[0]


def test_refinement_corrects_the_errors_of_single_blocks():
    frame0 = textured(101, 134)
    frame1 = shifted(frame0, 2.3, -1.6)
    rng = np.random.default_rng(0)
    blocks = rng.normal((2.3, -1.6), 0.2, (6, 8, 2))
    flow = dense_flow(pair_of(frame0, frame1, blocks))
    assert flow.shape == (101, 134, 2)
    error = np.linalg.norm(flow - (2.3, -1.6), axis=2)[8:-8, 8:-8]
    assert error.mean() < 0.4 * np.linalg.norm(blocks - (2.3, -1.6), axis=2).mean()
    assert error.max() < 0.5


def test_outline_of_a_layer_is_that_of_the_image_not_of_the_blocks():
    frame0, frame1, inside = two_layers()
    truth = np.where(inside[..., None], (4.0, 1.0), (-2.0, 0.0)).astype(np.float32)
    tiles = inside.reshape(7, 16, 9, 16).mean(axis=(1, 3)) > 0.5
    blocks = np.where(tiles[..., None], (4.0, 1.0), (-2.0, 0.0))
    flow = dense_flow(pair_of(frame0, frame1, blocks))
    wrong = (flow[..., 0] > 1) != inside
    wrong_blocks = np.kron(tiles, np.ones((16, 16), bool)) != inside
    y, x = np.mgrid[:112, :144]
    visible = inside | (np.hypot(x - 2 - 74, y - 56) > 33)  # the disc covers the rest in frame 1
    assert wrong[visible].mean() < 0.25 * wrong_blocks[visible].mean()
    assert np.linalg.norm(flow - truth, axis=2)[~wrong].mean() < 0.25


def test_pixels_choose_among_their_block_those_beside_it_and_their_mean():
    blocks = np.arange(5 * 4 * 2, dtype=np.float32).reshape(5, 4, 2)
    padded = pad_grid(blocks, 80, 64)
    assert padded.shape == (7, 6, 2)
    smooth, own, above, left, right, below = dense._candidates(padded)
    assert all(c.shape == (80, 64, 2) for c in (smooth, own, above, left, right, below))
    assert own[16 * 2 + 3, 16 * 1 + 15].tolist() == blocks[2, 1].tolist()
    assert above[16 * 2 + 3, 16 * 1 + 15].tolist() == blocks[1, 1].tolist()
    assert left[16 * 2 + 3, 16 * 1].tolist() == blocks[2, 0].tolist()
    assert right[16 * 2 + 3, 16 * 1].tolist() == blocks[2, 2].tolist()
    assert below[-1, 0].tolist() == blocks[4, 0].tolist()  # there is no block below the last
    between = (blocks[2, 1] + blocks[2, 2]) / 2
    assert np.abs(smooth[39:41, 31:33].mean(axis=(0, 1)) - between).max() < 1e-5


def test_pixels_beyond_the_last_whole_block_take_the_nearest_one():
    blocks = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    padded = pad_grid(blocks, 47, 50)  # rows and columns of 3 and 4 blocks, two whole and three
    assert padded.shape == (5, 6, 2)
    assert padded[3, 4].tolist() == padded[4, 5].tolist() == blocks[1, 2].tolist()


def test_guided_filter_keeps_a_step_of_the_guide_and_averages_elsewhere():
    guide = np.zeros((32, 48), np.float32)
    guide[:, 24:] = 1
    values = np.random.default_rng(0).integers(0, 20, (32, 48)).astype(np.uint8)
    values[:, 24:] += 100
    found = GuidedFilter(guide)(values)
    assert np.abs(found[:, :22] - 9.5).max() < 3 < np.abs(values[:, :22] - 9.5).max() - 5
    assert np.abs(found[:, 26:] - 109.5).max() < 3
    assert found[:, 23].max() < 20
    assert found[:, 24].min() > 90


@pytest.mark.parametrize("threads", [2, 5])
def test_bands_and_threads_do_not_change_the_choice(monkeypatch, torch_threads, threads):
    frame0, frame1, inside = two_layers()
    tiles = inside.reshape(7, 16, 9, 16).mean(axis=(1, 3)) > 0.5
    pair = pair_of(frame0, frame1, np.where(tiles[..., None], (4.0, 1.0), (-2.0, 0.0)))
    expected = dense_flow(pair)
    monkeypatch.setattr(dense, "BAND", 32)
    logits = np.ones((7, 9), np.float32)
    torch_threads(threads)
    assert np.abs(dense_flow(pair) - expected).max() < 1e-4
    confidence = flow_confidence(pair, expected, logits)
    monkeypatch.undo()
    assert np.abs(flow_confidence(pair, expected, logits) - confidence).max() < 1e-4


def test_strips_hardly_change_the_refinement(monkeypatch):
    frame0 = textured(300, 80)
    frame1 = shifted(frame0, 1.4, 20.3)
    pair = pair_of(frame0, frame1, np.full((18, 5, 2), (1, 20), np.float32))
    expected = dense_flow(pair)
    monkeypatch.setattr(dense, "STRIP_PIXELS", 1)  # strips of 64 rows
    assert np.abs(dense_flow(pair) - expected).max() < 0.01


def test_confidence_is_low_in_occlusions_and_outside_the_frame():
    frame0, frame1, inside = two_layers()
    truth = np.where(inside[..., None], (4.0, 1.0), (-2.0, 0.0)).astype(np.float32)
    pair = pair_of(frame0, frame1, np.zeros((7, 9, 2)))
    confidence = flow_confidence(pair, truth, np.full((7, 9), 2, np.float32))
    assert confidence.shape == (112, 144)
    y, x = np.mgrid[:112, :144]
    moved = np.hypot(x - 2 - 74, y - 56) < 31  # ground that the disc covers in frame 1
    occluded = moved & ~inside
    occluded &= cv2.erode((~inside).astype(np.uint8), np.ones((5, 5))).astype(bool)
    visible = ~moved & ~inside & (x > 20) & (x < 124)
    assert confidence[occluded].mean() < confidence[visible].mean() - 0.1
    assert not confidence[~inside & (x < 2)].any()
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_of_pixels_with_one_target_the_one_that_fits_worse_has_an_excess():
    frame0 = textured(48, 64)
    flow = np.zeros((48, 64, 2), np.float32)
    flow[20:30, 10:20, 0] = 20  # onto pixels that are still
    pair = pair_of(frame0, frame0, np.zeros((3, 4, 2)))
    excess = confidence_features(pair, flow, np.zeros((3, 4), np.float32))[2]
    assert excess.shape == (24, 32)  # of every second pixel
    assert excess[10:15, 5:10].mean() > 0.05
    assert excess[10:15, 15:20].mean() < -0.05
    assert np.abs(excess[18:, 20:]).max() < 1e-6


@pytest.fixture(scope="module")
def matcher():
    return load_motion_matcher(device="cpu").matcher


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (50, 33)])
def test_constant_and_small_frames_have_zero_flow(matcher, size):
    frames = (torch.full((1, 1, *size), level) for level in (0.5, 0.5))
    found = matcher.measure_flow(*frames)
    assert found.flow.shape == (2, *size)
    assert found.confidence.shape == size
    assert not found.flow.any()
    assert found.confidence.isfinite().all()


def test_gain_and_offset_do_not_change_the_flow(matcher):
    frame0 = textured(96, 128)
    frame1 = shifted(frame0, 3.4, 1.7)
    frames = [torch.from_numpy(f)[None, None] for f in (frame0, frame1, 0.6 * frame1 + 0.1)]
    plain, other = (matcher.measure_flow(frames[0], later).flow for later in frames[1:])
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert (plain - torch.tensor([3.4, 1.7])[:, None, None]).norm(dim=0)[inner[1:]].mean() < 0.05
    assert (plain - other)[inner].abs().mean() < 0.02


def test_memory_grows_by_few_images(matcher, monkeypatch):
    """Filters and refinement hold a band or a strip, not one array per candidate of the frame."""
    import tracemalloc

    frame0 = textured(1024, 256)
    pair = pair_of(frame0, frame0, np.zeros((64, 16, 2)))
    monkeypatch.setattr(dense, "BAND", 64)
    monkeypatch.setattr(dense, "STRIP_PIXELS", 64 * 256)
    tracemalloc.start()
    dense_flow(pair)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * frame0.nbytes
