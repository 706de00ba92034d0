"""MegaDepth and PhotoTourism in their layouts: pairs, fundamental matrices and wrong files."""

import pickle
import struct
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from textures import blobs

from patchmatch.core.errors import InputError
from patchmatch.ops.sampling import bilinear_sample
from patchmatch.pairs.patch2pix.data import PosedPairs
from patchmatch.pairs.patch2pix.losses import sampson_distance
from patchmatch.pairs.posed_pairs import crop_to_ratio
from patchmatch.pairs.sparse_model import overlaps, read_sparse_model
from patchmatch.synthetic.scene_sampling import SceneRange
from patchmatch.synthetic.scenes import SceneDataset

ROOT = Path(__file__).parents[3]
HEIGHT, WIDTH = 120, 190  # cropped to 180 x 120
WORLD = np.eye(4)  # camera 0 of each pair, from the world
WORLD[:3, :3] = Rotation.from_quat([0.2, -0.3, 0.1, 0.9]).as_matrix()
WORLD[:3, 3] = 1, -2, 3
QUATERNION = np.array([0.9, 0.2, -0.3, 0.1])


def scene(index):
    """Return two rendered views with their true flow, cameras and pose."""
    sources = [blobs(160, 190, seed, spacing=10) for seed in range(2)]
    return SceneDataset(sources, 9, 5, HEIGHT, WIDTH, SceneRange(disturbed=None, roll=0))[index]


def corner_intrinsics(pair, name):
    """Return the camera matrix of COLMAP, whose origin is the corner of the top-left pixel."""
    matrix = pair[name].numpy().copy()
    matrix[:2, 2] += 0.5
    return matrix


def pose_of(pair):
    return np.r_[pair["pose"].numpy(), [[0, 0, 0, 1]]]


def write_images(folder, pair, names):
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in zip(("image0", "image1"), names, strict=True):
        pixels = (255 * pair[key].movedim(0, -1)).round().byte().numpy()
        cv2.imwrite(str(folder / name), pixels[..., ::-1])


@pytest.fixture
def megadepth(tmp_path):
    """Write three scenes of one pair each, and a third image without depth."""
    root = tmp_path / "MegaDepth"
    (root / "scene_info").mkdir(parents=True)
    for index, name in enumerate(("0000", "0001", "0015")):
        pair = scene(index)
        write_images(root / "Undistorted_SfM" / name / "images", pair, ("a.png", "b.png"))
        paths = [f"Undistorted_SfM/{name}/images/{image}" for image in ("a.png", "b.png")]
        intrinsics = [corner_intrinsics(pair, f"intrinsics{i}") for i in (0, 1)]
        objects = {
            "image_paths": [*paths, None],
            "depth_paths": ["depths/a.h5", "depths/b.h5", None],
            "intrinsics": [*intrinsics, None],
            "poses": [WORLD, pose_of(pair) @ WORLD, None],
            "points3D_id_to_2D": [{7: [1.0, 2.0]}, {7: [2.0, 2.0]}, {}],
        }
        arrays = {}
        for key, values in objects.items():
            arrays[key] = np.empty(3, dtype=object)
            arrays[key][:] = values
        overlap = np.array([[1.0, 0.6, 0.9], [0.6, 1.0, 0.9], [0.9, 0.9, 1.0]])
        np.savez(
            root / "scene_info" / f"{name}.npz",
            overlap_matrix=overlap, scale_ratio_matrix=overlap, **arrays,
        )  # fmt: skip
    return root


def listed(tmp_path, pair, **changes):
    """Write a pair file of Patch2Pix with one pair in each of two scenes."""
    pose = pose_of(pair)
    content = {}
    for name in ("0000", "0001"):
        values = {
            "im1": f"{name}/images/a.png", "im2": f"{name}/images/b.png",
            "overlap": np.float64(0.6),
            "K1": corner_intrinsics(pair, "intrinsics0"),
            "K2": corner_intrinsics(pair, "intrinsics1"),
            "R": pose[:3, :3], "t": pose[:3, 3], "q": np.ones(4), "crop1": (10.0, 0),
            "crop2": (10.0, 0),
        }  # fmt: skip
        found = Namespace(**(values | changes))
        images = [Namespace(name=values["im1"], crop=(10.0, 0))]
        content[name] = {"ims": images, "pairs": [found]}
    path = tmp_path / "megadepth_pairs.npy"
    np.save(path, content)
    return path


