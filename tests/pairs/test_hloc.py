"""Export to hloc, read in the same way as hloc does."""

import h5py
import numpy as np
import pytest

from patchmatch.pairs.hloc import write_hloc

A, B, C = "shots/a.jpg", "shots/b.jpg", "c.jpg"
FILES = [
    {"name": "one", "image0": A, "image1": B},
    {"name": "two", "image0": A, "image1": C},
    {"name": "three", "image0": C, "image1": B},
]


def write(folder, name, keypoints0, keypoints1, score, size=(60, 80), **more):
    (folder / name).mkdir(parents=True)
    points = [np.asarray(p, np.float32).reshape(-1, 2) for p in (keypoints0, keypoints1)]
    np.savez(
        folder / name / "matches.npz",
        keypoints0=points[0],
        keypoints1=points[1],
        score=np.asarray(score, np.float32),
        size0=np.array(size),
        size1=np.array(size),
        **more,
    )


@pytest.fixture
def exported(tmp_path):
    """Three pairs of three images: a keypoint of a is matched in b and c, and one pair is empty."""
    files = [{**row, **{k: str(tmp_path / row[k]) for k in ("image0", "image1")}} for row in FILES]
    pairs = tmp_path / "pairs"
    write(pairs, "one", [[5, 6], [1, 2]], [[7, 8], [3, 4]], [0.9, 0.4])
    write(pairs, "two", [[1, 2], [9, 9]], [[20, 21], [0, 0.5]], [0.6, 0.2])
    write(pairs, "three", [], [], [])
    write_hloc(tmp_path / "hloc", pairs, files)
    return tmp_path / "hloc"


def matches_of(path, name0, name1):
    """Read matches like get_matches of hloc."""
    with h5py.File(path, "r") as file:
        pair = file["/".join((name0.replace("/", "-"), name1.replace("/", "-")))]
        matches, scores = pair["matches0"].__array__(), pair["matching_scores0"].__array__()
    index = np.where(matches != -1)[0]
    return np.stack([index, matches[index]], -1), scores[index]


def keypoints_of(path, name):
    """Read keypoints like get_keypoints of hloc."""
    with h5py.File(path, "r") as file:
        return file[name]["keypoints"].__array__(), file[name]["scores"].__array__()


def test_keypoints_are_collected_from_all_pairs(exported):
    keypoints, scores = keypoints_of(exported / "features.h5", A)
    assert keypoints.tolist() == [[5, 6], [1, 2], [9, 9]]
    assert scores == pytest.approx([0.9, 0.6, 0.2])  # the best score of the second keypoint
    assert keypoints_of(exported / "features.h5", B)[0].tolist() == [[7, 8], [3, 4]]
    with h5py.File(exported / "features.h5") as file:
        assert file[A]["image_size"][:].tolist() == [80, 60]
        assert "descriptors" not in file[A]


def test_matches_index_the_keypoints_of_image1(exported):
    matches, scores = matches_of(exported / "matches.h5", A, C)
    assert matches.tolist() == [[1, 0], [2, 1]]
    assert scores == pytest.approx([0.6, 0.2])
    matches, _ = matches_of(exported / "matches.h5", A, B)
    assert matches.tolist() == [[0, 0], [1, 1]]
    assert matches_of(exported / "matches.h5", C, B)[0].shape == (0, 2)
    pairs = (exported / "pairs.txt").read_text().splitlines()
    assert [line.split() for line in pairs] == [[A, B], [A, C], [C, B]]


def test_convention_unmatched_is_minus_one(exported):
    with h5py.File(exported / "matches.h5") as file:
        pair = file["shots-a.jpg"]["c.jpg"]
        assert pair["matches0"][:].tolist() == [-1, 0, 1]  # an index into the keypoints of image 1
        assert pair["matching_scores0"][:] == pytest.approx([0, 0.6, 0.2])


def test_descriptors_are_columns(tmp_path):
    values = np.arange(12, dtype=np.float16).reshape(2, 6)
    described = {"descriptors0": values, "descriptors1": -values}
    write(tmp_path / "pairs", "one", [[5, 6], [1, 2]], [[7, 8], [3, 4]], [0.9, 0.4], **described)
    files = [{"name": "one", "image0": "x.png", "image1": "y.png"}]
    write_hloc(tmp_path / "hloc", tmp_path / "pairs", files)
    with h5py.File(tmp_path / "hloc" / "features.h5") as file:
        assert file["x.png"]["descriptors"].shape == (6, 2)
        assert file["y.png"]["descriptors"][:, 1].tolist() == (-values[1]).tolist()
