"""Small benchmarks in their original layouts, with results computed manually."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.evaluate import main
from patchmatch.io import read_image
from patchmatch.pairs.benchmarks import EXCLUDED, read_benchmark
from patchmatch.pairs.data import find_image_pairs
from patchmatch.pairs.evaluation import Protocol, read_predictions, score_benchmark

SHIFT = np.array([[1, 0, 5], [0, 1, -3], [0, 0, 1.0]])
CAMERA = np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1.0]])


def write_matches(folder, image0, image1, keypoints0, keypoints1, size=(60, 80)):
    path = folder / "pairs" / f"{image0}-{image1}".replace("/", "_")
    path.mkdir(parents=True)
    points = {"keypoints0": np.asarray(keypoints0), "keypoints1": np.asarray(keypoints1)}
    sizes = {"size0": np.array(size), "size1": np.array(size)}
    names = {"image0": np.array(f"elsewhere/{image0}"), "image1": np.array(f"elsewhere/{image1}")}
    np.savez(path / "matches.npz", **points, **sizes, **names)


@pytest.fixture
def hpatches(tmp_path):
    """Two sequences, one of which is in EXCLUDED; every homography is the same shift."""
    for name in ("i_one", "v_talent"):
        folder = tmp_path / "hpatches" / name
        folder.mkdir(parents=True)
        for k in range(1, 7):
            cv2.imwrite(str(folder / f"{k}.ppm"), np.full((60, 80, 3), 40 * k, np.uint8))
            if k > 1:
                np.savetxt(folder / f"H_1_{k}", SHIFT)
    return tmp_path / "hpatches"


@pytest.fixture
def predictions(tmp_path):
    """Of i_one: an exact pair, one with an error of 1.8 pixels, one with 3 matches, two missing."""
    points = np.random.default_rng(0).uniform(0, 60, (50, 2))
    folder = tmp_path / "run"
    write_matches(folder, "i_one/1.ppm", "i_one/2.ppm", points, points + np.array([5, -3]))
    write_matches(folder, "i_one/1.ppm", "i_one/3.ppm", points, points + np.array([6.8, -3]))
    write_matches(folder, "i_one/1.ppm", "i_one/4.ppm", points[:3], points[:3] + np.array([5, -3]))
    return folder


def test_hpatches_is_read_in_its_original_layout(hpatches):
    pairs = read_benchmark(hpatches)
    assert [pair.group for pair in pairs] == ["illumination"] * 5 + ["viewpoint"] * 5
    assert (pairs[1].image0, pairs[1].image1) == ("i_one/1.ppm", "i_one/3.ppm")
    assert pairs[0].homography.tolist() == SHIFT.tolist()
    assert len(read_benchmark(hpatches, exclude=True)) == 5
    assert len(EXCLUDED) == 8
    found, _ = find_image_pairs(hpatches)
    assert [pair.name for pair in found[:2]] == ["i_one-1-2", "i_one-1-3"]
    assert read_image(found[0].images[1])[0, 0].tolist() == [80, 80, 80]


def test_metrics_of_hpatches_equal_manual_results(hpatches, predictions):
    truth = read_benchmark(hpatches, exclude=True)
    (row,), pairs = score_benchmark(truth, read_predictions(predictions), Protocol())
    assert (row["pairs"], row["missing"]) == (5, 2)
    assert row["matches"] == pytest.approx((50 + 50 + 3) / 5)
    assert row["inliers"] == pytest.approx((50 + 50) / 5)
    assert row["mma_1"] == pytest.approx(2 / 5)  # a pair without matches counts as 0
    assert row["mma_2"] == row["mma_10"] == pytest.approx(3 / 5)
    errors = [pair["corner_error"] for pair in pairs]
    assert errors == pytest.approx([0, 1.8, np.inf, np.inf, np.inf], abs=1e-3)
    # recall: 1/5 at 0, linear to 2/5 at 1.8, then constant
    assert row["corner_auc_3"] == pytest.approx((1.8 * 0.3 + 1.2 * 0.4) / 3, abs=1e-3)
    assert row["corner_auc_10"] == pytest.approx((1.8 * 0.3 + 8.2 * 0.4) / 10, abs=1e-3)


def test_corner_errors_are_measured_at_the_resized_resolution(hpatches, predictions):
    truth = read_benchmark(hpatches, exclude=True)
    _, pairs = score_benchmark(truth, read_predictions(predictions), Protocol(resize=30))
    assert pairs[1]["corner_error"] == pytest.approx(0.9, abs=1e-3)
    assert pairs[1]["mma_1"] == 0


def test_program_prints_and_writes_a_table(hpatches, predictions, capsys):
    main([str(predictions), str(hpatches)])
    output = capsys.readouterr().out
    assert "viewpoint" in output
    assert "7 of 10 pairs have no prediction" in output
    with (predictions / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["illumination", "viewpoint", "all"]
    assert float(rows[2]["mma_3"]) == pytest.approx(0.3)
    assert "all matches; seed 0" in rows[0]["protocol"]
    content = json.loads((predictions / "evaluation.json").read_text())
    assert "MAGSAC++" in content["protocol"]
    main([str(predictions), str(hpatches), "--exclude", "--max_matches=9", "--resize=480"])
    output = " ".join(capsys.readouterr().out.split())
    assert "viewpoint" not in output
    assert "shorter side 480; best 9 matches" in output
    assert "without the eight sequences that D2-Net excludes" in output


@pytest.mark.parametrize("option", ["--resize=0", "--max_matches=-3", "--threshold=0"])
def test_settings_of_zero_or_below_are_an_error(hpatches, predictions, capsys, option):
    with pytest.raises(SystemExit) as stop:
        main([str(predictions), str(hpatches), option])
    assert stop.value.code == 2
    assert f"{option.partition('=')[0]} must be above 0" in capsys.readouterr().err


def test_missing_homography_of_a_sequence_raises(hpatches):
    (hpatches / "i_one" / "H_1_2").unlink()
    with pytest.raises(InputError, match="H_1_2: no such file"):
        read_benchmark(hpatches)


def test_image_folder_with_arrays_is_not_a_benchmark(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((9, 9), np.uint8))
    np.savez(tmp_path / "matches.npz", keypoints0=np.zeros((1, 2)))
    found, _ = find_image_pairs(tmp_path)
    assert [pair.name for pair in found] == ["a-b"]


def scene():
    """Points of a scene in two views, and the relative pose."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (200, 3)) + np.array([0, 0, 4])
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.05, -0.3, 0.1]))[0]
    pose[:3, 3] = 0.6, 0.1, 0.2
    seen = [points, points @ pose[:3, :3].T + pose[:3, 3]]
    projected = [s @ CAMERA.T for s in seen]
    return *(p[:, :2] / p[:, 2:] for p in projected), pose


