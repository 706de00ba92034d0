import pytest
import torch
from pytorch_lightning import Trainer
from torch.testing import assert_close
from torch.utils.data import DataLoader, default_collate

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.nnf.differentiable.loss import known_flow, whole_patches
from patchmatch.nnf.differentiable.matcher import DifferentiablePatchMatch
from patchmatch.nnf.differentiable.warped_pairs import WarpedPairs, WarpedPhotographs
from patchmatch.nnf.gain_offset import Light, apply_gain_offset
from patchmatch.synthetic.photographs import bundled_photographs


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(*shape, seed=0):
    small = noise(*shape[:2], shape[2] // 2 + 2, shape[3] // 2 + 2, seed=seed)
    coarse = torch.nn.functional.interpolate(small, shape[2:], mode="bicubic")
    return (0.7 * coarse + 0.3 * noise(*shape, seed=seed + 1)).clamp(0, 1)


def rgb(**settings):
    return DifferentiablePatchMatch(features="rgb", **settings)


def last(matcher, *images, **masks):
    *_, field = matcher.fields(*images, **masks)
    return field


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_cost_is_that_of_the_patch_around_the_pixel(size, norm):
    image0, image1 = smooth(2, 3, 13, 17), smooth(2, 3, 15, 12, seed=5)
    flow, cost = last(rgb(patch_size=size, norm=norm, candidates=2), image0, image1)
    assert flow.dtype == torch.long
    assert flow.shape == (2, 2, 2, 13, 17)
    assert cost.shape == (2, 2, 13, 17)
    first = size // 2
    for b, k, y, x in torch.cartesian_prod(*map(torch.arange, cost.shape)).tolist():
        # near the border what counts is the nearest pixel whose patch lies inside
        top = min(max(y - first, 0), 13 - size)
        left = min(max(x - first, 0), 17 - size)
        dx, dy = flow[b, k, :, y, x].tolist()
        here = image0[b, :, top : top + size, left : left + size]
        there = image1[b, :, top + dy : top + dy + size, left + dx : left + dx + size]
        apart = here - there
        want = apart.square().sum() if norm == "l2" else apart.abs().sum()
        assert cost[b, k, y, x].item() == pytest.approx(want.item(), rel=1e-4)


@pytest.mark.parametrize("features", ["rgb", "contrast", "learned"])
def test_identical_images_give_exactly_the_zero_field(features):
    image = noise(2, 3, 23, 30)
    for field in DifferentiablePatchMatch(features=features, context=7).fields(image, image):
        assert (field.flow == 0).all()
        assert (field.cost == 0).all()


@pytest.mark.parametrize("features", ["rgb", "contrast", "learned"])
def test_a_shift_is_found_away_from_the_border(features):
    canvas = smooth(1, 3, 70, 80)
    image0, image1 = canvas[..., 8:56, 10:70], canvas[..., 5:53, 17:77]
    field = last(DifferentiablePatchMatch(features=features, context=7), image0, image1)
    found = field.flow[0, 0, :, 12:-12, 16:-16]
    right = (found[0] == -7) & (found[1] == 3)
    assert right.float().mean() > 0.97


def test_several_matches_are_all_different_and_the_best_come_first():
    image0, image1 = smooth(2, 3, 20, 26), smooth(2, 3, 24, 21, seed=5)
    for field in rgb(candidates=3, patch_size=3).fields(image0, image1):
        assert (field.cost.diff(dim=1) >= 0).all()
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert (field.flow[:, i] != field.flow[:, j]).any(dim=1).all()


def test_masks_say_what_is_matched_and_with_what():
    image = smooth(2, 3, 24, 28)
    valid0, valid1 = (torch.ones(2, 24, 28, dtype=torch.bool) for _ in range(2))
    valid0[0, :9], valid1[1, 8:16, 6:20] = False, False
    flow, cost = last(rgb(patch_size=5), image, image, valid0=valid0, valid1=valid1)
    assert torch.equal(cost[:, 0].isinf(), ~valid0)
    assert (flow[0, 0, :, 9:] == 0).all()
    y, x = torch.meshgrid(torch.arange(2, 22), torch.arange(2, 26), indexing="ij")
    dx, dy = flow[1, 0, :, 2:22, 2:26]
    assert valid1[1, y + dy, x + dx].all()


def test_another_light_changes_nothing_of_what_is_found():
    image = smooth(1, 3, 60, 80) * 0.6 + 0.1
    image0, image1 = image[..., 8:-4], image[..., 4:-8]
    matcher = DifferentiablePatchMatch(16, 9)
    light = Light(torch.tensor([[0.7, 0.75, 0.72]]), torch.tensor([[0.05, 0.03, 0.04]]))
    found = matcher.find_light(image0, apply_gain_offset(image1, light))
    assert_close(found.gain, light.gain, rtol=0, atol=0.03)
    assert_close(found.offset, light.offset, rtol=0, atol=0.02)
    right = []
    for settings, seen in (
        ({}, image1),
        ({}, apply_gain_offset(image1, light)),
        ({"light": False}, None),
    ):
        matcher = DifferentiablePatchMatch(16, 9, **settings)
        flow = last(
            matcher, image0, apply_gain_offset(image1, light) if seen is None else seen
        ).flow[:, 0]
        known = flow[..., 5:-5, 5:-9] == torch.tensor([4, 0])[:, None, None]
        right.append(known.all(dim=1).float().mean().item())
    same, changed, not_undone = right
    assert changed > same - 0.03 > 0.9
    assert not_undone < 0.5


def test_the_light_is_told_from_what_is_matched():
    image0 = smooth(1, 3, 40, 50) * 0.6 + 0.1
    image1 = 0.7 * image0
    image1[..., :25] = image0[..., :25]
    valid = torch.zeros(1, 40, 50, dtype=torch.bool)
    valid[..., 28:] = True
    matcher = DifferentiablePatchMatch(16, 9)
    light = matcher.find_light(image0, image1, valid, valid)
    assert_close(light.gain, torch.full((1, 3), 0.7), rtol=0, atol=0.02)


def test_the_same_seed_gives_the_same_field_and_a_batch_what_single_pairs_give():
    image0, image1 = smooth(2, 3, 20, 26), smooth(2, 3, 24, 21, seed=5)
    one, again, other = (last(rgb(seed=seed), image0, image1) for seed in (1, 1, 2))
    assert torch.equal(one.flow, again.flow)
    assert not torch.equal(one.flow, other.flow)
    for i in range(2):
        alone = last(rgb(seed=1), image0[i : i + 1], image1[i : i + 1])
        assert torch.equal(alone.flow[0], one.flow[i])


def test_blank_images_stay_where_they_are():
    blank = torch.full((1, 3, 16, 20), 0.5)
    for features in ("rgb", "contrast", "learned"):
        field = last(DifferentiablePatchMatch(features=features, context=7), blank, blank * 0.8)
        assert (field.flow == 0).all()
        assert field.cost.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "shapes", "message"),
    [
        (
            {},
            ((1, 3, 12, 40), (1, 3, 40, 40)),
            "image 0 of 40x12 pixels is smaller than a patch",
        ),
        ({"features": "rgb"}, ((1, 3, 9, 9), (1, 3, 9, 6)), "image 1 of 6x9 .* a patch of 7"),
        ({}, ((1, 3, 20, 20), (1, 1, 20, 20)), "image 0 has 3 channels and image 1 has 1"),
        ({}, ((1, 2, 20, 20), (1, 2, 20, 20)), "need images of 1 or 3 channels, got 2"),
    ],
)
def test_images_that_cannot_be_matched_are_refused(settings, shapes, message):
    matcher = DifferentiablePatchMatch(**settings)
    with pytest.raises(InputError, match=message):
        list(matcher.fields(*(torch.zeros(shape) for shape in shapes)))


