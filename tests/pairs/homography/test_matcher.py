"""The homography matcher: matches, training, checkpoints, accuracy of the shipped weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from program_runs import rows
from pytorch_lightning import Trainer
from textures import blobs
from torch.testing import assert_close
from torch.utils.data import DataLoader

import patchmatch
from patchmatch.cli import main
from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.ops.homography import (
    corner_error,
    get_perspective_transform,
    image_corners,
    warp_points,
)
from patchmatch.pairs.homography.data import HomographyDataset, WarpRange
from patchmatch.pairs.homography.matcher import HomographyNetMatcher
from patchmatch.pairs.homography.net import PassOutput
from patchmatch.public.pairs import load_pair_matcher

ROOT = Path(__file__).parents[3]
QUICK = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
TINY = [
    *("--data.train_pairs=2", "--data.eval_pairs=2", "--data.batch_size=2", "--data.canvases=1"),
    *("--data.side=64", "--model.side=64", "--model.width=4", "--trainer.max_epochs=1"),
    *("--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.callbacks+=ModelCheckpoint"),
    *("--trainer.callbacks.dirpath=saved", "--trainer.callbacks.filename=mine", *QUICK),
]


def trainer(**settings):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **settings)


class FixedCornersNet(torch.nn.Module):
    """A network that returns given corners."""

    side = 64

    def __init__(self, corners):
        super().__init__()
        self.corners = corners

    def forward(self, image0, image1, passes):
        corners = self.corners.float().expand(len(image0), -1, -1)
        return [PassOutput(corners=corners, initial=torch.eye(3), scores=torch.zeros(0))]


def matcher_with_corners(corners, grid=10, **options):
    """Return a matcher whose network returns given corners."""
    options = {"align": False, "search": False, **options}
    matcher = HomographyNetMatcher(64, 4, grid=grid, **options).eval()
    matcher.net = FixedCornersNet(corners)
    return matcher


def test_keypoints_are_in_pixels_of_images_of_any_shape():
    """Image 0 is 80x200; image 1 shows it at 120x90 and rotated by 180 degrees."""
    small = blobs(72, 180, 1, spacing=12)[..., 0]
    image0 = cv2.resize(small, (200, 80), interpolation=cv2.INTER_CUBIC)
    image1 = cv2.resize(small[::-1, ::-1], (90, 120), interpolation=cv2.INTER_AREA)
    matcher = matcher_with_corners(image_corners(64, 64)[[2, 3, 0, 1]])
    tensors = [torch.from_numpy(i.astype(np.float32) / 255)[None, None] for i in (image0, image1)]
    found = matcher.match(*tensors)
    assert 50 < len(found) <= 100
    x, y = (found.keypoints0.double() + 0.5).unbind(dim=1)
    expected = torch.stack([90 - x * 90 / 200, 120 - y * 120 / 80], dim=1) - 0.5
    assert_close(found.keypoints1.double(), expected, atol=1e-3, rtol=0)
    squeezed = torch.tensor([[-0.45, 0, 89.275], [0, -1.5, 118.75], [0, 0, 1]], dtype=torch.float64)
    assert_close(found.homography, squeezed, atol=2e-3, rtol=0)
    assert found.inliers.all()
    assert found.score.min() >= 0.3


def test_regions_that_do_not_correlate_have_no_match():
    matcher = matcher_with_corners(image_corners(64, 64), grid=16)
    scene = torch.from_numpy(blobs(96, 96, 2, spacing=12)).movedim(-1, 0)[None] / 255
    other = torch.from_numpy(blobs(96, 96, 3, spacing=12)).movedim(-1, 0)[None] / 255
    half = torch.cat([scene[..., :48], other[..., 48:]], dim=3)
    assert len(matcher.match(scene, scene)) > 250
    found = matcher.match(scene, half)
    assert (found.keypoints0[:, 0] < 50).float().mean() > 0.8
    assert len(matcher.match(scene, other)) < 80
    assert len(matcher.match(scene, torch.zeros_like(scene))) == 0


def test_blank_and_unrelated_images_have_no_match_at_any_score():
    matcher = matcher_with_corners(image_corners(64, 64), grid=16, min_score=0.0, rotations=4)
    blank = torch.full((1, 3, 96, 96), 0.5)
    assert len(matcher.match(blank, blank)) == 0
    one, other = (
        torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(n)) for n in (0, 1)
    )
    assert len(matcher.match(one, one)) > 200
    assert len(matcher.match(one, other)) == 0


def test_training_overfits_four_pairs():
    torch.manual_seed(0)
    pairs = HomographyDataset(
        [blobs(120, 150, spacing=12)], 4, 0, 64, WarpRange(corner_shift=0.15, disturbed=None)
    )
    data = DataLoader(pairs, batch_size=4)
    matcher = HomographyNetMatcher(side=64, width=16, lr=1e-2)
    test = trainer()
    before = test.validate(matcher, data, verbose=False)[0]
    trainer(max_epochs=40).fit(matcher, data)
    after = test.validate(matcher, data, verbose=False)[0]
    assert after["val/identity_corner_error"] == before["val/identity_corner_error"]
    assert after["val/corner_error"] < 0.5 * before["val/corner_error"]


def test_the_test_stage_evaluates_sift_on_the_same_pairs():
    pairs = HomographyDataset(
        [blobs(300, 400, spacing=12)], 2, 0, 128, WarpRange(corner_shift=0.05, disturbed=None)
    )
    measured = trainer().test(
        HomographyNetMatcher(width=4), DataLoader(pairs, batch_size=2), verbose=False
    )[0]
    assert measured["test/sift_corner_error"] < 1 < measured["test/identity_corner_error"]
    assert measured["test/sift_within_3"] == 1
    truth = [pairs[i]["homography"] for i in range(2)]
    corners = image_corners(128, 128)
    moved = [(warp_points(matrix, corners) - corners).norm(dim=1).mean() for matrix in truth]
    assert measured["test/identity_corner_error"] == pytest.approx(float(sum(moved)) / 2, rel=1e-4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of training images, and a pair to match."""
    monkeypatch.chdir(tmp_path)
    for i in range(5):
        write_image(tmp_path / "images" / f"{i}.png", blobs(100, 120, i, spacing=12))
    scene = blobs(150, 190, 9, spacing=12)
    write_image(tmp_path / "left.png", scene[:, :-14])
    write_image(tmp_path / "right.png", scene[:, 14:])
    return tmp_path


