"""Training pairs of detector-free matchers."""

import numpy as np
import pytest
import torch
from textures import blobs
from torch.testing import assert_close

from patchmatch.cli import main
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange
from patchmatch.pairs.loftr.data import FlowPairDataset, FlowPairs
from patchmatch.synthetic.scenes import SceneDataset


def dataset(scenes):
    sources = [blobs(100, 120, seed, spacing=12) for seed in range(3)]
    warped = HomographyDataset(sources, 8, 5, 64, WarpRange(turn=20))
    return FlowPairDataset(warped, SceneDataset(sources, 8, 5, 64, 64), scenes), warped


def test_flow_of_warped_images_is_that_of_their_homography():
    pairs, warped = dataset(0.0)
    pair, truth = pairs[(1, 2)], warped[(1, 2)]
    assert torch.equal(pair["image1"], truth["image1"])
    assert torch.equal(pair["valid"], truth["valid"])
    assert (pair["flow"][:, ~pair["valid"]] == 0).all()
    y, x = pair["valid"].nonzero()[37].tolist()
    mapped = truth["homography"] @ torch.tensor([x, y, 1.0]).double()
    expected = mapped[:2] / mapped[2] - torch.tensor([x, y])
    assert_close(pair["flow"][:, y, x], expected.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scenes", [0.0, 1.0])
def test_pairs_have_the_fields_of_a_batch(scenes):
    pair = dataset(scenes)[0][3]
    assert {name: (tuple(value.shape), value.dtype) for name, value in pair.items()} == {
        "image0": ((3, 64, 64), torch.float32),
        "image1": ((3, 64, 64), torch.float32),
        "flow": ((2, 64, 64), torch.float32),
        "valid": ((64, 64), torch.bool),
    }


def test_share_of_scenes_is_kept(monkeypatch):
    pairs, _ = dataset(0.3)
    monkeypatch.setattr(pairs.scene_pairs, "make", lambda _: dict.fromkeys(
        ("image0", "image1", "flow", "valid"), "scene"))  # fmt: skip
    monkeypatch.setattr(pairs.image_pairs, "make", lambda _: {
        "valid": torch.ones(1, 1).bool(), "homography": torch.eye(3)})  # fmt: skip
    rng = np.random.default_rng(0)
    scenes = sum(pairs.make(rng).get("image0") == "scene" for _ in range(500))
    assert 0.25 < scenes / 500 < 0.35


@pytest.mark.parametrize("scenes", [0.0, 1.0])
def test_crops_show_the_same_at_the_flow(scenes):
    pairs, _ = dataset(scenes)
    pairs.margin = 24
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    pair = pairs.make(rng)
    assert pair["image0"].shape == (3, 40, 40)
    rng.bit_generator.state, pairs.margin = state, 0
    whole = pairs.make(rng)
    (x0, y0), (x1, y1) = (rng.integers(25, size=2).tolist() for _ in range(2))
    assert (x0, y0) != (x1, y1)
    assert torch.equal(pair["image1"], whole["image1"][:, y1 : y1 + 40, x1 : x1 + 40])
    y, x = pair["valid"].nonzero().T
    target = torch.stack([x, y]) + pair["flow"][:, y, x]
    assert 0 <= target.min() <= target.max() <= 39
    expected = torch.stack([x + x0, y + y0]) + whole["flow"][:, y + y0, x + x0]
    assert_close(target + torch.tensor([[x1], [y1]]), expected)
    inside = whole["valid"][y0 : y0 + 40, x0 : x0 + 40]
    assert 0 < pair["valid"].sum() < inside.sum()


def test_wrong_settings_raise(capsys):
    with pytest.raises(ValueError, match="multiple of 8"):
        FlowPairs(side=100)
    with pytest.raises(ValueError, match="scenes must be between 0 and 1"):
        FlowPairs(scenes=1.5)
    with pytest.raises(ValueError, match="shift must be at least 0 and below 1"):
        FlowPairs(shift=1.0)
    with pytest.raises(SystemExit):
        main(["fit", "-c", "loftr", "--data.scenes=2", "--trainer.logger=false"])
    assert "scenes must be between 0 and 1, got 2" in capsys.readouterr().err
