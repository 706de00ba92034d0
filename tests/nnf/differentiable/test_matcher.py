import pytest
import torch
from pytorch_lightning import Trainer
from torch.testing import assert_close
from torch.utils.data import DataLoader, default_collate

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.nnf.differentiable.loss import patch_ground_truth
from patchmatch.nnf.differentiable.matcher import DifferentiablePatchMatch
from patchmatch.nnf.differentiable.warped_pairs import WarpedPairs, WarpedPhotographs
from patchmatch.nnf.gain_offset import GainOffset, apply_gain_offset
from patchmatch.nnf.grid import crop_to_patches
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
def test_the_cost_is_that_of_the_patch_centred_on_the_pixel(size, norm):
    image0, image1 = smooth(2, 3, 13, 17), smooth(2, 3, 15, 12, seed=5)
    flow, cost = last(rgb(patch_size=size, norm=norm, k=2), image0, image1)
    assert flow.dtype == torch.long
    assert flow.shape == (2, 2, 2, 13, 17)
    assert cost.shape == (2, 2, 13, 17)
    first = size // 2
    for b, k, y, x in torch.cartesian_prod(*map(torch.arange, cost.shape)).tolist():
        # pixels at the border have the cost of the nearest whole patch
        top = min(max(y - first, 0), 13 - size)
        left = min(max(x - first, 0), 17 - size)
        dx, dy = flow[b, k, :, y, x].tolist()
        own = image0[b, :, top : top + size, left : left + size]
        target = image1[b, :, top + dy : top + dy + size, left + dx : left + dx + size]
        difference = own - target
        expected = difference.square().sum() if norm == "l2" else difference.abs().sum()
        assert cost[b, k, y, x].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("features", ["rgb", "contrast", "learned"])
def test_identical_images_give_zero_flow_and_zero_cost(features):
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
    correct = (found[0] == -7) & (found[1] == 3)
    assert correct.float().mean() > 0.97


def test_k_matches_all_differ_and_are_sorted_best_first():
    image0, image1 = smooth(2, 3, 20, 26), smooth(2, 3, 24, 21, seed=5)
    for field in rgb(k=3, patch_size=3).fields(image0, image1):
        assert (field.cost.diff(dim=1) >= 0).all()
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert (field.flow[:, i] != field.flow[:, j]).any(dim=1).all()


def test_masks_limit_queries_and_targets():
    image = smooth(2, 3, 24, 28)
    valid0, valid1 = (torch.ones(2, 24, 28, dtype=torch.bool) for _ in range(2))
    valid0[0, :9], valid1[1, 8:16, 6:20] = False, False
    flow, cost = last(rgb(patch_size=5), image, image, valid0=valid0, valid1=valid1)
    assert torch.equal(cost[:, 0].isinf(), ~valid0)
    assert (flow[0, 0, :, 9:] == 0).all()
    y, x = torch.meshgrid(torch.arange(2, 22), torch.arange(2, 26), indexing="ij")
    dx, dy = flow[1, 0, :, 2:22, 2:26]
    assert valid1[1, y + dy, x + dx].all()


def test_gain_and_offset_do_not_change_the_flow():
    image = smooth(1, 3, 60, 80) * 0.6 + 0.1
    image0, image1 = image[..., 8:-4], image[..., 4:-8]
    matcher = DifferentiablePatchMatch(16, 9)
    gain, offset = torch.tensor([[0.7, 0.75, 0.72]]), torch.tensor([[0.05, 0.03, 0.04]])
    changed1 = apply_gain_offset(image1, GainOffset(gain, offset))
    found = matcher.find_gain_offset(image0, changed1)
    assert_close(found.gain, gain, rtol=0, atol=0.03)
    assert_close(found.offset, offset, rtol=0, atol=0.02)

    def correct(image, **options):
        flow = last(DifferentiablePatchMatch(16, 9, **options), image0, image).flow[:, 0]
        is_correct = flow[..., 5:-5, 5:-9] == torch.tensor([4, 0])[:, None, None]
        return is_correct.all(dim=1).float().mean().item()

    assert correct(changed1) > correct(image1) - 0.03 > 0.9
    assert correct(changed1, gain_offset=False) < 0.5