def epipolar_distances(item, pair):
    """Return the Sampson distances of the true correspondences in the resized images."""
    y, x = pair["valid"][:, :170].nonzero().unbind(dim=1)
    points0 = torch.stack([x, y], dim=1).double()
    points1 = points0 + pair["flow"][:, y, x].mT
    scale = torch.tensor([item["image0"].shape[2] / 180, item["image0"].shape[1] / HEIGHT]).double()
    ends = ((points + 0.5) * scale - 0.5 for points in (points0, points1))
    return sampson_distance(item["fundamental"], *ends).sqrt()


@pytest.mark.parametrize("listing", [False, True])
def test_megadepth_in_the_layout_of_d2_net(megadepth, tmp_path, listing):
    path = listed(tmp_path, scene(0)) if listing else None
    data = PosedPairs(str(megadepth), None if path is None else str(path), height=80, width=120)
    data.setup("fit")
    assert len(data.sets["val"]) == 1  # scene 0000, held out
    assert len(data.sets["train"]) == (1 if listing else 2)
    item, pair = data.sets["val"][0], scene(0)
    assert item["image0"].shape == (3, 80, 120)
    assert not item["valid"].any()
    distances = epipolar_distances(item, pair)
    assert len(distances) > 1000
    assert distances.max() < 1e-3
    # the content of the crop
    grid = torch.tensor([[[30.0, 30.0], [70.0, 50.0]]])
    seen = bilinear_sample(item["image0"][None], grid)[0]
    true = bilinear_sample(pair["image0"][None], (grid + 0.5) * 1.5 - 0.5)[0]
    assert (seen - true).abs().max() < 0.05
    batch = next(iter(data.train_dataloader()))
    assert batch["fundamental"].dtype == torch.float64


def write_phototourism(root, tracks=((1, 2, 3, 4), (2, 3, 4, 5), (9,))):
    """Write a scene of three images in binary files of COLMAP; the third one is a portrait."""
    pair = scene(3)
    folder = root / "taj_mahal" / "dense"
    write_images(folder / "images", pair, ("a.png", "b.png"))
    (folder / "sparse").mkdir()
    cameras = [corner_intrinsics(pair, f"intrinsics{i}") for i in (0, 1)] + [np.eye(3)]
    data = struct.pack("<Q", 3)
    for number, matrix in enumerate(cameras):
        size = (WIDTH, HEIGHT) if number < 2 else (HEIGHT, WIDTH)
        values = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        data += struct.pack("<iiQQ4d", number + 1, 1, *size, *values)
    (folder / "sparse" / "cameras.bin").write_bytes(data)
    rotation, pose = pose_of(pair)[:3, :3], pose_of(pair) @ WORLD
    vector, _ = cv2.Rodrigues(rotation)
    angle = np.linalg.norm(vector)
    turn = np.r_[np.cos(angle / 2), np.sin(angle / 2) * vector[:, 0] / angle]
    w, x, y, z = turn
    product = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]) @ QUATERNION
    poses = [(QUATERNION, WORLD[:3, 3]), (product, pose[:3, 3]), (QUATERNION, WORLD[:3, 3])]
    data = struct.pack("<Q", 3)
    for number, ((quaternion, shift), points) in enumerate(zip(poses, tracks, strict=True)):
        data += struct.pack("<I7dI", number + 1, *quaternion, *shift, number + 1)
        data += f"{'abc'[number]}.png".encode() + b"\0" + struct.pack("<Q", len(points) + 1)
        for point in (*points, -1):
            data += struct.pack("<ddq", 1.5, 2.5, point)
    (folder / "sparse" / "images.bin").write_bytes(data)
    return folder