def test_what_would_fill_the_memory_is_refused_with_a_size_that_fits():
    large = torch.zeros(1, 1, 1, 1).expand(1, 3, 4320, 7680)
    with pytest.raises(InputError, match=r"7680x4320 pixels would take 95 GB.* to 2229x1254"):
        list(rgb().fields(large, torch.zeros(1, 3, 20, 20)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "deep"}, "features must be one of learned, rgb, contrast, got 'deep'"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
        ({"norm": "l3"}, "norm must be l2 or l1, got 'l3'"),
        ({"reach": 0}, "reach must be at least 1 pixel"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DifferentiablePatchMatch(**settings)


def test_the_known_flow_leads_from_whole_patches_to_whole_patches():
    flow, valid = torch.zeros(1, 2, 6, 8), torch.ones(1, 6, 8, dtype=torch.bool)
    flow[:, 0], flow[:, 1, 3] = -1, 2
    valid[0, 2, 5] = False
    truth, known = known_flow(flow, valid, 4)
    assert torch.equal(truth, flow[:, :, 2:5, 2:7])
    assert known[0].tolist() == [
        [False, True, True, False, True],
        [False] * 5,
        [False, True, True, True, True],
    ]
    assert_close(whole_patches(flow, 1), flow)


def pictures():
    """Smooth pictures, uint8."""
    return [(smooth(1, 3, 90, 100, seed=i)[0].movedim(0, -1) * 255).byte().numpy() for i in (0, 9)]


def test_it_learns_from_four_pairs():
    torch.manual_seed(0)
    pairs = WarpedPairs(pictures(), 4, 5, 40, 5)
    batch = default_collate([pairs[i] for i in range(4)])
    matcher = DifferentiablePatchMatch(16, 7, lr=0.1)

    @torch.no_grad()
    def measured():
        torch.manual_seed(0)
        loss, error = matcher.tried(batch)
        return loss.item(), error.mean().item()

    before = measured()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=20,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(matcher, DataLoader(pairs, batch_size=4), DataLoader(pairs, batch_size=4))
    after = measured()
    assert after[0] < 0.85 * before[0]
    assert after[1] < 0.7 * before[1]
    temperature = matcher.search.evaluation.log_temperature.exp().item()
    assert 5 < temperature < 50
    assert temperature != pytest.approx(10)


@pytest.fixture(scope="module")
def shipped():
    path = shipped_checkpoint(str(DifferentiablePatchMatch.shipped_weights))
    checkpoint = read_checkpoint(path)
    settings = {k: v for k, v in checkpoint["hyper_parameters"].items() if k[0] != "_"}
    matcher = DifferentiablePatchMatch(**settings)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher


@torch.no_grad()
def test_features_were_worth_training_on_pictures_left_out(shipped):
    if len(bundled_photographs()) < 16:
        pytest.skip("photographs come with scikit-image and scikit-learn")
    data = WarpedPhotographs(eval_pairs=4)
    data.setup("test")
    batch = default_collate([data.sets["test"][i] for i in range(4)])
    _, known = known_flow(batch["flow"], batch["valid"], shipped.span)
    inside = torch.nn.functional.pad(known, (shipped.span // 2,) * 4)
    learned, raw, large = (
        (last(m, batch["image0"], batch["image1"]).flow[:, 0] - batch["flow"]).norm(dim=1)[inside]
        for m in (shipped, rgb(), rgb(patch_size=11))
    )
    assert learned.mean() < 0.9 * min(raw.mean(), large.mean())
    assert (learned < 1).float().mean() > max((raw < 1).float().mean(), (large < 1).float().mean())
