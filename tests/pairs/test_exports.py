"""What COLMAP and hloc read of an export: stored pixels, names and pairs.

The files are read as both programs do, see their comments.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps
from program_runs import ROOT, one_line, rows, write

from patchmatch.cli import main
from patchmatch.core.errors import InputError
from patchmatch.core.messages import printable
from patchmatch.pairs.colmap import colmap_files, write_colmap
from patchmatch.pairs.exports import names_from_common_folder, to_stored_pixels
from patchmatch.pairs.hloc import write_hloc

DATABASE = Path("out/colmap/database.db")
QUICK = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.accelerator=cpu", "--writer.output_path=out", "--writer.pictures_size=null"),
    *("--writer.colmap=true", "--writer.hloc=true"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scene(seed=0, height=120, width=170):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3))
    large = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 255).astype(np.uint8)


def predict(pairs, *options):
    config = str(ROOT / "configs" / "config_match_sift.yaml")
    main(["predict", "-c", config, f"--data.pairs={pairs}", *QUICK, *options])


def store_turned(path, upright, orientation):
    """Write an image whose EXIF orientation turns the stored pixels to ``upright``; return them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    undo = Image.Exif()
    undo[0x0112] = inverse
    image = Image.fromarray(upright)
    image.info["exif"] = undo.tobytes()
    stored = ImageOps.exif_transpose(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return np.asarray(stored)


def colmap_rows(path, query):
    """Return the rows of a query to a database of COLMAP."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def colmap_matches(path):
    """Return the matches of a database as COLMAP reads them, by the names of both images."""
    names = dict(colmap_rows(path, "SELECT image_id, name FROM images"))
    found = {}
    query = "SELECT pair_id, rows, cols, data FROM matches"
    for pair_id, count, columns, data in colmap_rows(path, query):
        id1 = pair_id % 2147483647
        id0 = (pair_id - id1) // 2147483647
        assert id0 < id1
        assert columns == 2
        matches = np.frombuffer(data, np.uint32).reshape(count, 2)
        found[names[id0], names[id1]] = matches.astype(int)
    return found


def colmap_keypoints(path, name):
    """Return the keypoints of an image in COLMAP's order, with our origin."""
    query = f"SELECT rows, cols, data FROM images NATURAL JOIN keypoints WHERE name = '{name}'"
    ((count, columns, data),) = colmap_rows(path, query)
    return np.frombuffer(data, np.float32).reshape(count, columns)[:, :2] - 0.5


def hloc_matches(folder):
    """Read what hloc finds for each line of pairs.txt."""
    found = {}
    with h5py.File(folder / "matches.h5") as file:
        for line in (folder / "pairs.txt").read_text().splitlines():
            name0, name1 = line.split()
            pair = file[name0.replace("/", "-")][name1.replace("/", "-")]
            matches = pair["matches0"][:]
            index = np.flatnonzero(matches != -1)
            found[name0, name1] = np.stack([index, matches[index]], axis=1)
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_of_the_upright_image_are_found_in_the_stored_one(orientation):
    stored = np.arange(5 * 7).reshape(5, 7).astype(np.uint8)
    image = Image.fromarray(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    upright = np.array(ImageOps.exif_transpose(image))
    y, x = (axis.ravel() for axis in np.indices(upright.shape))
    points = to_stored_pixels(np.stack([x, y], axis=1), upright.shape, orientation).astype(int)
    assert (stored[points[:, 1], points[:, 0]] == upright[y, x]).all()
    assert to_stored_pixels(np.zeros((0, 2)), (5, 7), orientation).shape == (0, 2)


@pytest.mark.parametrize(
    ("orientations", "suffix", "options"),
    [
        ((6, 1), ".jpg", ()),
        ((3, 8), ".png", ("--model.max_size=120",)),
        ((2, 5), ".tif", ("--data.num_workers=1",)),
        ((7, 4), ".webp", ()),
    ],
)
def test_exports_of_turned_images_are_in_stored_pixels(orientations, suffix, options):
    upright = scene()
    images = upright[:, :-12], upright[:, 12:]
    stored_images = [
        store_turned(Path(f"in/{name}{suffix}"), np.ascontiguousarray(image), orientation)
        for name, image, orientation in zip("ab", images, orientations, strict=True)
    ]
    predict("in", *options)
    names = f"a{suffix}", f"b{suffix}"
    pairs = colmap_matches(DATABASE)[names]
    for column, (name, image, stored) in enumerate(zip(names, images, stored_images, strict=True)):
        with h5py.File("out/hloc/features.h5") as file:
            assert file[name]["image_size"][:].tolist() == [stored.shape[1], stored.shape[0]]
            points = file[name]["keypoints"][:]
        assert colmap_keypoints(DATABASE, name) == pytest.approx(points, abs=2e-3)
        matches = rows("out/pairs/a-b/matches.csv")
        x, y = (np.array([m[f"{axis}{column}"] for m in matches], np.float32) for axis in "xy")
        # the same colors, in the upright image of the table and in the stored image of the export
        here = cv2.remap(image, x, y, cv2.INTER_LINEAR).astype(float)
        x, y = points[pairs[:, column]].T
        there = cv2.remap(stored, x, y, cv2.INTER_LINEAR).astype(float)
        assert np.abs(here - there).mean() < 1
    assert set(hloc_matches(Path("out/hloc"))) == {names}


def test_arrays_keep_upright_points_and_the_orientation():
    image = scene()
    store_turned(Path("in/a.jpg"), image, 6)
    write(Path("in/b.jpg"), image)
    predict("in", "--model.epipolar=essential", "--model.intrinsics0=[150,150,85,60]")
    with np.load("out/pairs/a-b/matches.npz") as arrays:
        assert (arrays["size0"].tolist(), int(arrays["orientation0"])) == ([120, 170], 6)
        assert int(arrays["orientation1"]) == 1
        assert np.median(arrays["keypoints1"] - arrays["keypoints0"]) == pytest.approx(0, abs=0.2)


def test_intrinsics_of_a_turned_image_give_a_note(capsys):
    upright = scene()
    store_turned(Path("in/a.jpg"), np.ascontiguousarray(upright[:, :-12]), 6)
    write(Path("in/b.jpg"), upright[:, 12:, ::-1])
    predict("in", "--model.epipolar=essential", "--model.intrinsics0=[150,150,79,60]")
    error = capsys.readouterr().err
    assert "a.jpg: is turned upright (EXIF orientation 6)" in error
    assert "must be those of the upright image, 158x120 pixels" in error
    assert "b.jpg: is turned" not in error


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("IMG 1 (2).png", "hloc", "separate names by blanks, but 'IMG 1 (2).png' contains one"),
        ("a b/1.png", "hloc", "but 'a b/1.png' contains one"),
        ("narrow\u202fblank.png", "hloc", "separate names by blanks"),
        ("tab\tstop.png", "hloc", "separate names by blanks"),
        ("#1.png", "hloc", "lines of lists that begin with # are comments"),
    ],
)
def test_name_that_a_list_cannot_contain_stops_before_the_run(name, option, message, capsys):
    path = Path("in", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene()).save(path, "PNG")
    write(Path("in/b.png"), scene())
    Path("in/t.csv").write_text(f'image0,image1\nb.png,"{name}"\n')
    both = ("colmap", "hloc")
    options = {f"--writer.{key}={'true' if key == option else 'false'}" for key in both}
    line = one_line(capsys, lambda: predict("in/t.csv", *options))
    assert message in line
    assert printable(str(path)) in line
    assert f"or leave out --writer.{option} true" in line
    assert not Path("out").exists()
    predict("in/t.csv", "--writer.hloc=false")
    assert rows()[0]["kind"] == "overlapping"
    (names,) = colmap_matches(DATABASE)  # which needs no list
    assert set(names) == {"b.png", name}