def test_megadepth_is_read_in_the_layout_of_loftr(tmp_path):
    points0, points1, pose = scene()
    world = np.eye(4)
    world[:3, 3] = 1, 2, 3  # the pose of camera 0, from the world
    info = np.empty(2, dtype=object)
    info[0], info[1] = ((0, 1), 0.4, np.zeros((3, 4))), ((1, 0), 0.4, np.zeros((3, 4)))
    images = np.array(["Undistorted/a.jpg", "Undistorted/b.jpg"], dtype=object)
    np.savez(
        tmp_path / "0015_0.1_0.3.npz",
        image_paths=images,
        intrinsics=np.array([CAMERA, CAMERA]),
        poses=np.asfortranarray(np.array([world, pose @ world])),
        pair_infos=info,
    )
    truth = read_benchmark(tmp_path)
    assert truth[0].pose == pytest.approx(pose)
    assert truth[1].pose == pytest.approx(np.linalg.inv(pose))
    write_matches(tmp_path / "run", *images, points0, points1, (480, 640))
    (row,), pairs = score_benchmark(truth, read_predictions(tmp_path / "run"), Protocol())
    assert pairs[0]["pose_error"] < 0.1
    assert (pairs[0]["inliers"], pairs[1]["inliers"]) == (200, 0)
    assert pairs[1]["pose_error"] == np.inf
    assert row["pose_auc_5"] == pytest.approx(0.5, abs=0.02)


