"""Calibration files, depth, point clouds and rectification."""

import cv2
import numpy as np
import pytest
import torch

from patchmatch.cli import main
from patchmatch.core.errors import InputError
from patchmatch.io import read_csv, write_image
from patchmatch.io.disparity import read_disparity
from patchmatch.stereo.calibration import Calibration, Cameras, read_calibration
from patchmatch.stereo.checks import inspect_pair
from patchmatch.stereo.depth import depth_to_points, disparity_to_depth
from patchmatch.stereo.rectification import rectify_by_calibration, rectify_by_matches

MIDDLEBURY = """cam0=[100 0 30; 0 100 20; 0 0 1]
cam1=[100 0 34; 0 100 20; 0 0 1]
doffs=4
baseline=200
width=64
height=48
ndisp=20
"""


def write(path, text):
    path.write_text(text)
    return path


def test_middlebury(tmp_path):
    found = read_calibration(write(tmp_path / "calib.txt", MIDDLEBURY))
    assert found == Calibration(
        focal=100, centre=(30, 20), offset=4, baseline=0.2, size=(64, 48), cameras=None
    )
    half = found.for_image(32, 24)
    assert (half.focal, half.offset, half.centre) == (50, 2, (15, 10))
    with pytest.raises(InputError, match="64x48 pixels: the images have 32x32, another aspect"):
        found.for_image(32, 32)


@pytest.mark.parametrize("key", ["P_rect_0", "P"])
def test_kitti_takes_the_cameras_of_the_left_image(tmp_path, key):
    shifts = {0: 0.0, 1: -386.0, 2: 45.0, 3: -333.0}
    lines = [f"{key}{i}: 721 0 609 {shift} 0 721 172 0 0 0 1 0" for i, shift in shifts.items()]
    path = write(tmp_path / "000000.txt", "calib_time: 09-Jan\n" + "\n".join(lines) + "\n")
    color = read_calibration(path, "training/image_2/000000_10.png")
    assert color.baseline == pytest.approx((45 + 333) / 721)
    assert (color.focal, color.centre, color.offset) == (721, (609, 172), 0)
    gray = read_calibration(path, "training/image_0/000000_10.png")
    assert gray.baseline == pytest.approx(386 / 721)


def opencv(path, **matrices):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in matrices.items():
        storage.write(name, np.asarray(value, float))
    storage.release()
    return path


def test_opencv_projections_are_in_the_unit_of_the_user(tmp_path):
    first = [[500, 0, 320, 0], [0, 500, 240, 0], [0, 0, 1, 0]]
    second = [[500, 0, 320, -60000], [0, 500, 240, 0], [0, 0, 1, 0]]
    path = opencv(tmp_path / "stereo.yml", P1=first, P2=second)
    assert read_calibration(path, unit=0.001).baseline == pytest.approx(0.12)
    with pytest.raises(InputError, match=r"to the left of the left one; exchange"):
        read_calibration(opencv(tmp_path / "other.yml", P1=second, P2=first))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("c.txt", "hello", "no P2"),
        ("c.txt", "cam0=[1 2 3]", ""),
        ("c.yml", "%YAML:1.0\nA: 1\n", ""),
    ],
)
def test_other_files_are_rejected(tmp_path, name, text, reason):
    with pytest.raises(InputError, match=rf"cannot be read as a calibration \({reason}"):
        read_calibration(write(tmp_path / name, text))


def test_depth_and_points_of_a_plane():
    calibration = Calibration(focal=100, centre=(2, 1), offset=4, baseline=0.2)
    depth = disparity_to_depth(np.array([[6.0, 16.0, -4.0]]), calibration)
    np.testing.assert_allclose(depth, [[2.0, 1.0, np.nan]])
    colors = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    points, shown = depth_to_points(depth, colors, np.ones((1, 3), bool), calibration)
    np.testing.assert_allclose(points, [[-0.04, -0.02, 2], [-0.01, -0.01, 1]], atol=1e-6)
    assert shown.tolist() == [[0, 1, 2], [3, 4, 5]]