def test_phototourism_is_read_from_colmap(tmp_path):
    folder = write_phototourism(tmp_path)
    images = read_sparse_model(folder / "sparse")
    assert images["b.png"].size == (HEIGHT, WIDTH)
    assert images["b.png"].pose == pytest.approx(pose_of(scene(3)) @ WORLD)
    assert overlaps(images) == pytest.approx(np.array([[1, 0.75, 0], [0.75, 1, 0], [0, 0, 1]]))
    data = PosedPairs(phototourism=str(tmp_path), height=80, width=120)
    data.setup("validate")
    (item,) = data.sets["val"]
    swapped = dict(item) | {"fundamental": item["fundamental"].mT}  # the later name is image 0
    assert epipolar_distances(swapped, scene(3)).max() < 1e-3


def test_script_writes_the_overlaps(tmp_path):
    folder = write_phototourism(tmp_path)
    run = subprocess.run(
        [sys.executable, ROOT / "dev" / "phototourism_overlaps.py", tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.startswith("taj_mahal: pairs by minimum overlap: 0.1: 1, 0.2: 1")
    path = folder / "sparse" / "ov_pairs.npy"
    content = np.load(path, allow_pickle=True).item()
    assert content[0.3] == [("b.png", "a.png")]
    content[0.3] = [("a.png", "b.png")]  # the file decides
    np.save(path, content)
    data = PosedPairs(phototourism=str(tmp_path), height=80, width=120)
    data.setup("test")
    assert epipolar_distances(data.sets["val"][0], scene(3)).max() < 1e-3
    content[0.3] = [("a.png", "z.png")]
    np.save(path, content)
    with pytest.raises(InputError, match=r"ov_pairs.npy: z.png is not in images.bin"):
        PosedPairs(phototourism=str(tmp_path)).setup("validate")


def test_crop_keeps_landscape_images_only():
    assert crop_to_ratio((400, 600), 1.5) == (0, 0)
    assert crop_to_ratio((400, 640), 1.5) == (40, 0)
    assert crop_to_ratio((450, 600), 1.5) == (0, 50)
    assert crop_to_ratio((600, 400), 1.5) is None


def test_wrong_files_are_errors(megadepth, tmp_path):
    for options, message in (
        ({}, "no training pairs; give --data.megadepth"),
        ({"megadepth": str(tmp_path)}, "contains no scene_info"),
        ({"phototourism": str(megadepth)}, "contains no SCENE/dense/sparse/images.bin"),
        ({"megadepth": str(megadepth), "overlap": 0.7}, "contains no pairs with this overlap"),
    ):
        with pytest.raises(InputError, match=message):
            PosedPairs(**options).setup("validate")
    still = listed(tmp_path, scene(0), t=np.zeros(3))
    with pytest.raises(InputError, match=r"pose of a.png and b.png has no translation"):
        PosedPairs(str(megadepth), str(still)).setup("fit")
    np.save(tmp_path / "other.npy", {"0000": {"pairs": [Namespace(im1="a.png")]}})
    with pytest.raises(InputError, match="not a pair file of Patch2Pix"):
        PosedPairs(str(megadepth), str(tmp_path / "other.npy")).setup("fit")
    (tmp_path / "code.npy").write_bytes(
        still.read_bytes()[:128] + pickle.dumps(Path("x"), protocol=3)
    )
    with pytest.raises(InputError, match=r"code.npy: cannot be read .*is not allowed in an array"):
        PosedPairs(str(megadepth), str(tmp_path / "code.npy")).setup("fit")
    folder = write_phototourism(tmp_path / "tourism")
    path = folder / "sparse" / "images.bin"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"images.bin: the file is cut off"):
        PosedPairs(phototourism=str(tmp_path / "tourism")).setup("validate")
    for option, message in (
        ({"height": 100}, "height must be a multiple of 8"),
        ({"overlap": 0.0}, "overlap must be above 0"),
        ({"val_pairs": 0}, "val_pairs must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            PosedPairs(**option)