def predict(*options):
    config = f"-c={ROOT}/configs/config_match_homography_net.yaml"
    pairs = ("--data.pairs=left.png,right.png", "--writer.output_path=out")
    main(["predict", config, *pairs, *QUICK, *options])


def test_a_checkpoint_of_the_command_line_matches_from_python(folder):
    config = f"-c={ROOT}/configs/config_homography_train.yaml"
    main(["fit", config, "--data.source=images", *TINY])
    predict("--ckpt_path=saved/mine.ckpt", "--model.min_score=0")
    with np.load(next(Path("out").glob("pairs/*/matches.npz"))) as arrays:
        written = arrays["homography"]
    found = patchmatch.match_images(
        "left.png", "right.png", "homography_net", ckpt_path="saved/mine.ckpt", min_score=0.0
    )
    assert found.homography.numpy() == pytest.approx(written)
    again = HomographyNetMatcher.load_from_checkpoint("saved/mine.ckpt")
    assert again.net.side == 64


def test_a_checkpoint_trained_in_python_predicts_on_the_command_line(folder):
    matcher = HomographyNetMatcher(side=64, width=4, grid=5)
    data = DataLoader(HomographyDataset([blobs(120, 150, spacing=12)], 2, 0, 64), batch_size=2)
    fitting = trainer(max_epochs=1)
    fitting.fit(matcher, data)
    fitting.save_checkpoint("python.ckpt")
    predict("--ckpt_path=python.ckpt", "--model.min_score=0")
    for name in ("homography_matches.png", "panorama.png", "checkerboard.png"):
        assert next(Path("out").glob(f"pairs/*/{name}")).is_file()


def crop_and_warp(truth, scene, size):
    """Return a crop of a scene, 180x240, and the scene warped by a homography of the crop."""
    crop = np.array([[1, 0, 60], [0, 1, 50], [0, 0, 1.0]])
    image1 = cv2.warpPerspective(scene, truth @ np.linalg.inv(crop), size, flags=cv2.INTER_AREA)
    return scene[50:230, 60:300], image1


