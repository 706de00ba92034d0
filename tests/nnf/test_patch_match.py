import math
import re

import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.core.matcher import Matcher
from patchmatch.nnf import matcher as matcher_module
from patchmatch.nnf.matcher import DenseMatcher
from patchmatch.nnf.patch_match import PatchMatch
from patchmatch.nnf.patches import Field


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pair(image0, image1, valid0=None, valid1=None) -> ImagePair:
    return {
        "index": 0,
        "source": "run",
        "name": "a",
        "names": ("a.png", "b.png"),
        "paths": ("a.png", "b.png"),
        "image0": image0,
        "image1": image1,
        "valid0": valid0,
        "valid1": valid1,
        "scale": 1.0,
        "sizes": ((0, 0), (0, 0)),
        "pairs": [(0, 1)],
        "notes": [],
    }


def match(matcher: DenseMatcher, *images, **masks):
    (found,) = matcher.predict_step(pair(*images, **masks), 0)
    return found


def plain(patch_size=5, iterations=4, **options):
    return PatchMatch(patch_size, preset="plain", iterations=iterations, **options)


class ConstantFields(DenseMatcher):
    """Yields the zero flow, then a flow of one pixel to the right."""

    def fields(self, image0, image1, valid0=None, valid1=None):
        _, _, height, width = image0.shape
        x = torch.arange(width).clamp(self.patch_size // 2, width - 1 - self.patch_size // 2)
        for right in (0, 1):
            flow = torch.zeros(1, 1, 2, height, width, dtype=torch.long)
            flow[:, :, 0] = right * (x < width - 1 - self.patch_size // 2)
            yield Field(flow, torch.ones(1, 1, height, width))


def test_the_base_class_measures_the_fields_of_a_subclass():
    image = noise(1, 3, 20, 24)
    found = match(ConstantFields(patch_size=3), image, image)
    assert [metrics.iteration for metrics in found.history] == [1, 2]
    assert found.history[0].psnr > 100  # up to rounding
    assert found.history[0].ssim == pytest.approx(1)
    assert found.history[0].ssd == 0
    assert 0 < found.history[1].psnr < 20
    assert found.history[1].ssd > 0.1
    assert (found.name, found.image0, found.image1) == ("a", "a.png", "b.png")
    assert found.flow.shape == (2, 20, 24)
    assert found.cost.shape == (20, 24)
    assert (found.consistent, found.flow10, found.valid) == (None, None, None)
    assert torch.equal(found.rebuilt_centre[:, 5, 5], image[0, :, 5, 6])


def test_the_last_metrics_are_those_of_the_returned_field():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    found = match(plain(), image0, image1)
    assert len(found.history) == 4
    inner = found.cost[2:-2, 2:-2].mean().item() / 25
    assert found.history[-1].ssd == pytest.approx(inner, rel=1e-4)
    error = (found.rebuilt_vote - image0[0]).square().mean().item()
    assert found.history[-1].psnr == pytest.approx(-10 * math.log10(error), abs=1e-3)
    ssd = [metrics.ssd for metrics in found.history]
    assert ssd == sorted(ssd, reverse=True)
    seconds = [metrics.seconds for metrics in found.history]
    assert seconds == sorted(seconds)
    assert found.seconds == seconds[-1] > 0


@pytest.mark.parametrize("preset", ["fast", "balanced", "accurate"])
def test_every_preset_finds_a_crop_in_its_image(preset):
    image1 = noise(1, 3, 30, 34)
    found = match(PatchMatch(5, preset=preset), image1[:, :, 3:25, 4:30], image1)
    moved = found.flow[:, 2:-2, 2:-2].flatten(1)
    correct = (moved == torch.tensor([[4], [3]])).all(dim=0).float().mean()
    assert correct > 0.95


@pytest.mark.parametrize("options", [{}, {"max_displacement": 5}, {"preset": "plain"}])
@pytest.mark.parametrize("iterations", [1, 2])
def test_every_preset_runs_the_given_number_of_iterations(options, iterations):
    image0, image1 = noise(1, 1, 20, 24), noise(1, 1, 20, 24, seed=1)
    found = match(PatchMatch(5, iterations=iterations, **options), image0, image1)
    assert [metrics.iteration for metrics in found.history] == list(range(1, iterations + 1))


def test_the_same_seed_gives_the_same_field():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    first, again = (match(plain(iterations=1, seed=3), image0, image1) for _ in range(2))
    assert torch.equal(first.flow, again.flow)


def test_both_ways_reports_consistent_matches():
    scene = noise(1, 3, 24, 40)
    found = match(plain(iterations=12, both_ways=True), scene[..., :30], scene[..., 8:])
    assert found.consistent.shape == (24, 30)
    assert found.flow10.shape == (2, 24, 32)
    assert found.consistent[4:-4, 14:26].float().mean() > 0.9  # visible in both images
    assert found.consistent[4:-4, :5].float().mean() < 0.5  # outside image 1
    assert found.seconds > found.history[-1].seconds


def test_k_matches_are_sorted_best_first():
    found = match(plain(k=3), noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert found.flow.shape == (3, 2, 20, 24)
    assert found.cost.shape == (3, 20, 24)
    assert (found.cost.diff(dim=0) >= 0).all()
    assert found.best_flow.shape == (2, 20, 24)


def test_contrast_features_ignore_illumination_and_rgb_features_do_not():
    scene = noise(1, 3, 40, 50)
    illumination = torch.linspace(0, 1, 50)  # brighter to the right
    image0, image1 = scene[:, :, 4:, 6:], 0.1 * scene + 0.9 * illumination

    def correct(features):
        flow = match(plain(iterations=15, features=features), image0, image1).flow
        is_correct = (flow == torch.tensor([6, 4])[:, None, None]).all(dim=0)
        return is_correct[8:-8, 8:-8].float().mean().item()

    assert correct("contrast") > 0.8
    assert correct("rgb") < 0.5


def test_gray_features_of_a_color_image_are_its_luma():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 22, 21, seed=1)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    found = match(plain(features="gray"), image0, image1)
    of_gray = match(plain(), *((image * luma).sum(1, keepdim=True) for image in (image0, image1)))
    assert torch.equal(found.flow, of_gray.flow)
    torch.testing.assert_close(found.cost, of_gray.cost)
    assert found.rebuilt_vote.shape == (3, 20, 24)  # the image is still reconstructed in color


def test_max_displacement_limits_the_flow():
    found = match(plain(max_displacement=2), noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert found.flow.abs().max() <= 2


def test_masks_limit_queries_and_targets():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1)
    valid0 = torch.zeros(1, 20, 24, dtype=torch.bool)
    valid1 = torch.zeros(1, 20, 24, dtype=torch.bool)
    valid0[:, 5:10, 6:12], valid1[:, 8:14, 9:20] = True, True
    found = match(plain(both_ways=True), image0, image1, valid0=valid0, valid1=valid1)
    assert torch.equal(found.valid, valid0[0])
    assert found.cost[~valid0[0]].isinf().all()
    assert found.cost[valid0[0]].isfinite().all()
    y, x = valid0[0].nonzero(as_tuple=True)
    dx, dy = found.flow[:, y, x]
    assert valid1[0, y + dy, x + dx].all()
    assert not found.consistent[~valid0[0]].any()
    assert not found.rebuilt_vote[:, ~valid0[0]].any()
    assert not found.rebuilt_centre[:, ~valid0[0]].any()
    difference = (found.rebuilt_vote - image0[0])[:, valid0[0]]
    assert found.history[-1].psnr == pytest.approx(
        -10 * math.log10(difference.square().mean().item()), abs=1e-3
    )


@pytest.mark.parametrize("preset", ["balanced", "plain"])
def test_pixels_without_a_match_are_black_and_left_out_of_metrics(preset):
    image0, image1 = noise(1, 3, 20, 34), noise(1, 3, 20, 34, seed=1)
    valid1 = torch.zeros(1, 20, 34, dtype=torch.bool)
    valid1[..., :10] = True
    batch = pair(image0, image1, valid1=valid1)
    matcher = PatchMatch(5, preset=preset, max_displacement=6, both_ways=True)
    (found,) = matcher.predict_step(batch, 0)
    near = torch.arange(34) < 16
    assert torch.equal(found.valid, near.expand(20, -1))
    assert torch.equal(found.cost.isfinite(), found.valid)
    assert not found.rebuilt_vote[:, ~found.valid].any()
    assert not found.rebuilt_centre[:, ~found.valid].any()
    assert not found.consistent[~found.valid].any()
    expected = (found.rebuilt_vote - image0[0])[:, found.valid].square().mean().log10() * -10
    assert found.history[-1].psnr == pytest.approx(expected.item(), abs=1e-3)
    assert found.history[-1].ssd == pytest.approx(found.cost[2:-2, 2:16].mean().item() / 25)
    assert batch["notes"] == [
        "a: 360 of 680 pixels have no match within the mask of b.png and --model.max_displacement; "
        "they are black and left out of all metrics"
    ]


def test_a_pair_whose_masks_leave_no_whole_patch_is_skipped():
    valid1 = torch.zeros(1, 20, 24, dtype=torch.bool)
    valid1[:, :2] = True  # their patches cross the border
    batch = pair(noise(1, 3, 20, 24), noise(1, 3, 20, 24), valid1=valid1)
    assert plain().predict_step(batch, 0) == []
    assert "pair left out: a: the masks leave no patch to match" in batch["notes"][0]


def test_autocast_does_not_change_the_search():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    expected = match(PatchMatch(5), image0, image1)
    with torch.autocast("cpu", torch.bfloat16):
        found = match(PatchMatch(5), image0, image1)
    assert torch.equal(found.cost, expected.cost)


def test_snapshots_and_the_progress_of_every_iteration_are_returned():
    matcher, progress = plain(), []
    matcher.observe((1, 4, 9), lambda name, metrics: progress.append((name, metrics.iteration)))
    found = match(matcher, noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert progress == [("a", i) for i in (1, 2, 3, 4)]
    assert sorted(found.snapshots) == [1, 4]
    assert torch.equal(found.snapshots[4], found.rebuilt_vote)
    assert not torch.equal(found.snapshots[1], found.rebuilt_vote)


def test_a_blank_image_is_reconstructed_from_a_blank_image():
    blank = torch.full((1, 3, 20, 24), 0.5)
    found = match(plain(both_ways=True), blank, blank)
    assert found.history[-1].psnr > 100
    assert found.cost.abs().max() < 1e-4


def test_a_skipped_pair_has_no_result():
    empty = torch.zeros(1, 1, 0, 0)
    batch = pair(empty, empty)
    batch["pairs"] = []
    assert plain().predict_step(batch, 0) == []


@pytest.mark.parametrize(("small", "name"), [(0, "a.png"), (1, "b.png")])
def test_a_pair_with_an_image_smaller_than_a_patch_is_skipped(small, name):
    images = [noise(1, 3, 20, 24), noise(1, 3, 20, 24)]
    images[small] = noise(1, 3, 20, 4)
    batch = pair(*images)
    assert plain().predict_step(batch, 0) == []
    assert batch["pairs"] == []
    assert f"pair left out: a: {name} is 4x20 pixels, smaller than a pa" in batch["notes"][0]
    images[small] = noise(1, 3, 5, 5)
    match(plain(), *images)


def test_a_pair_too_large_for_the_memory_is_skipped_with_a_size_that_fits(monkeypatch):
    monkeypatch.setattr(matcher_module, "device_memory", lambda _: 10**6)
    matcher = plain(patch_size=3, iterations=1)
    image = noise(1, 1, 60, 1 + 10**6 // (2 * 60 * matcher.bytes_per_pixel(1)))
    batch = pair(image, image)
    assert matcher.predict_step(batch, 0) == []
    message = r"pair left out: a: matching requires .* and cpu has 0\.001; give --data.max_size \d+"
    assert re.match(message, batch["notes"][0])
    monkeypatch.setattr(matcher_module, "device_memory", lambda _: None)
    match(matcher, image, image)


def test_every_match_of_a_pixel_adds_to_the_required_memory(monkeypatch):
    images = noise(1, 1, 40, 50), noise(1, 1, 40, 50)
    needed = 2 * 40 * 50 * plain(patch_size=3).bytes_per_pixel(1)
    monkeypatch.setattr(matcher_module, "device_memory", lambda _: needed)
    match(plain(patch_size=3, iterations=1), *images)
    batch = pair(*images)
    assert plain(patch_size=3, iterations=1, k=3).predict_step(batch, 0) == []
    assert re.match("pair left out: a: matching requires about .* GB of memory", batch["notes"][0])


def test_a_pair_with_fewer_than_k_patches_is_skipped():
    batch = pair(noise(1, 1, 6, 6), noise(1, 1, 6, 7))
    assert plain(k=5).predict_step(batch, 0) == []
    assert "a.png has 4 patches, fewer than the 5 matches of a pixel" in batch["notes"][0]


def test_the_suggested_size_fits_the_memory(monkeypatch):
    monkeypatch.setattr(matcher_module, "device_memory", lambda _: 10**9)
    big = torch.zeros(1, 1, 1).expand(1, 1, 1)
    sizes = (6000, 8000)
    batch = pair(*(torch.empty(1, 1, *sizes, device="meta") for _ in range(2)))
    with pytest.raises(InputError) as raised:
        matcher_module.require_memory(batch, 500, big.device)
    side = int(str(raised.value).rpartition(" ")[2])
    assert 1000 < side < 8000
    reduced = (1, 1, side * sizes[0] // sizes[1], side)
    batch = pair(*(torch.empty(reduced, device="meta") for _ in range(2)))
    matcher_module.require_memory(batch, 500, big.device)


@pytest.mark.parametrize(
    ("version2", "version1", "expected"),
    [
        ("4096\n", None, 4096),
        (None, "8192\n", 8192),
        ("max\n", None, None),
        (None, "9223372036854771712\n", None),  # no limit
        (None, None, None),
    ],
)
def test_the_memory_limit_of_a_container_is_read(
    tmp_path, monkeypatch, version2, version1, expected
):
    paths = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    monkeypatch.setattr(matcher_module, "CONTAINER_LIMITS", paths)
    device = torch.device("cpu")
    machine = matcher_module.device_memory(device)
    for path, text in zip(paths, (version2, version1), strict=True):
        if text is not None:
            path.write_text(text)
    assert matcher_module.device_memory(device) == (machine if expected is None else expected)


def test_the_memory_of_the_cpu_is_plausible_or_unknown():
    memory = matcher_module.device_memory(torch.device("cpu"))
    assert memory is None or memory > 10**8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, "patch_size must be at least 1 pixel, got 0"),
        ({"preset": "quick"}, "preset must be one of fast, balanced, accurate, plain, got 'quick'"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"features": "hsv"}, "features must be one of rgb, gray, contrast, got 'hsv'"),
        ({"norm": "l3"}, "norm must be one of l1, l2, got 'l3'"),
        ({"seed": 2**64}, "seed must be a number of 64 bits, got 18446744073709551616"),
        ({"max_displacement": -1}, "max_displacement must be at least 0 pixels, got -1"),
        ({"tolerance": -1.0}, "tolerance must be at least 0 pixels, got -1"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        PatchMatch(**options)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_stages_other_than_predict_raise(stage):
    with pytest.raises(InputError, match="PatchMatch has nothing to train"):
        PatchMatch().setup(stage)


def test_patch_match_is_a_matcher():
    assert issubclass(PatchMatch, Matcher)
    assert PatchMatch.predict_config == "config_reconstruct_predict.yaml"
    assert set(PatchMatch().hparams) >= {"patch_size", "preset", "seed", "both_ways"}