def test_blank_in_the_common_folder_does_not_matter():
    write(Path("my images/a.png"), scene())
    write(Path("my images/b.png"), scene())
    predict("my images")
    assert set(hloc_matches(Path("out/hloc"))) == {("a.png", "b.png")}


def test_pair_listed_twice_or_in_both_orders_is_exported_once():
    upright = scene()
    write(Path("in/a.png"), upright[:, :-12])
    write(Path("in/b.png"), upright[:, 12:])
    write(Path("in/c.png"), upright[6:])
    lines = ["image0,image1", "a.png,b.png", "a.png,b.png", "b.png,a.png", "c.png,b.png"]
    Path("in/t.csv").write_text("\n".join(lines) + "\n")
    predict("in/t.csv")
    assert len(rows()) == 4
    pairs = [("a.png", "b.png"), ("c.png", "b.png")]
    colmap, hloc = colmap_matches(DATABASE), hloc_matches(Path("out/hloc"))
    assert list(hloc) == pairs
    assert list(colmap) == [pairs[0], pairs[1][::-1]]  # the lower index first
    points = [colmap_keypoints(DATABASE, name) for name in ("a.png", "b.png")]
    for matches in (colmap[pairs[0]], hloc[pairs[0]]):
        shift = points[1][matches[:, 1]] - points[0][matches[:, 0]]
        assert np.median(shift, axis=0) == pytest.approx([-12, 0], abs=0.2)
    assert len(colmap[pairs[0]]) == len(np.unique(colmap[pairs[0]], axis=0))