def test_masked_pixels_do_not_affect_gain_and_offset():
    image0 = smooth(1, 3, 40, 50) * 0.6 + 0.1
    image1 = 0.7 * image0
    image1[..., :25] = image0[..., :25]
    valid = torch.zeros(1, 40, 50, dtype=torch.bool)
    valid[..., 28:] = True
    matcher = DifferentiablePatchMatch(16, 9)
    found = matcher.find_gain_offset(image0, image1, valid, valid)
    assert_close(found.gain, torch.full((1, 3), 0.7), rtol=0, atol=0.02)


def test_the_field_depends_on_the_seed_and_not_on_the_batch():
    image0, image1 = smooth(2, 3, 20, 26), smooth(2, 3, 24, 21, seed=5)
    one, again, other = (last(rgb(seed=seed), image0, image1) for seed in (1, 1, 2))
    assert torch.equal(one.flow, again.flow)
    assert not torch.equal(one.flow, other.flow)
    for i in range(2):
        alone = last(rgb(seed=1), image0[i : i + 1], image1[i : i + 1])
        assert torch.equal(alone.flow[0], one.flow[i])


def test_blank_images_give_zero_flow():
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
        (
            {},
            ((1, 2, 20, 20), (1, 2, 20, 20)),
            "must have 1 or 3 channels for learned features, got 2",
        ),
    ],
)
def test_images_that_cannot_be_matched_raise(settings, shapes, message):
    matcher = DifferentiablePatchMatch(**settings)
    with pytest.raises(InputError, match=message):
        list(matcher.fields(*(torch.zeros(shape) for shape in shapes)))


def test_images_too_large_for_the_memory_raise_with_a_size_that_fits():
    large = torch.zeros(1, 1, 1, 1).expand(1, 3, 4320, 7680)
    with pytest.raises(InputError, match=r"7680x4320 pixels would require 95 GB.* to 2229x1254"):
        list(rgb().fields(large, torch.zeros(1, 3, 20, 20)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "deep"}, "features must be one of learned, rgb, contrast, got 'deep'"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"norm": "l3"}, "norm must be one of l1, l2, got 'l3'"),
        ({"max_displacement": 0}, "max_displacement must be at least 1 pixel"),
    ],
)
def test_invalid_options_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        DifferentiablePatchMatch(**settings)


def test_ground_truth_is_valid_where_it_leads_to_whole_patches():
    flow, valid = torch.zeros(1, 2, 6, 8), torch.ones(1, 6, 8, dtype=torch.bool)
    flow[:, 0], flow[:, 1, 3] = -1, 2
    valid[0, 2, 5] = False
    true_flow, valid = patch_ground_truth(flow, valid, 4)
    assert torch.equal(true_flow, flow[:, :, 2:5, 2:7])
    assert valid[0].tolist() == [
        [False, True, True, False, True],
        [False] * 5,
        [False, True, True, True, True],
    ]
    assert_close(crop_to_patches(flow, 1), flow)


def smooth_images():
    """Return two smooth images, (H, W, 3) uint8."""
    return [(smooth(1, 3, 90, 100, seed=i)[0].movedim(0, -1) * 255).byte().numpy() for i in (0, 9)]


def test_training_on_four_pairs_reduces_loss_and_error():
    torch.manual_seed(0)
    pairs = WarpedPairs(smooth_images(), 4, 5, 40, 5)
    batch = default_collate([pairs[i] for i in range(4)])
    matcher = DifferentiablePatchMatch(16, 7, lr=0.1)

    @torch.no_grad()
    def measured():
        torch.manual_seed(0)
        loss, error = matcher.compute_loss(batch)
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
def test_shipped_features_beat_patches_on_test_photographs(shipped):
    if len(bundled_photographs()) < 16:
        pytest.skip("photographs come with scikit-image and scikit-learn")
    data = WarpedPhotographs(eval_pairs=4)
    data.setup("test")
    batch = default_collate([data.sets["test"][i] for i in range(4)])
    _, valid = patch_ground_truth(batch["flow"], batch["valid"], shipped.support)
    inside = torch.nn.functional.pad(valid, (shipped.support // 2,) * 4)
    learned, raw, large = (
        (last(m, batch["image0"], batch["image1"]).flow[:, 0] - batch["flow"]).norm(dim=1)[inside]
        for m in (shipped, rgb(), rgb(patch_size=11))
    )
    assert learned.mean() < 0.9 * min(raw.mean(), large.mean())
    assert (learned < 1).float().mean() > max((raw < 1).float().mean(), (large < 1).float().mean())