def wall(height=240, width=320, seed=0):
    """Return a textured image, (H, W, 3) float32."""
    rng = np.random.default_rng(seed)
    image = sum(
        cv2.resize(rng.random((height // s, width // s, 3)).astype(np.float32), (width, height))
        for s in (4, 8, 16)
    )
    return np.asarray(image / 3, np.float32)


def views(rotation, translation, matrix, depth=2.0):
    """Return two views of a wall; the plane induces the homography K (R + t n' / d) K^-1."""
    normal = np.array([[0.0, 0, 1]])
    transform = matrix @ (rotation + translation[:, None] @ normal / depth) @ np.linalg.inv(matrix)
    left = wall()
    right = cv2.warpPerspective(left, transform, left.shape[1::-1])
    return [torch.from_numpy(i.transpose(2, 0, 1).copy())[None] for i in (left, right)]


MATRIX = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
ROTATION = cv2.Rodrigues(np.array([0.02, 0.01, 0.03]))[0]
TRANSLATION = np.array([-0.1, 0.0, 0.0])


def test_rectification_by_calibration_aligns_the_rows_and_gives_the_disparity():
    images = views(ROTATION, TRANSLATION, MATRIX)
    assert "rectify" in " ".join(inspect_pair(*images))
    cameras = Cameras(
        matrices=(MATRIX, MATRIX),
        distortions=(np.zeros(5), np.zeros(5)),
        rotation=ROTATION,
        translation=TRANSLATION,
    )
    given = Calibration(focal=300, centre=(160, 120), offset=0, baseline=0.1, cameras=cameras)
    image0, image1, found = rectify_by_calibration(*images, given)
    assert inspect_pair(image0, image1) == []
    assert found.cameras is None
    expected = found.focal * 0.1 / 2
    middle = image0[..., 60:180, 120:200]
    errors = [(middle - image1[..., 60:180, 120 - d : 200 - d]).abs().mean() for d in range(40)]
    assert abs(int(np.argmin(errors)) - expected) < 3  # the wall is slanted after rectification


def test_rectification_by_matches_aligns_the_rows():
    images = two_walls()
    assert "rectify" in " ".join(inspect_pair(*images))
    image0, image1, count = rectify_by_matches(*images)
    assert count >= 40
    assert inspect_pair(image0, image1) == []


def two_walls():
    """Two walls at different depths: matches of one plane do not define the epipolar geometry."""
    near, far = (views(ROTATION, TRANSLATION, MATRIX, depth) for depth in (1.0, 2.5))
    return [
        torch.cat([a[:, :, :120], b[:, :, 120:]], dim=2) for a, b in zip(near, far, strict=True)
    ]


def test_images_without_matches_cannot_be_rectified():
    images = [torch.from_numpy(wall(seed=s).transpose(2, 0, 1).copy())[None] for s in (1, 2)]
    with pytest.raises(InputError, match="keypoint matches that agree"):
        rectify_by_matches(*images)


def save_pair(folder, images):
    for side, image in zip(("left", "right"), images, strict=True):
        array = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        write_image(folder / side / "wall.png", array)


PREDICT = ("predict", "-c", "stereo", "--trainer.accelerator=cpu", "--model.max_disparity=32")


def test_a_run_with_calibration_writes_depth_and_points(tmp_path):
    left = torch.from_numpy(wall(100, 200).transpose(2, 0, 1).copy())[None]
    save_pair(tmp_path, [left[..., 8:-8], left[..., 16:]])
    calibration = MIDDLEBURY.replace("width=64\nheight=48\n", "")
    write(tmp_path / "calib.txt", calibration)
    out = tmp_path / "out"
    main(
        [
            *(*PREDICT, f"--data.pairs={tmp_path}", f"--writer.output_path={out}"),
            f"--writer.calibration={tmp_path / 'calib.txt'}",
        ]
    )
    pair = out / "pairs" / "wall"
    depth = np.load(pair / "depth.npy")
    assert np.median(depth) == pytest.approx(0.2 * 100 / (8 + 4), rel=0.01)
    png = read_disparity(pair / "depth.png")
    np.testing.assert_allclose(png, depth, atol=1 / 256)
    header, _, body = (pair / "points.ply").read_bytes().partition(b"end_header\n")
    points = np.frombuffer(body, "<f4, <f4, <f4, u1, u1, u1")  # x, y, z, red, green, blue
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert b"element vertex %d\n" % len(points) in header
    assert len(points) > 0.7 * depth.size
    assert np.median(points["f2"]) == pytest.approx(20 / 12, rel=0.01)


def test_a_run_rectifies_from_matches_and_says_so(tmp_path, capsys):
    save_pair(tmp_path, two_walls())
    out = tmp_path / "out"
    arguments = (*PREDICT, f"--data.pairs={tmp_path}", "--data.rectify=matches")
    main([*arguments, f"--writer.output_path={out}"])
    assert "keypoint matches; disparity refers to left_rectified.png" in capsys.readouterr().err
    assert (out / "pairs" / "wall" / "left_rectified.png").is_file()
    (row,) = read_csv(out / "pairs.csv", ("consistent",))
    assert float(row["consistent"]) > 0.5


def test_a_calibration_before_rectification_needs_the_images_rectified(tmp_path, capsys):
    save_pair(tmp_path, views(ROTATION, TRANSLATION, MATRIX))
    path = opencv(tmp_path / "s.yml", M1=MATRIX, M2=MATRIX, R=ROTATION, T=TRANSLATION)
    arguments = [*PREDICT, f"--data.pairs={tmp_path}", f"--writer.output_path={tmp_path / 'out'}"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, f"--writer.calibration={path}"])
    assert stop.value.code == 2
    assert "give it to --data.rectify" in capsys.readouterr().err
    main([*arguments, f"--writer.calibration={path}", f"--data.rectify={path}"])
    depth = np.load(tmp_path / "out" / "pairs" / "wall" / "depth.npy")
    assert np.nanmedian(depth) == pytest.approx(2, rel=0.1)