def test_pairs_with_one_group_in_hloc_stop_before_the_run(capsys):
    for name in ("a/1.png", "a-1.png", "b.png", "c.png"):
        write(Path("in", name), scene())
    table = Path("in/t.csv")
    table.write_text("image0,image1\na/1.png,b.png\nb.png,a-1.png\n")
    line = one_line(capsys, lambda: predict(table))
    assert "the pair a-1.png b.png would replace the pair a/1.png b.png" in line
    assert not Path("out").exists()
    predict(table, "--writer.hloc=false")
    assert len(colmap_matches(DATABASE)) == 2
    table.write_text("image0,image1\na/1.png,b.png\na-1.png,c.png\n")
    predict(table, "--writer.overwrite=true")
    assert len(hloc_matches(Path("out/hloc"))) == 2


def test_an_image_has_one_name_however_its_path_is_written():
    pairs = [("lists/../shots/a.png", "shots/b.png"), ("other/c.png", "shots/./a.png")]
    assert names_from_common_folder(pairs) == {
        "lists/../shots/a.png": "shots/a.png",
        "shots/b.png": "shots/b.png",
        "other/c.png": "other/c.png",
        "shots/./a.png": "shots/a.png",
    }


def test_cameras_of_colmap_have_the_size_of_the_stored_images():
    upright = scene()
    store_turned(Path("in/a.jpg"), np.ascontiguousarray(upright[:, :-12]), 6)
    write(Path("in/b.jpg"), upright[:, 12:])
    predict("in")
    query = "SELECT name, model, width, height, params FROM images NATURAL JOIN cameras"
    cameras = {name: rest for name, *rest in colmap_rows(DATABASE, query)}
    assert cameras["a.jpg"][:3] == [2, 120, 158]
    assert cameras["b.jpg"][:3] == [2, 158, 120]
    assert np.frombuffer(cameras["b.jpg"][3]).tolist() == pytest.approx([1.2 * 158, 79, 60, 0])


@pytest.mark.parametrize("export", [write_colmap, write_hloc])
def test_name_that_is_not_unicode_raises(export, tmp_path):
    files = [{"name": "one", "image0": "a.png", "image1": "b\udcff.png"}]
    with pytest.raises(InputError, match=r"cannot be exported: names are stored as UTF-8 text"):
        export(tmp_path / "out", tmp_path, files)


def test_best_match_of_a_keypoint_is_exported_to_hloc(tmp_path):
    (tmp_path / "one").mkdir()
    points = np.array([[1, 2], [1, 2]], np.float32), np.array([[3, 4], [5, 6]], np.float32)
    score, size = np.array([0.9, 0.4], np.float32), np.array([10, 12])
    np.savez(
        tmp_path / "one/matches.npz",
        keypoints0=points[0],
        keypoints1=points[1],
        score=score,
        size0=size,
        size1=size,
    )
    write_hloc(tmp_path / "h", tmp_path, [{"name": "one", "image0": "a.png", "image1": "b.png"}])
    assert hloc_matches(tmp_path / "h")["a.png", "b.png"].tolist() == [[0, 0]]


def test_text_files_of_colmap_hold_what_the_database_holds():
    for i in range(2):
        store_turned(Path(f"in/{i}.png"), np.roll(scene(), 5 * i, axis=1), 1)
    predict("in/0.png,in/1.png")
    header, *lines = Path("out/colmap/0.png.txt").read_text().splitlines()
    assert header == f"{len(lines)} 128"
    points = np.array([[float(v) for v in line.split()[:2]] for line in lines]) - 0.5
    np.testing.assert_allclose(points, colmap_keypoints(DATABASE, "0.png"), atol=1e-3)
    names, *pairs = Path("out/colmap/matches.txt").read_text().split("\n")
    assert names == "0.png 1.png"
    indices = np.array([line.split() for line in pairs if line], int)
    np.testing.assert_array_equal(indices, colmap_matches(DATABASE)["0.png", "1.png"])


@pytest.mark.parametrize("name", ["IMG 1.png", "#1.png", "matches", "database.db/1.png"])
def test_names_that_text_files_cannot_contain_leave_the_database(name):
    assert colmap_files([(f"in/{name}", "in/b.png")]) == ["database.db"]
