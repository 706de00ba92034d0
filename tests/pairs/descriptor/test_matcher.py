"""The descriptor matcher: training, checkpoints, accuracy of the shipped weights."""

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
from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.pairs.descriptor.data import KeypointPatchDataset
from patchmatch.pairs.descriptor.matcher import DescriptorMatcher
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange

ROOT = Path(__file__).parents[3]
QUICK = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
TINY = [
    *("--data.train_pairs=2", "--data.eval_pairs=1", "--data.patches=6", "--data.batch_size=1"),
    *("--data.side=128", "--data.canvases=1", "--trainer.max_epochs=1", "--model.width=4"),
    *("--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.callbacks+=ModelCheckpoint"),
    *("--trainer.callbacks.dirpath=saved", "--trainer.callbacks.filename=mine", *QUICK),
]


def trainer(**settings):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **settings)


def test_training_overfits_a_few_patches():
    torch.manual_seed(0)
    warp = WarpRange(corner_shift=0.1, turn=20, zoom=0.2, disturbed=0.2)
    image_pairs = HomographyDataset([blobs(300, 300)], 2, 0, 160, warp)
    data = DataLoader(KeypointPatchDataset(image_pairs, 24, describe=True), batch_size=2)
    matcher = DescriptorMatcher(width=8, lr=1e-2)
    test = trainer()
    before = test.validate(matcher, data, verbose=False)[0]
    trainer(max_epochs=20).fit(matcher, data)
    after = test.validate(matcher, data, verbose=False)[0]
    assert after["val/loss"] < 0.6 * before["val/loss"]
    assert after["val/right"] > before["val/right"]
    assert after["val/rootsift_right"] == before["val/rootsift_right"] > 0.8
    assert after["val/fpr95"] < before["val/fpr95"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of training images, and a pair to match."""
    monkeypatch.chdir(tmp_path)
    for i in range(5):
        write_image(tmp_path / "images" / f"{i}.png", blobs(180, 200, i))
    scene = blobs(150, 190, 9)
    write_image(tmp_path / "left.png", scene[:, :-14])
    write_image(tmp_path / "right.png", scene[:, 14:])
    return tmp_path


def fit(*options):
    main(["fit", f"-c={ROOT}/configs/config_descriptor_train.yaml", *TINY, *options])


def predict(*options):
    config = f"-c={ROOT}/configs/config_match_descriptor.yaml"
    pairs = ("--data.pairs=left.png,right.png", "--writer.output_path=out")
    main(["predict", config, *pairs, *QUICK, *options])


def test_a_checkpoint_of_the_command_line_matches_from_python(folder):
    fit("--data.source=images")
    predict("--ckpt_path=saved/mine.ckpt", "--model.check=mutual")
    with np.load(next(Path("out").glob("pairs/*/matches.npz"))) as arrays:
        written = torch.from_numpy(arrays["keypoints0"])
    path = "saved/mine.ckpt"
    found = patchmatch.match_images(
        "left.png", "right.png", "descriptor", ckpt_path=path, check="mutual", device="cpu"
    )
    assert len(found) > 20
    assert_close(found.keypoints0, written)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["hyper_parameters"]["width"] == 4
    assert "check" not in checkpoint["hyper_parameters"]
    assert DescriptorMatcher.load_from_checkpoint(path).net.layers[0].out_channels == 2


def test_a_checkpoint_trained_in_python_predicts_on_the_command_line(folder):
    matcher = DescriptorMatcher(width=6, max_matches=40)
    warp = WarpRange(corner_shift=0.1)
    image_pairs = HomographyDataset([blobs(300, 300)], 1, 0, 160, warp)
    fitting = trainer(max_epochs=1)
    fitting.fit(matcher, DataLoader(KeypointPatchDataset(image_pairs, 8), batch_size=1))
    fitting.save_checkpoint("python.ckpt")
    predict("--ckpt_path=python.ckpt")
    assert next(Path("out").glob("pairs/*/matches.csv")).is_file()
    again = DescriptorMatcher.load_from_checkpoint("python.ckpt")
    assert torch.equal(again.net.layers[0].weight, matcher.net.layers[0].weight)
    assert again.max_matches is None


@pytest.mark.parametrize("matcher", ["sift", "descriptor"])
def test_the_shipped_weights_match_a_rotated_and_darkened_image(matcher):
    image = blobs(240, 300, 3)
    matrix = cv2.getRotationMatrix2D((150, 120), 35, 0.8)
    dark = np.uint8(cv2.warpAffine(image, matrix, (300, 240)) * 0.5)
    found = patchmatch.match_images(image, dark, matcher, device="cpu")
    truth = torch.from_numpy(matrix).float()
    moved = found.keypoints0 @ truth[:, :2].T + truth[:, 2]
    assert len(found) > 150
    assert ((moved - found.keypoints1).norm(dim=1) < 2).float().mean() > 0.95


def test_blank_and_tiny_images_have_no_matches():
    for size in ((40, 50), (1, 1)):
        found = patchmatch.match_images(np.zeros(size, np.uint8), blobs(60, 60), "descriptor")
        assert len(found) == 0
        assert found.homography is None


def test_tiles_masks_and_rotations_are_supported():
    image = blobs(260, 300, 5)
    mask = np.zeros((260, 300), bool)
    mask[:, 150:] = True
    found = patchmatch.match_images(
        image, image, "descriptor", mask0=mask, tile=128, max_keypoints=200, rotations=2
    )
    assert 50 < len(found) <= 200
    assert found.keypoints0[:, 0].min() >= 149.5
    assert_close(found.keypoints0, found.keypoints1, atol=0.1, rtol=0)


def test_wrong_settings_and_checkpoints_raise(folder):
    for settings, message in (
        ({"margin": 0.0}, "margin must be above 0 and at most 2, got 0.0"),
        ({"contrast": 1.0}, "contrast must be at least 0 and below 1, got 1.0"),
        ({"width": 5}, "width must be even and at least 2, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            DescriptorMatcher(**settings)
    scene = blobs(60, 60)
    with pytest.raises(InputError, match="no such checkpoint"):
        patchmatch.match_images(scene, scene, "descriptor", ckpt_path="none.ckpt")
    shift = ROOT / "patchmatch" / "weights" / "shift_matcher.ckpt"
    with pytest.raises(InputError, match="of DescriptorMatcher, got one of ShiftMatcher"):
        patchmatch.match_images(scene, scene, "descriptor", ckpt_path=shift)
    with pytest.raises(
        ValueError, match="sift takes no ckpt_path: it is not trained by patchmatch"
    ):
        patchmatch.match_images(scene, scene, "sift", ckpt_path=shift)
