"""Stereo pairs in the layouts of the data sets, on tiny trees."""

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.evaluate import main as evaluate
from patchmatch.io import read_csv, write_csv
from patchmatch.io.disparity import write_disparity_png, write_pfm
from patchmatch.stereo.folders import StereoFolder
from patchmatch.stereo.layouts import find_stereo_pairs, read_truth
from patchmatch.stereo.pairs import StereoPairs

SIZE = (48, 64)
TRUTH = np.full(SIZE, 6.5, np.float32)
TRUTH[:10] = np.nan
OCCLUDED = slice(10, 20)


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)


def text(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("cam0=[1 0 0; 0 1 0; 0 0 1]\n")


def pfm(path, values):
    write_pfm(path, np.where(np.isnan(values), np.inf, values))


def mask(path):
    values = np.where(np.isfinite(TRUTH), 255, 0).astype(np.uint8)
    values[OCCLUDED] = 128
    cv2.imwrite(str(path), values)


def noc(path):
    values = TRUTH.copy()
    values[OCCLUDED] = np.nan
    write_disparity_png(path, values)


def sceneflow(root):
    for name in ("0006", "0007"):
        for seed, side in enumerate(("left", "right")):
            image(root / "frames_finalpass" / "TRAIN" / "A" / "0000" / side / f"{name}.png", seed)
        write_pfm(root / "disparity/TRAIN/A/0000/left" / f"{name}.pfm", -np.nan_to_num(TRUTH))
    return ["TRAIN_A_0000_0006", "TRAIN_A_0000_0007"]


def kitti_2015(root):
    training = root / "training"
    for frame in ("10", "11"):
        image(training / "image_2" / f"000000_{frame}.png")
        image(training / "image_3" / f"000000_{frame}.png", 1)
    write_disparity_png(training / "disp_occ_0" / "000000_10.png", TRUTH)
    noc(training / "disp_noc_0" / "000000_10.png")
    text(training / "calib_cam_to_cam" / "000000.txt")
    return ["000000_10"]


def kitti_2012(root):
    training = root / "training"
    for folder in ("colored_0", "colored_1", "image_0", "image_1"):
        image(training / folder / "000003_10.png", int(folder[-1]))
    write_disparity_png(training / "disp_occ" / "000003_10.png", TRUTH)
    noc(training / "disp_noc" / "000003_10.png")
    text(training / "calib" / "000003.txt")
    return ["000003_10"]


def middlebury_2014(root):
    for name in ("Adirondack", "Motorcycle"):
        image(root / "trainingQ" / name / "im0.png")
        image(root / "trainingQ" / name / "im1.png", 1)
        pfm(root / "trainingQ" / name / "disp0GT.pfm", TRUTH)
        mask(root / "trainingQ" / name / "mask0nocc.png")
        text(root / "trainingQ" / name / "calib.txt")
    return ["Adirondack", "Motorcycle"]


def middlebury_2021(root):
    image(root / "data" / "artroom1" / "im0.png")
    image(root / "data" / "artroom1" / "im1.png", 1)
    pfm(root / "data" / "artroom1" / "disp0.pfm", TRUTH)
    text(root / "data" / "artroom1" / "calib.txt")
    return ["artroom1"]


def eth3d(root):
    image(root / "two_view_training" / "delivery_area_1l" / "im0.png")
    image(root / "two_view_training" / "delivery_area_1l" / "im1.png", 1)
    text(root / "two_view_training" / "delivery_area_1l" / "calib.txt")
    pfm(root / "two_view_training_gt" / "delivery_area_1l" / "disp0GT.pfm", TRUTH)
    mask(root / "two_view_training_gt" / "delivery_area_1l" / "mask0nocc.png")
    return ["delivery_area_1l"]


LAYOUTS = (sceneflow, kitti_2015, kitti_2012, middlebury_2014, middlebury_2021, eth3d)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_each_layout_is_read_with_its_unknown_and_occluded_pixels(tmp_path, layout):
    names = layout(tmp_path)
    found, notes = find_stereo_pairs(tmp_path)
    assert [pair.name for pair in found] == names
    assert notes == []
    for pair in found:
        assert (
            cv2.imread(str(pair.left))[0, 0].tolist() != cv2.imread(str(pair.right))[0, 0].tolist()
        )
        known = read_truth(pair, SIZE)
        assert known is not None
        truth, visible = known
        np.testing.assert_array_equal(truth, TRUTH)
        has_mask = layout not in (sceneflow, middlebury_2021)
        assert visible[OCCLUDED].all() != has_mask
        assert visible[20:].all()
        assert not visible[:10].any()
        assert (pair.calibration is None) == (layout is sceneflow)


def test_a_data_set_is_predicted_and_trained_on(tmp_path):
    eth3d(tmp_path)
    predicted = StereoPairs(pairs=str(tmp_path))
    predicted.setup("predict")
    pair = predicted.dataset[0]
    assert pair["name"] == "delivery_area_1l"
    assert pair["visible"].sum() == 28 * 64
    assert pair["calibration"].endswith("calib.txt")
    data = StereoFolder(pairs=str(tmp_path), height=48, width=48, batch_size=1)
    data.setup("fit")
    first = next(iter(data.train_dataloader()))
    assert first["image0"].shape == (1, 3, 48, 48)
    assert not first["visible"][:, :, :6].any()  # to the left of the right image
    known = first["disparity"].isfinite()
    assert (first["disparity"][known] == 6.5).all()
    assert not known.all()


def test_crops_of_an_epoch_are_drawn_anew_and_can_be_repeated(tmp_path):
    middlebury_2014(tmp_path)
    data = StereoFolder(pairs=str(tmp_path), height=32, width=32)
    data.setup("fit")
    crops = data.sets["train"]
    first, again, other = crops[0, 0], crops[0, 0], crops[1, 0]
    assert first["image0"].equal(again["image0"])
    assert not first["image0"].equal(other["image0"])


def test_two_images_are_a_pair(tmp_path):
    left, right = tmp_path / "left, first.png", tmp_path / "right.png"
    for path in (left, right):
        path.touch()
    pairs, notes = find_stereo_pairs(f"{left},{right}")
    assert [(pair.left, pair.right) for pair in pairs] == [(left, right)]
    assert notes == []
    with pytest.raises(InputError, match=r"other\.png: no such file"):
        find_stereo_pairs(f"{right},{tmp_path / 'other.png'}")


def test_a_missing_right_image_is_an_error(tmp_path):
    image(tmp_path / "training" / "image_2" / "000000_10.png")
    (tmp_path / "training" / "image_3").mkdir()
    with pytest.raises(InputError, match=r"000000_10.png: no such file, but it is the right image"):
        find_stereo_pairs(tmp_path)


def test_training_requires_a_truth(tmp_path):
    middlebury_2014(tmp_path)
    for path in tmp_path.rglob("*.pfm"):
        path.unlink()
    with pytest.raises(InputError, match="none of 2 pairs has a true disparity"):
        StereoFolder(pairs=str(tmp_path)).setup("fit")


def test_a_truth_of_another_size_is_an_error(tmp_path):
    middlebury_2021(tmp_path)
    pfm(tmp_path / "data" / "artroom1" / "disp0.pfm", TRUTH[:20])
    (pair,), _ = find_stereo_pairs(tmp_path)
    with pytest.raises(InputError, match=r"expected the size of the left image, 64x48, got 64x20"):
        read_truth(pair, SIZE)


def test_a_run_is_evaluated_on_the_data_set_with_and_without_occluded_pixels(tmp_path):
    middlebury_2014(tmp_path / "data")
    run = tmp_path / "run"
    left = tmp_path / "data" / "trainingQ" / "Motorcycle" / "im0.png"
    found = np.where(np.isfinite(TRUTH), TRUTH, 1)
    found[OCCLUDED] += 4
    write_pfm(run / "pairs" / "m" / "disparity.pfm", found)
    write_csv(run / "pairs.csv", ["name", "left"], [{"name": "m", "left": str(left)}])
    evaluate([str(run), str(tmp_path / "data")])
    (row,) = read_csv(run / "evaluation.csv", ("epe", "epe_noc"))
    assert float(row["epe"]) == pytest.approx(4 * 10 / 38, abs=1e-3)
    assert float(row["epe_noc"]) == 0
