"""Training of LoFTR and SE(2)-LoFTR at a small size: overfitting, checkpoints, matches."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from textures import blobs
from torch.testing import assert_close
from torch.utils.data import DataLoader

import patchmatch
from patchmatch.cli import main
from patchmatch.io import write_image
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange
from patchmatch.pairs.loftr.data import FlowPairDataset
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.loftr.net import LoFTRStages, build_loftr
from patchmatch.public.pairs import load_pair_matcher
from patchmatch.synthetic.scenes import SceneDataset

SMALL = {"channels": (8, 12, 16), "layers": 1, "heads": 2, "fine_layers": 0}
QUICK = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
TINY = [
    *("--data.train_pairs=2", "--data.eval_pairs=2", "--data.batch_size=2", "--data.canvases=1"),
    *("--data.side=64", "--data.num_workers=0", "--data.scenes=0.5", "--trainer.max_epochs=1"),
    *("--model.channels=[8,12,16]", "--model.heads=2", "--trainer.precision=32-true"),
    *("--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.callbacks+=ModelCheckpoint"),
    *("--trainer.callbacks.dirpath=saved", "--trainer.callbacks.filename=mine", *QUICK),
]


def trainer(**settings):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **settings)


def loader(side=96, size=4):
    sources = [blobs(160, 190, seed, spacing=10) for seed in range(2)]
    warped = HomographyDataset(
        sources, size, 0, side, WarpRange(corner_shift=0.1, turn=10, disturbed=None)
    )
    scenes = SceneDataset(sources, size, 0, side, side)
    return DataLoader(FlowPairDataset(warped, scenes, 0.0), batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LoFTRMatcher, {"channels": (16, 24, 48), "heads": 4}),
        (SE2LoFTRMatcher, {"channels": (16, 24, 48), "heads": 4, "fields": (2, 3, 4)}),
    ],
)
def test_training_overfits_four_pairs(kind, options):
    torch.manual_seed(0)
    matcher = kind(**{**SMALL, **options}, normalize=True, lr=5e-3)
    data, test = loader(), trainer()
    before = trainer().validate(_fresh(matcher), data, verbose=False)[0]
    trainer(max_epochs=120).fit(matcher, data)
    after = test.validate(matcher, data, verbose=False)[0]
    assert before["val/right"] < 0.3
    assert after["val/right"] > 0.6
    assert after["val/right"] > 3 * before["val/right"]
    assert after["val/precision_8"] > 0.7
    assert after["val/recall_8"] > 0.2
    assert before["val/recall_8"] < 0.1


def _fresh(matcher):
    matcher.is_trained = True  # evaluate random weights
    return matcher


def test_a_step_trains_the_coarse_and_the_fine_stage():
    torch.manual_seed(0)
    matcher = LoFTRMatcher(**{**SMALL, "fine_layers": 1})
    logged = {}
    matcher.log = lambda name, value, **_: logged.update({name: float(value.detach())})
    loss = matcher.training_step(next(iter(loader(64))), 0)
    loss.backward()
    assert float(loss) == pytest.approx(logged["train/coarse_loss"] + logged["train/fine_loss"])
    assert all(p.grad is not None and p.grad.isfinite().all() for p in matcher.parameters())
    for part in ("backbone", "loftr_coarse", "fine_preprocess", "loftr_fine"):
        grads = [p.grad.abs().max() for p in getattr(matcher.net, part).parameters()]
        assert max(grads) > 0


def test_a_batch_without_true_matches_has_no_loss():
    torch.manual_seed(0)
    matcher = LoFTRMatcher(**SMALL)
    matcher.log = lambda *_, **__: None
    batch = next(iter(loader(64)))
    loss = matcher.training_step({**batch, "valid": torch.zeros_like(batch["valid"])}, 0)
    loss.backward()
    assert float(loss) == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in matcher.parameters())


@pytest.mark.parametrize("fine_layers", [0, 1])
def test_stages_for_training_are_those_of_kornia(fine_layers):
    """The same probabilities and fine positions as kornia's forward pass in evaluation."""
    torch.manual_seed(0)
    net = build_loftr((8, 12, 16), 1, 2, fine_layers).eval()
    net.coarse_matching.thr = 0.0
    image0 = torch.rand(1, 1, 64, 72)
    image1 = torch.roll(image0, 8, 3)
    data = {}
    inner = net.fine_matching.forward
    net.fine_matching.forward = lambda f0, f1, d: (inner(f0, f1, d), data.update(d))[0]
    with torch.no_grad():
        found = net({"image0": image0, "image1": image1})
        stages = LoFTRStages(net, torch.cat([image0, image1]), shift_encoding=False)
        scores = stages.scores()
        refined = stages.refine(data["b_ids"], data["i_ids"], data["j_ids"])
    assert len(found["confidence"]) > 3
    probability = scores.softmax(1) * scores.softmax(2)
    assert_close(probability, data["conf_matrix"])
    assert_close(refined.expected, data["expec_f"][:, :2], atol=1e-5, rtol=1e-4)
    centre = 8 * torch.stack([data["j_ids"] % 9, data["j_ids"] // 9], dim=1)
    assert_close(found["keypoints1"], centre + refined.radius * refined.expected)


def test_variance_of_the_heatmap_is_that_of_a_uniform_one():
    torch.manual_seed(0)
    net = build_loftr((8, 12, 16), 0, 2, 0).eval()
    stages = LoFTRStages(net, torch.zeros(2, 1, 32, 32), shift_encoding=False)
    stages.fine = (torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 16, 16))
    index = torch.tensor([5])
    refined = stages.refine(torch.zeros(1).long(), index, index)
    assert_close(refined.expected, torch.zeros(1, 2))
    assert_close(refined.variance, torch.tensor([1.0]))  # twice the variance of -1, -.5, 0, .5, 1
    assert refined.radius == 4.0


@pytest.mark.parametrize(
    ("name", "kind"), [("loftr", LoFTRMatcher), ("se2_loftr", SE2LoFTRMatcher)]
)
def test_fit_test_predict_and_load(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = ["--model.fields=[1,1,2]"] if name == "se2_loftr" else []
    main(["fit", "-c", name, *TINY, *fields])
    checkpoint = Path("saved/mine.ckpt")
    settings = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    assert settings["_class_path"].endswith(kind.__name__)
    assert {"max_size", "confidence", "tile"}.isdisjoint(settings)
    main(["test", "-c", name, *TINY[:11], *fields, f"--ckpt_path={checkpoint}",
          "--trainer.logger=false", "--trainer.callbacks=[]", *QUICK])  # fmt: skip
    scene = blobs(96, 128, 1, spacing=12)
    for side in ("image_1", "image_2"):
        Path(side).mkdir()
        write_image(Path(side) / "a.png", scene)
    main(["predict", "-c", f"match_{name}", f"--ckpt_path={checkpoint}", "--data.pairs=.",
          "--writer.output_path=out", *QUICK])  # fmt: skip
    assert Path("out/pairs.csv").is_file()
    matcher = load_pair_matcher(name, checkpoint, {"confidence": 0.0, "max_size": 128})
    assert not matcher.training
    found = patchmatch.match_images(scene, scene, matcher)
    # image 0 in cells of 8 pixels whose centres are at multiples of 8; no offset of half a pixel
    assert len(found) > 0
    assert (found.keypoints0 % 8 == 0).all()
    again = patchmatch.match_images(
        scene, scene, name, ckpt_path=checkpoint, confidence=0.0, max_size=128
    )
    assert torch.equal(found.keypoints1, again.keypoints1)


def test_weights_in_memory_are_kept_after_a_fit_in_python():
    torch.manual_seed(0)
    matcher = LoFTRMatcher(**SMALL, confidence=0.0, max_size=64)
    trainer(max_epochs=1).fit(matcher, loader(64))
    weights = {key: value.clone() for key, value in matcher.state_dict().items()}
    image = torch.from_numpy(blobs(64, 64, 1)).movedim(-1, 0)[None] / 255
    matcher.eval().match(image, image)  # would raise if it loaded pretrained weights
    assert all(torch.equal(value, weights[key]) for key, value in matcher.state_dict().items())


def test_se2_features_do_not_change_under_quarter_turns():
    torch.manual_seed(0)
    net = build_loftr((8, 12, 16), 0, 2, 0, (1, 2, 2)).eval()
    noise = np.random.default_rng(0).random((17, 17)).astype(np.float32)
    image = torch.from_numpy(cv2.resize(noise, (65, 65)))[None, None]
    with torch.no_grad():
        coarse, turned = (net.backbone(i)[0] for i in (image, torch.rot90(image, 1, (2, 3))))
    assert (torch.rot90(coarse, 1, (2, 3)) - turned).norm() < 1e-4 * coarse.norm()
    assert (coarse - turned).norm() > 0.1 * coarse.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (8, 12, 18)}, "channels at 1/8 must be a multiple of 4, got 18"),
        ({"channels": (9, 12, 16)}, "channels 9 must be a multiple of the 2 heads"),
        ({"layers": -1}, "layers must be at least 0"),
        ({"confidence": 1.0}, "confidence must be at least 0 and below 1"),
    ],
)
def test_wrong_sizes_raise(options, message):
    with pytest.raises(ValueError, match=message):
        LoFTRMatcher(**{**SMALL, **options})