def test_scannet_is_read_in_the_layout_of_loftr(tmp_path):
    points0, points1, pose = scene()
    np.savez(tmp_path / "test.npz", name=np.array([[707, 0, 15, 300]]))
    np.savez(tmp_path / "intrinsics.npz", scene0707_00=CAMERA)
    folder = tmp_path / "scene0707_00" / "pose"
    folder.mkdir(parents=True)
    world = np.eye(4)
    world[:3, 3] = 1, 2, 3  # from camera 0 to the world
    np.savetxt(folder / "15.txt", world)
    np.savetxt(folder / "300.txt", world @ np.linalg.inv(pose))
    truth = read_benchmark(tmp_path)
    assert truth[0].pose == pytest.approx(pose)
    names = [f"scene0707_00/color/{i}.jpg" for i in (15, 300)]
    # the files are twice as large as the size at which the intrinsics hold
    large = [(points + 0.5) * 2 - 0.5 for points in (points0, points1)]
    write_matches(tmp_path / "run", *names, *large, (960, 1280))
    _, pairs = score_benchmark(truth, read_predictions(tmp_path / "run"), Protocol())
    assert pairs[0]["pose_error"] < 0.1


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_array_with_code_raises_and_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("image_paths", "intrinsics", "poses", "pair_infos")
    np.savez(tmp_path / "x.npz", **{name: np.array([Harmful()], dtype=object) for name in names})
    with pytest.raises(InputError, match="is not allowed in an array"):
        read_benchmark(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_missing_or_damaged_file_is_named_in_the_error(tmp_path, hpatches, predictions, capsys):
    with pytest.raises(InputError, match="contains neither HPatches"):
        read_benchmark(tmp_path / "run")
    (hpatches / "i_one" / "H_1_5").write_text("1 0 0")
    with pytest.raises(InputError, match="H_1_5: must contain 9 numbers"):
        read_benchmark(hpatches)
    with pytest.raises(SystemExit) as stop:
        main([str(hpatches), str(hpatches)])
    assert stop.value.code == 2
    assert "contains no matches, changes, objects, detections or" in capsys.readouterr().err
    (tmp_path / "y.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"y.npz: cannot be read"):
        read_benchmark(tmp_path)


def test_incomplete_sequence_is_named_and_left_out(hpatches, predictions, capsys):
    (hpatches / "i_one" / "H_1_2").unlink()
    main([str(predictions), str(hpatches)])
    (line,) = capsys.readouterr().err.splitlines()
    assert "i_one is left out:" in line
    assert "H_1_2: no such file" in line
    with (predictions / "evaluation.csv").open(newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["viewpoint"]


def test_corner_errors_have_a_mean_and_a_median(hpatches, predictions):
    truth = read_benchmark(hpatches, exclude=True)
    (row,), _ = score_benchmark(truth, read_predictions(predictions), Protocol())
    assert row["corner_mean"] == pytest.approx(0.9, abs=1e-3)  # of the two homographies found
    assert row["corner_median"] == np.inf  # three of five have none


def test_other_layouts_are_read(tmp_path):
    image = np.full((30, 40, 3), 90, np.uint8)
    oxford, marked, listed = (tmp_path / name for name in ("oxford", "homogr", "scannet"))
    for folder in (oxford / "graf", marked, listed):
        folder.mkdir(parents=True)
    for k in (1, 2, 5):
        cv2.imwrite(str(oxford / f"graf/img{k}.ppm"), image)
        if k > 1:
            np.savetxt(oxford / f"graf/H1to{k}p", SHIFT)
    for name in ("TowerA.png", "TowerB.jpg", "LonelyA.png"):
        cv2.imwrite(str(marked / name), image)
    for name in ("Tower", "Lonely"):
        np.savetxt(marked / f"{name}_H.txt", SHIFT)
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    numbers = [*CAMERA.ravel(), *(2 * CAMERA).ravel(), *pose.ravel()]
    line = " ".join(["a.jpg", "b.jpg", "0", "1", *map(str, numbers)])
    (listed / "pairs_with_gt.txt").write_text(f"{line}\nc.jpg d.jpg 0 0\n")

    pairs = read_benchmark(oxford)
    assert [(p.group, p.image0, p.image1) for p in pairs] == [
        ("graf", "graf/img1.ppm", "graf/img2.ppm"),
        ("graf", "graf/img1.ppm", "graf/img5.ppm"),
    ]
    assert pairs[1].homography.tolist() == SHIFT.tolist()
    (pair,) = read_benchmark(marked)  # one image of the other pair is missing
    assert (pair.image0, pair.image1) == ("TowerA.png", "TowerB.jpg")
    (pair,) = read_benchmark(listed)  # without ground truth a line is skipped
    assert pair.pose[:3, 3].tolist() == [1, 2, 3]
    assert pair.intrinsics1.tolist() == (2 * CAMERA).tolist()
    found, _ = find_image_pairs(marked)
    assert [p.name for p in found] == ["TowerA-TowerB"]