def test_the_shipped_weights_match_a_warped_and_darkened_image():
    corners = image_corners(180, 240)
    offsets = torch.tensor([[35.0, -25], [-40, 20], [20, 35], [-25, -30]], dtype=torch.float64)
    truth = get_perspective_transform(corners, corners + offsets)
    image0, image1 = crop_and_warp(truth.numpy(), blobs(280, 360, 3, spacing=9), (240, 180))
    found = patchmatch.match_images(image0, np.uint8(0.6 * image1), "homography_net", device="cpu")
    assert len(found) > 100
    assert corner_error(found.homography, truth, 180, 240) < 1
    unrefined = patchmatch.match_images(image0, image1, "homography_net", device="cpu", align=False)
    assert 0.3 < corner_error(unrefined.homography, truth, 180, 240) < 12


def test_the_shipped_weights_find_no_match_between_unrelated_images():
    matcher = load_pair_matcher("homography_net", device="cpu")
    for seed in range(4):
        pair = (blobs(150, 200, i, spacing=9) for i in (seed, seed + 10))
        assert len(patchmatch.match_images(*pair, matcher)) < 10


def test_predict_needs_no_checkpoint(folder):
    predict()
    (row,) = rows()
    assert float(row["inliers"]) > 100


def test_blank_and_tiny_images_have_no_matches():
    matcher = matcher_with_corners(image_corners(64, 64))
    for size in ((40, 50), (1, 1)):
        assert (
            len(
                patchmatch.match_images(
                    np.zeros(size, np.uint8), blobs(60, 60, spacing=12), matcher
                )
            )
            == 0
        )


def test_a_narrow_strip_and_a_mask_are_supported():
    strip = blobs(36, 3000, 1, spacing=12)[:20]
    assert patchmatch.match_images(strip, strip, "homography_net").homography is not None
    image = blobs(120, 150, 2, spacing=9)
    left = np.arange(150)[None].repeat(120, 0) < 60
    found = patchmatch.match_images(image, image, "homography_net", mask0=left)
    assert len(found) > 50
    assert found.keypoints0[:, 0].max() < 60


def test_wrong_settings_and_sizes_raise():
    for settings, message in (
        ({"passes": 0}, "passes must be at least 1, got 0"),
        ({"grid": 1}, "grid must be at least 2, got 1"),
        ({"side": 100}, "side must be a multiple of 32"),
    ):
        with pytest.raises(ValueError, match=message):
            HomographyNetMatcher(**settings)
    data = DataLoader(HomographyDataset([blobs(120, 150, spacing=12)], 2, 0, 96), batch_size=2)
    with pytest.raises(
        InputError, match=r"data\.side: expected 64 pixels .* got images of 96x96; give the same"
    ):
        trainer(max_epochs=1).fit(HomographyNetMatcher(side=64, width=4), data)


def turned_pair(degrees, zoom):
    """Return a scene of 200x260, and a view of it turned and enlarged about its centre."""
    scene = blobs(420, 520, 7, spacing=9)
    crop = np.array([[1, 0, 130], [0, 1, 110], [0, 0, 1.0]])  # of image 0 in the scene
    turn = np.vstack([cv2.getRotationMatrix2D((129.5, 99.5), degrees, zoom), [0, 0, 1]])
    view = cv2.warpPerspective(scene, turn @ np.linalg.inv(crop), (260, 200), flags=cv2.INTER_CUBIC)
    return scene[110:310, 130:390], np.uint8(0.7 * view + 20), torch.from_numpy(turn)


@pytest.mark.parametrize(
    ("degrees", "zoom"), [(65, 1.0), (100, 1.0), (180, 1.0), (-125, 1.3), (20, 2.4), (160, 0.45)]
)
def test_any_rotation_and_scale_is_found(degrees, zoom):
    image0, image1, truth = turned_pair(degrees, zoom)
    found = patchmatch.match_images(image0, image1, "homography_net", device="cpu")
    assert corner_error(found.homography, truth, 200, 260) < 1.5 * max(1, zoom)
    assert found.aligned > 0.6
    without = patchmatch.match_images(image0, image1, "homography_net", device="cpu", search=False)
    if without.homography is not None:
        assert corner_error(without.homography, truth, 200, 260) > 20
