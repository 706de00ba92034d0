import math
import re

import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.core.matcher import Matcher
from patchmatch.nnf import matcher as dense_module
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


class Still(DenseMatcher):
    """Answers that nothing has moved, and then that everything moved by one pixel."""

    def fields(self, image0, image1, valid0=None, valid1=None):
        _, _, height, width = image0.shape
        x = torch.arange(width).clamp(self.patch_size // 2, width - 1 - self.patch_size // 2)
        for right in (0, 1):
            flow = torch.zeros(1, 1, 2, height, width, dtype=torch.long)
            flow[:, :, 0] = right * (x < width - 1 - self.patch_size // 2)
            yield Field(flow, torch.ones(1, 1, height, width))


def test_a_matcher_that_only_yields_fields_is_measured():
    image = noise(1, 3, 20, 24)
    found = match(Still(patch_size=3), image, image)
    assert [step.iteration for step in found.steps] == [1, 2]
    assert found.steps[0].psnr > 100  # up to rounding
    assert found.steps[0].ssim == pytest.approx(1)
    assert found.steps[0].ssd == 0
    assert 0 < found.steps[1].psnr < 20
    assert found.steps[1].ssd > 0.1
    assert (found.name, found.image0, found.image1) == ("a", "a.png", "b.png")
    assert found.flow.shape == (2, 20, 24)
    assert found.cost.shape == (20, 24)
    assert (found.consistent, found.flow10, found.valid) == (None, None, None)
    assert torch.equal(found.rebuilt_centre[:, 5, 5], image[0, :, 5, 6])


def test_the_curve_ends_with_the_field_that_is_handed_out():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    found = match(plain(), image0, image1)
    assert len(found.steps) == 4
    inner = found.cost[2:-2, 2:-2].mean().item() / 25
    assert found.steps[-1].ssd == pytest.approx(inner, rel=1e-4)
    error = (found.rebuilt_vote - image0[0]).square().mean().item()
    assert found.steps[-1].psnr == pytest.approx(-10 * math.log10(error), abs=1e-3)
    ssd = [step.ssd for step in found.steps]
    assert ssd == sorted(ssd, reverse=True)
    seconds = [step.seconds for step in found.steps]
    assert seconds == sorted(seconds)
    assert found.seconds == seconds[-1] > 0


@pytest.mark.parametrize("preset", ["fast", "balanced", "accurate"])
def test_a_preset_finds_what_is_there(preset):
    image1 = noise(1, 3, 30, 34)
    found = match(PatchMatch(5, preset=preset), image1[:, :, 3:25, 4:30], image1)
    moved = found.flow[:, 2:-2, 2:-2].flatten(1)
    share = (moved == torch.tensor([[4], [3]])).all(dim=0).float().mean()
    assert share > 0.95


@pytest.mark.parametrize("options", [{}, {"reach": 5}, {"preset": "plain"}])
@pytest.mark.parametrize("iterations", [1, 2])
def test_iterations_are_counted_in_every_preset(options, iterations):
    image0, image1 = noise(1, 1, 20, 24), noise(1, 1, 20, 24, seed=1)
    found = match(PatchMatch(5, iterations=iterations, **options), image0, image1)
    assert [step.iteration for step in found.steps] == list(range(1, iterations + 1))


def test_the_same_seed_gives_the_same_field():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    first, again = (match(plain(iterations=1, seed=3), image0, image1) for _ in range(2))
    assert torch.equal(first.flow, again.flow)


def test_both_ways_tells_which_matches_lead_back():
    scene = noise(1, 3, 24, 40)
    found = match(plain(iterations=12, both_ways=True), scene[..., :30], scene[..., 8:])
    assert found.consistent.shape == (24, 30)
    assert found.flow10.shape == (2, 24, 32)
    assert found.consistent[4:-4, 14:26].float().mean() > 0.9  # seen in both
    assert found.consistent[4:-4, :5].float().mean() < 0.5  # left of image 1
    assert found.seconds > found.steps[-1].seconds


def test_several_candidates_come_best_first():
    found = match(plain(candidates=3), noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert found.flow.shape == (3, 2, 20, 24)
    assert found.cost.shape == (3, 20, 24)
    assert (found.cost.diff(dim=0) >= 0).all()
    assert found.best_flow.shape == (2, 20, 24)


def test_contrast_sees_past_a_change_of_light_and_rgb_does_not():
    scene = noise(1, 3, 40, 50)
    light = torch.linspace(0, 1, 50)  # brighter to the right
    image0, image1 = scene[:, :, 4:, 6:], 0.1 * scene + 0.9 * light

    def exact(features):
        flow = match(plain(iterations=15, features=features), image0, image1).flow
        right = (flow == torch.tensor([6, 4])[:, None, None]).all(dim=0)
        return right[8:-8, 8:-8].float().mean().item()

    assert exact("contrast") > 0.8
    assert exact("rgb") < 0.5


def test_gray_features_of_a_color_picture_are_its_luma():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 22, 21, seed=1)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    found = match(plain(features="gray"), image0, image1)
    of_gray = match(plain(), *((image * luma).sum(1, keepdim=True) for image in (image0, image1)))
    assert torch.equal(found.flow, of_gray.flow)
    torch.testing.assert_close(found.cost, of_gray.cost)
    assert found.rebuilt_vote.shape == (3, 20, 24)  # the pictures stay what they are


def test_reach_bounds_the_search():
    found = match(plain(reach=2), noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert found.flow.abs().max() <= 2


def test_masks_say_what_is_sought_and_where():
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
    assert found.steps[-1].psnr == pytest.approx(
        -10 * math.log10(difference.square().mean().item()), abs=1e-3
    )


@pytest.mark.parametrize("preset", ["balanced", "plain"])
def test_what_found_no_place_is_not_made_of_what_was_forbidden(preset):
    image0, image1 = noise(1, 3, 20, 34), noise(1, 3, 20, 34, seed=1)
    valid1 = torch.zeros(1, 20, 34, dtype=torch.bool)
    valid1[..., :10] = True
    batch = pair(image0, image1, valid1=valid1)
    matcher = PatchMatch(5, preset=preset, reach=6, both_ways=True)
    (found,) = matcher.predict_step(batch, 0)
    near = torch.arange(34) < 16
    assert torch.equal(found.valid, near.expand(20, -1))
    assert torch.equal(found.cost.isfinite(), found.valid)
    assert not found.rebuilt_vote[:, ~found.valid].any()
    assert not found.rebuilt_centre[:, ~found.valid].any()
    assert not found.consistent[~found.valid].any()
    expected = (found.rebuilt_vote - image0[0])[:, found.valid].square().mean().log10() * -10
    assert found.steps[-1].psnr == pytest.approx(expected.item(), abs=1e-3)
    assert found.steps[-1].ssd == pytest.approx(found.cost[2:-2, 2:16].mean().item() / 25)
    assert batch["notes"] == [
        "a: 360 of 680 pixels found no place that the mask of b.png and --model.reach leave; they "
        "are black and count nowhere"
    ]


def test_masks_that_leave_no_whole_patch_leave_the_pair_out():
    valid1 = torch.zeros(1, 20, 24, dtype=torch.bool)
    valid1[:, :2] = True  # only patches that would lie beyond the border
    batch = pair(noise(1, 3, 20, 24), noise(1, 3, 20, 24), valid1=valid1)
    assert plain().predict_step(batch, 0) == []
    assert "pair left out: a: its masks leave no patch to match" in batch["notes"][0]


def test_half_precision_around_it_does_not_spoil_the_search():
    image0, image1 = noise(1, 3, 20, 24), noise(1, 3, 26, 22, seed=1)
    expected = match(PatchMatch(5), image0, image1)
    with torch.autocast("cpu", torch.bfloat16):
        found = match(PatchMatch(5), image0, image1)
    assert torch.equal(found.cost, expected.cost)


def test_pictures_on_the_way_and_every_step_are_handed_out():
    matcher, told = plain(), []
    matcher.keep_iterations = (1, 4, 9)
    matcher.listener = lambda name, step: told.append((name, step.iteration))
    found = match(matcher, noise(1, 3, 20, 24), noise(1, 3, 20, 24, seed=1))
    assert told == [("a", i) for i in (1, 2, 3, 4)]
    assert sorted(found.kept) == [1, 4]
    assert torch.equal(found.kept[4], found.rebuilt_vote)
    assert not torch.equal(found.kept[1], found.rebuilt_vote)


def test_a_blank_picture_is_rebuilt_from_a_blank_one():
    blank = torch.full((1, 3, 20, 24), 0.5)
    found = match(plain(both_ways=True), blank, blank)
    assert found.steps[-1].psnr > 100
    assert found.cost.abs().max() < 1e-4


def test_a_pair_that_was_left_out_has_no_answer():
    empty = torch.zeros(1, 1, 0, 0)
    batch = pair(empty, empty)
    batch["pairs"] = []
    assert plain().predict_step(batch, 0) == []


@pytest.mark.parametrize(("small", "name"), [(0, "a.png"), (1, "b.png")])
def test_pictures_smaller_than_a_patch_are_left_out(small, name):
    images = [noise(1, 3, 20, 24), noise(1, 3, 20, 24)]
    images[small] = noise(1, 3, 20, 4)
    batch = pair(*images)
    assert plain().predict_step(batch, 0) == []
    assert batch["pairs"] == []
    assert f"pair left out: a: {name} is 4x20 pixels, smaller than a pa" in batch["notes"][0]
    images[small] = noise(1, 3, 5, 5)
    match(plain(), *images)


def test_a_pair_that_does_not_fit_the_memory_is_left_out_and_told_what_would(monkeypatch):
    monkeypatch.setattr(dense_module, "device_memory", lambda _: 10**6)
    matcher = plain(patch_size=3, iterations=1)
    image = noise(1, 1, 60, 1 + 10**6 // (2 * 60 * matcher.bytes_per_pixel(1)))
    batch = pair(image, image)
    assert matcher.predict_step(batch, 0) == []
    told = r"pair left out: a: takes about .* GB of .* and cpu has 0\.001; give --data.max_size \d+"
    assert re.match(told, batch["notes"][0])
    monkeypatch.setattr(dense_module, "device_memory", lambda _: None)
    match(matcher, image, image)


def test_memory_is_asked_for_every_candidate(monkeypatch):
    images = noise(1, 1, 40, 50), noise(1, 1, 40, 50)
    needed = 2 * 40 * 50 * plain(patch_size=3).bytes_per_pixel(1)
    monkeypatch.setattr(dense_module, "device_memory", lambda _: needed)
    match(plain(patch_size=3, iterations=1), *images)
    batch = pair(*images)
    assert plain(patch_size=3, iterations=1, candidates=3).predict_step(batch, 0) == []
    assert re.match("pair left out: a: takes about .* GB of memory", batch["notes"][0])


def test_more_candidates_than_patches_leave_the_pair_out():
    batch = pair(noise(1, 1, 6, 6), noise(1, 1, 6, 7))
    assert plain(candidates=5).predict_step(batch, 0) == []
    assert "a.png holds 4 patches, but 5 matches are asked for" in batch["notes"][0]


def test_what_is_said_to_fit_does_fit(monkeypatch):
    monkeypatch.setattr(dense_module, "device_memory", lambda _: 10**9)
    big = torch.zeros(1, 1, 1).expand(1, 1, 1)
    sizes = (6000, 8000)
    batch = pair(*(torch.empty(1, 1, *sizes, device="meta") for _ in range(2)))
    with pytest.raises(InputError) as refused:
        dense_module.require_memory(batch, 500, big.device)
    side = int(str(refused.value).rpartition(" ")[2])
    assert 1000 < side < 8000
    reduced = (1, 1, side * sizes[0] // sizes[1], side)
    batch = pair(*(torch.empty(reduced, device="meta") for _ in range(2)))
    dense_module.require_memory(batch, 500, big.device)


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
def test_a_container_may_have_less_memory_than_its_machine(
    tmp_path, monkeypatch, version2, version1, expected
):
    paths = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    monkeypatch.setattr(dense_module, "CONTAINER_LIMITS", paths)
    device = torch.device("cpu")
    machine = dense_module.device_memory(device)
    for path, text in zip(paths, (version2, version1), strict=True):
        if text is not None:
            path.write_text(text)
    assert dense_module.device_memory(device) == (machine if expected is None else expected)


def test_the_memory_of_this_machine_is_known_or_not():
    memory = dense_module.device_memory(torch.device("cpu"))
    assert memory is None or memory > 10**8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, "patch_size must be at least 1 pixel, got 0"),
        ({"preset": "quick"}, "preset must be one of fast, balanced, accurate, plain, got 'quick'"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
        ({"features": "hsv"}, "features must be one of rgb, gray, contrast, got 'hsv'"),
        ({"norm": "l3"}, "norm must be one of l2, l1, got 'l3'"),
        ({"seed": 2**64}, "seed must be a number of 64 bits, got 18446744073709551616"),
        ({"reach": -1}, "reach must be at least 0 pixels, got -1"),
        ({"tolerance": -1.0}, "tolerance must be at least 0 pixels, got -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PatchMatch(**options)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_there_is_nothing_to_train(stage):
    with pytest.raises(InputError, match="PatchMatch learns nothing"):
        PatchMatch().setup(stage)


def test_it_is_one_of_the_matchers():
    assert issubclass(PatchMatch, Matcher)
    assert PatchMatch.predict_config == "config_reconstruct_predict.yaml"
    assert set(PatchMatch().hparams) >= {"patch_size", "preset", "seed", "both_ways"}
