import cv2
import numpy as np
import pytest
import torch
from textures import smooth

from patchmatch.io import write_image
from patchmatch.nnf.differentiable.warped_pairs import (
    WarpedPairs,
    WarpedPhotographs,
    degrade_views,
    leads_inside,
    render_views,
    sample_smooth_flow,
)
from patchmatch.synthetic.photographs import bundled_photographs, load_rgb_image


@pytest.fixture
def pairs():
    return WarpedPairs([smooth(150, 170), smooth(130, 220, 1)], 6, 3, 64, 8, degraded=None)


def warp_backward(image1, flow):
    """Return image 1 at the targets of a flow, (C, H, W)."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    dx, dy = flow.numpy()
    image = image1.movedim(0, -1).numpy()
    read = cv2.remap(image, x + dx, y + dy, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return torch.from_numpy(read).movedim(-1, 0)


def test_image0_equals_image1_at_the_targets_of_the_flow(pairs):
    for i in range(6):
        item = pairs[i]
        error = (warp_backward(item["image1"], item["flow"]) - item["image0"]).abs().amax(dim=0)
        inside = item["valid"]
        assert error[inside].quantile(0.99) < 0.02
        reverse = (warp_backward(item["image1"], -item["flow"]) - item["image0"]).abs().amax(dim=0)
        assert reverse[inside].mean() > 5 * error[inside].mean()


def test_pairs_differ_in_flow_and_their_images_are_equally_sharp(pairs):
    flows = torch.stack([pairs[i]["flow"] for i in range(6)])
    assert flows.flatten(2).mean(dim=2).std(dim=0).min() > 2
    assert flows.flatten(2).std(dim=2).min() > 1
    images = ([pairs[i][name] for i in range(6)] for name in ("image0", "image1"))
    sharpness = [torch.stack(views).diff(dim=3).abs().mean() for views in images]
    assert 0.8 < sharpness[0] / sharpness[1] < 1.25


def test_valid_pixels_lead_inside_image1():
    flow = np.zeros((3, 4, 2), np.float32)
    flow[0, 0] = -0.1, 0
    flow[1, 2] = 1, 1
    flow[2, 3] = 0, 0.1
    flow[1, 0] = 3.1, 0
    assert leads_inside(flow).tolist() == [
        [False, True, True, True],
        [False, True, True, True],
        [True, True, True, False],
    ]


def test_the_flow_is_smooth_and_limited():
    rng = np.random.default_rng(0)
    for _ in range(20):
        flow = sample_smooth_flow(64, 8.0, rng)
        assert np.abs(np.diff(flow, axis=0)).max() < 1  # no folds
        assert np.abs(np.diff(flow, axis=1)).max() < 1
        assert (
            np.abs(flow[30:34, 30:34].mean(axis=(0, 1))).max() < 8 + 10
        )  # plus three sigma of bending
    assert np.abs(sample_smooth_flow(64, 0.0, rng)).max() < 25


def test_degradation_changes_the_images_but_not_the_flow(pairs):
    clean = pairs[2]
    pairs.degraded = 1.0
    changed = pairs[2]
    assert torch.equal(clean["flow"], changed["flow"])
    assert not torch.equal(clean["image0"], changed["image0"])
    assert changed["image0"].dtype == torch.float32
    assert 0 <= changed["image1"].min() <= changed["image1"].max() <= 1
    gray = np.full((32, 32, 3), 0.5, np.float32)
    weak = [
        degrade_views(gray, gray, 0.0, np.random.default_rng(i))[0].std() * 255 for i in range(20)
    ]
    assert max(weak) < 2.2


def test_small_images_are_mirrored_beyond_their_border():
    view0, view1 = render_views(smooth(20, 24), np.zeros((40, 40, 2)), np.random.default_rng(0))
    assert view0.shape == (40, 40, 3)
    assert np.array_equal(view0, view1)
    assert view0.std(axis=(0, 1)).min() > 0.01


def test_a_pair_depends_on_its_index_epoch_and_seed_only(pairs):
    one, again = pairs[1, 4], pairs[1, 4]
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(pairs[0, 4]["flow"], one["flow"])
    assert torch.equal(pairs[4]["flow"], pairs[0, 4]["flow"])
    with pytest.raises(IndexError):
        pairs[6]


def test_bundled_photographs_are_split_and_exclude_the_stereo_pair():
    pytest.importorskip("skimage", reason="photographs come with scikit-image")
    names = [path.name for path in bundled_photographs()]
    assert len(names) == len(set(names)) >= 14
    assert not any("motorcycle" in name for name in names)
    data = WarpedPhotographs(train_pairs=2, eval_pairs=2)
    data.setup("fit")
    data.setup("test")
    assert len(data.sets["train"].sources) >= 8
    assert all(max(p.shape) <= 512 for p in data.sets["val"].sources)


def test_without_photographs_images_are_generated_from_digits(monkeypatch):
    monkeypatch.setattr("patchmatch.synthetic.image_source.bundled_photographs", list)
    digits = np.random.default_rng(0).integers(0, 255, (50, 28, 28)).astype(np.uint8)
    monkeypatch.setattr("patchmatch.synthetic.dataset.load_digits", lambda *_: digits)
    data = WarpedPhotographs(train_pairs=2, eval_pairs=2, canvases=5)
    with pytest.warns(UserWarning, match="using dead-leaves images"):
        data.setup("test")
    assert data.sets["test"][0]["image0"].shape == (3, 96, 96)


def test_large_images_are_reduced_and_gray_images_become_rgb(tmp_path):
    write_image(tmp_path / "large.png", smooth(60, 1024)[..., 0])
    assert load_rgb_image(tmp_path / "large.png").shape == (30, 512, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 31}, "side must be at least 32 pixels, got 31"),
        ({"max_shift": 49.0}, "max_shift must lie between 0 and half of side, 48, got 49.0"),
        ({"train_pairs": 0}, "train_pairs must be at least 1, got 0"),
    ],
)
def test_invalid_options_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        WarpedPhotographs(**settings)
