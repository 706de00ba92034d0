"""Runs of image matching on the command line, and the errors of wrong input."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from program_runs import one_line, rows, write

from patchmatch.cli import main
from patchmatch.evaluate import main as evaluate
from patchmatch.io import read_image

ROOT = Path(__file__).parents[2]
QUICK = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.accelerator=cpu", "--writer.output_path=out"),
]
PICTURES = ("homography_matches.png", "panorama.png", "warped.png", "checkerboard.png")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def random_image(seed=0, height=110, width=150):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3))
    large = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two pairs; image 1 is image 0 shifted by twelve pixels to the left."""
    for i, name in enumerate(("a", "b")):
        scene = random_image(seed=i)
        write(tmp_path / "in" / "image_1" / f"{name}.png", scene[:, :-12])
        write(tmp_path / "in" / "image_2" / f"{name}.png", scene[:, 12:])
    return tmp_path / "in"


def predict(pairs, *options, name="sift"):
    config = str(ROOT / "configs" / f"config_match_{name}.yaml")
    main(["predict", "-c", config, f"--data.pairs={pairs}", *QUICK, *options])


def error_line(capsys, *arguments, **options):
    """Return the error line of a prediction with exit code 2."""
    return one_line(capsys, lambda: predict(*arguments, **options))


def test_folder_of_pairs_is_matched(folder, capsys):
    predict(folder, "--writer.colmap=true")
    table = rows()
    assert [row["name"] for row in table] == ["a", "b"]
    for row in table:
        assert row["kind"] == "overlapping"
        assert float(row["h13"]) == pytest.approx(-12, abs=0.1)
        pair = Path("out/pairs") / row["name"]
        matches = rows(pair / "matches.csv")
        assert len(matches) == int(row["matches"]) > 20
        assert sum(int(match["inlier"]) for match in matches) == int(row["inliers"])
        with np.load(pair / "matches.npz") as arrays:
            shift = arrays["keypoints1"] - arrays["keypoints0"]
            assert np.abs(np.median(shift, axis=0) - [-12, 0]).max() < 0.1
            assert arrays["homography"].shape == (3, 3)
            assert arrays["size0"].tolist() == [110, 138]
        assert all((pair / name).is_file() for name in PICTURES)
        warped = read_image(pair / "warped.png")[:, :, 0]
        target = read_image(Path(folder, "image_2", f"{row['name']}.png"))
        assert warped.shape == target.shape[:2]
        known = warped[10:-10, 10:120]  # the rest is outside image 0
        assert np.abs(known - target.reshape(*warped.shape, -1)[10:-10, 10:120, 0]).mean() < 3
        panorama = read_image(pair / "panorama.png")
        assert panorama.shape[1] == pytest.approx(150, abs=2)
    output = capsys.readouterr().out
    assert "2 pairs: 2 matched (2 overlapping)" in output
    assert Path("out/colmap/database.db").stat().st_size > 1000


def test_matches_are_exported_for_hloc(folder):
    predict(folder, "--writer.hloc=true")
    with h5py.File("out/hloc/matches.h5") as file:
        pair = file["image_1-b.png"]["image_2-b.png"]
        index, score = pair["matches0"][:], pair["matching_scores0"][:]
    with h5py.File("out/hloc/features.h5") as file:
        one, other = file["image_1/b.png"], file["image_2/b.png"]
        points0, points1 = one["keypoints"][:], other["keypoints"][:]
        descriptors = one["descriptors"][:].astype(float), other["descriptors"][:].astype(float)
    table = rows("out/pairs/b/matches.csv")
    assert len(points0) == len(index) == len(table)
    assert points1[index[0]].tolist() == pytest.approx(
        [float(table[0]["x1"]), float(table[0]["y1"])], abs=1e-3
    )
    assert score[0] == pytest.approx(float(table[0]["score"]), abs=1e-3)
    similarity = (descriptors[0] * descriptors[1][:, index]).sum(axis=0)
    assert descriptors[0].shape == (128, len(points0))
    assert np.median(similarity) > 0.9


def test_fundamental_matrix_is_written_with_its_inliers(folder):
    predict(folder, "--model.epipolar=fundamental")
    row = rows()[0]
    assert 20 < int(row["epipolar_inliers"]) <= int(row["matches"])
    matches = rows("out/pairs/a/matches.csv")
    assert sum(int(m["epipolar_inlier"]) for m in matches) == int(row["epipolar_inliers"])
    errors = [float(m["epipolar_error"]) for m in matches if int(m["epipolar_inlier"])]
    assert float(row["epipolar_error"]) == pytest.approx(np.median(errors), abs=2e-3)
    assert np.median(errors) < 0.5  # pixels; the scene is shifted exactly
    with np.load("out/pairs/a/matches.npz") as arrays:
        inliers = arrays["epipolar_inliers"]
        points = [np.c_[arrays[f"keypoints{i}"], np.ones(len(inliers))] for i in (0, 1)]
        lines = points[0] @ arrays["epipolar"].T
        error = np.abs((lines * points[1]).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
        assert error[inliers].max() < 1.5
        assert "pose" not in arrays
        entry = float(arrays["epipolar"][0, 1])
    assert float(row["e12"]) == pytest.approx(entry, rel=1e-6)


def depth_pair(folder):
    """Two views of random depth by a camera that moves to the right: each patch moves by itself."""
    rng, size = np.random.default_rng(3), 40
    views = [random_image(seed=8, height=330, width=420) for _ in (0, 1)]
    for i, y in enumerate(range(10, 290, size + 4)):
        for j, x in enumerate(range(40, 350, size + 4)):
            patch = random_image(seed=100 + 20 * i + j, height=size, width=size)
            shift = int(rng.integers(2, 38))
            views[0][y : y + size, x : x + size] = patch
            views[1][y : y + size, x - shift : x - shift + size] = patch
    for name, view in zip(("left.png", "right.png"), views, strict=True):
        write(folder / name, view)
    return f"{folder}/left.png,{folder}/right.png"


@pytest.mark.parametrize("matrix", ["fundamental", "essential"])
def test_epipolar_matrix_decides_on_verdict_and_drawings(tmp_path, capsys, matrix):
    camera = "--model.intrinsics0=[400,400,210,165]"
    pair = depth_pair(tmp_path)
    predict(pair, f"--model.epipolar={matrix}", camera)
    row = rows()[0]
    assert row["kind"] == "overlapping"
    assert int(row["epipolar_inliers"]) > 8 + 0.3 * int(row["matches"])
    assert "inliers" not in capsys.readouterr().err
    folder = Path("out/pairs/left-right")
    drawn = {path.name for path in folder.glob("*.png")}
    assert drawn == {"homography_matches.png", "epipolar_lines.png"}


def test_flat_scene_has_a_panorama_with_an_epipolar_matrix_too(folder):
    predict(folder, "--model.epipolar=fundamental")
    assert all(Path("out/pairs/a", name).is_file() for name in PICTURES)


def test_matches_of_a_wrong_homography_are_doubtful(tmp_path, capsys, monkeypatch):
    """The network finds no turned image by itself; its matches agree with its own homography."""
    monkeypatch.setattr("patchmatch.pairs.homography.matcher.MIN_CORRELATION", -2.0)
    page = random_image(height=240, width=240)
    write(tmp_path / "page" / "1.png", page)
    write(tmp_path / "page" / "2.png", np.rot90(page))
    options = ("--model.min_score=0", "--model.grid=40", "--model.search=false")
    predict(tmp_path / "page", *options, name="homography_net")
    row = rows()[0]
    assert int(row["inliers"]) > 8 + 0.3 * int(row["matches"])
    assert row["kind"] == "doubtful"
    assert float(row["aligned"]) < 0.35
    assert "aligns only" in capsys.readouterr().err
    predict(
        *(tmp_path / "page", "--model.rotations=4", "--writer.overwrite=true"),
        name="homography_net",
    )
    assert rows()[0]["kind"] == "overlapping"
    assert float(rows()[0]["aligned"]) > 0.8


def test_essential_matrix_requires_intrinsics(folder, capsys):
    line = error_line(capsys, folder, "--model.epipolar=essential")
    assert "requires intrinsics0: give fx, fy, cx, cy" in line
    predict(folder, "--model.epipolar=essential", "--model.intrinsics0=[150,150,69,55]")
    assert rows()[0]["epipolar_inliers"]
    with np.load("out/pairs/a/matches.npz") as arrays:
        rotation = arrays["pose"][:, :3]
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-6)


def test_table_gives_intrinsics_for_each_pair(folder):
    """The second pair has other intrinsics than the option, and another essential matrix."""
    table = "image0,image1,intrinsics0,intrinsics1\n"
    for camera in ("150 150 69 55,", "90 90 69 55,300 300 69 55"):
        table += f"{folder}/image_1/a.png,{folder}/image_2/a.png,{camera}\n"
    Path("pairs.csv").write_text(table)
    predict("pairs.csv", "--model.epipolar=essential")

    def matrices():
        found = []
        for row in rows():
            with np.load(f"out/pairs/{row['name']}/matches.npz") as arrays:
                found.append(arrays["epipolar"])
        return found

    own = matrices()
    given = ("--model.intrinsics0=[150,150,69,55]", "--writer.overwrite=true")
    predict(folder, "--model.epipolar=essential", *given)
    expected = matrices()[0]
    assert own[0] == pytest.approx(expected)
    assert own[1] != pytest.approx(expected, abs=0.01)


def test_configs_match_or_report_missing_weights(folder, capsys, monkeypatch):
    predict(f"{folder}/image_1/a.png,{folder}/image_2/a.png", "--model.tilts=1", name="asift")
    assert rows()[0]["name"] == "a-a"
    assert rows()[0]["kind"] == "overlapping"

    def fail(*_, **__):
        raise OSError("no network")

    for module in ("hardnet", "affine_shape", "loftr.loftr"):
        monkeypatch.setattr(f"kornia.feature.{module}.load_state_dict_from_url", fail)
    for name, option, *given in (
        ("loftr", "--model.weights", "--model.pretrained=outdoor"),
        ("affnet_hardnet", "--model.descriptor_weights"),
    ):
        line = error_line(capsys, folder, "--writer.output_path=other", *given, name=name)
        assert "cannot be downloaded (no network); fetch https://" in line
        assert line.endswith(option)


def test_damaged_file_skips_only_its_pair(folder, capsys):
    (folder / "image_2" / "a.png").write_bytes(b"not an image")
    predict(folder)
    assert [row["name"] for row in rows()] == ["b"]
    assert "a.png: cannot be read as an image" in capsys.readouterr().err
    assert "a.png" in json.loads(Path("out/summary.json").read_text())["skipped"][0]


def test_fewer_than_four_matches_are_reported_and_written(folder, capsys):
    write(folder / "image_2" / "a.png", np.full((80, 90, 3), 128, np.uint8))
    predict(folder)
    row = rows()[0]
    assert (row["kind"], row["matches"], row["h11"], row["mean_score"]) == (
        "no_homography",
        "0",
        "",
        "",
    )
    assert "a: 0 matches, no homography: four are required" in capsys.readouterr().err
    assert rows("out/pairs/a/matches.csv") == []
    with np.load("out/pairs/a/matches.npz") as arrays:
        assert np.isnan(arrays["homography"]).all()
    assert Path("out/pairs/a/homography_matches.png").is_file()
    assert not Path("out/pairs/a/panorama.png").exists()


def test_images_without_overlap_are_not_overlapping(folder):
    write(folder / "image_2" / "a.png", random_image(seed=77))
    predict(folder)
    assert rows()[0]["kind"] in ("doubtful", "no_homography")
    assert rows()[1]["kind"] == "overlapping"


def test_images_of_any_size_and_type_are_matched(folder, tmp_path):
    scene = cv2.cvtColor(random_image(), cv2.COLOR_BGR2GRAY)
    write(tmp_path / "odd" / "1_dot.png", np.full((1, 1), 9, np.uint8))
    write(tmp_path / "odd" / "2_ribbon.png", np.resize(scene, (20_000, 100)))
    write(tmp_path / "odd" / "3_deep.png", scene.astype(np.uint16) * 257)
    write(
        tmp_path / "odd" / "4_alpha.png",
        np.dstack([random_image(), np.full(scene.shape, 3, np.uint8)]),
    )
    predict(tmp_path / "odd", "--data.order=sequential", "--model.max_keypoints=500")
    assert [row["name"].partition("-")[0] for row in rows()] == ["1_dot", "2_ribbon", "3_deep"]
    assert rows()[2]["kind"] == "overlapping"
    assert rows()[1]["height0"] == "20000"


def test_matches_of_downscaled_data_are_in_pixels_of_the_files(folder):
    large = cv2.resize(random_image(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    write(folder / "image_1" / "a.png", large[:, :-60])
    write(folder / "image_2" / "a.png", large[:, 60:])
    config = str(ROOT / "configs" / "config_match_sift.yaml")
    options = [f"--data.base_dir={folder}", "--data.max_size=270"]
    main(["predict", "-c", config, "--data=ImagePairs", *options, *QUICK])
    assert float(rows()[0]["h13"]) == pytest.approx(-60, abs=1)
    assert rows()[0]["width0"] == "540"


def test_run_is_resumed_and_not_overwritten(folder, capsys):
    predict(folder)
    before = Path("out/pairs.csv").read_bytes()
    assert "--writer.overwrite true" in error_line(capsys, folder)
    predict(folder, "--writer.resume=true")
    assert "the run is already complete" in capsys.readouterr().err
    assert Path("out/pairs.csv").read_bytes() == before


def test_overwrite_removes_the_files_of_the_earlier_run(folder, tmp_path):
    predict(folder, "--writer.colmap=true")
    write(tmp_path / "other" / "x.png", random_image())
    write(tmp_path / "other" / "y.png", random_image(seed=1))
    predict(tmp_path / "other", "--writer.overwrite=true")
    assert [path.name for path in Path("out/pairs").iterdir()] == ["x-y"]
    assert not Path("out/colmap/database.db").exists()


def test_table_of_a_run_is_not_a_list_of_pairs(tmp_path, capsys):
    """The output folder may be the folder of the images."""
    for seed, name in enumerate("abc"):
        write(tmp_path / "in" / f"{name}.png", random_image(seed))
    output = f"--writer.output_path={tmp_path / 'in'}"
    predict(tmp_path / "in", output)
    names = [row["name"] for row in rows(tmp_path / "in/pairs.csv")]
    assert names == ["a-b", "a-c", "b-c"]
    predict(tmp_path / "in", output, "--writer.overwrite=true")
    assert [row["name"] for row in rows(tmp_path / "in/pairs.csv")] == names
    message = error_line(capsys, tmp_path / "in/pairs.csv", output, "--writer.overwrite=true")
    assert "pairs.csv: is an input of this run and an output of the run in" in message
    assert [row["name"] for row in rows(tmp_path / "in/pairs.csv")] == names


def test_list_of_pairs_and_exports_of_others_are_kept(tmp_path, capsys):
    for seed, name in enumerate("ab"):
        write(tmp_path / "sfm/images" / f"{name}.png", random_image(seed))
    mine = {
        "pairs.csv": "image0,image1\nimages/a.png,images/b.png\n",
        "colmap/sparse/cameras.txt": "mine",
        "colmap/database.db": "mine",
        "hloc/features.h5": "mine",
    }
    for name, text in mine.items():
        (tmp_path / "sfm" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sfm" / name).write_text(text)
    output = f"--writer.output_path={tmp_path / 'sfm'}"
    for options in ([], ["--writer.overwrite=true"], ["--writer.resume=true"]):
        message = error_line(capsys, tmp_path / "sfm", output, *options)
        assert f"{tmp_path / 'sfm/pairs.csv'}: exists, and no run wrote it; move it, or" in message
    message = error_line(capsys, tmp_path / "sfm/images", output, "--writer.colmap=true")
    assert "(and 1 more)" in message
    assert {name: (tmp_path / "sfm" / name).read_text() for name in mine} == mine


def test_earlier_run_is_kept_if_the_weights_are_missing(folder, capsys):
    predict(folder)
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    options = ["--writer.overwrite=true", "--model.weights=absent.ckpt"]
    assert "absent.ckpt: no such file" in error_line(capsys, folder, *options, name="loftr")
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.rotations=3", "rotations must be 1, 2 or 4"),
        ("--model.check=some", "check must be ratio, mutual or both"),
        ("--data.order=random", "order must be one of all, sequential"),
        ("--writer.max_lines=-1", "max_lines must be at least 0"),
        ("--writer.panorama_size=1", "panorama_size must be at least 16"),
    ],
)
def test_invalid_setting_is_one_error_line(folder, capsys, option, message):
    assert message in error_line(capsys, folder, option)


def test_fit_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model=SIFTMatcher", "--data=ShiftedDigits", "--data.train_pairs=64",
              "--data.eval_pairs=32", "--data.canvases=5", "--trainer.logger=false"])  # fmt: skip
    assert stop.value.code == 2
    assert "SIFTMatcher cannot be trained" in capsys.readouterr().err


def test_benchmark_is_predicted_and_evaluated(tmp_path, capsys):
    """From images in the layout of HPatches to the table of results."""
    shift = np.array([[1, 0, -4], [0, 1, 2], [0, 0, 1.0]])
    for i, name in enumerate(("i_one", "v_two")):
        scene = random_image(seed=i)
        for k in range(1, 7):
            homography = np.linalg.matrix_power(shift, k - 1)
            view = cv2.warpPerspective(scene, homography, (150, 110))
            write(tmp_path / "hp" / name / f"{k}.ppm", view)
            if k > 1:
                np.savetxt(tmp_path / "hp" / name / f"H_1_{k}", homography)
    predict(tmp_path / "hp", "--writer.pictures_size=null")
    assert len(rows()) == 10
    assert not list(Path("out").glob("pairs/*/*.png"))
    evaluate(["out", str(tmp_path / "hp"), "--resize=480", "--max_matches=1000"])
    output = capsys.readouterr().out
    assert "shorter side 480" in output
    assert "no prediction" not in output
    table = rows("out/evaluation.csv")
    assert [(row["group"], row["pairs"]) for row in table] == [
        ("illumination", "5"),
        ("viewpoint", "5"),
        ("all", "10"),
    ]
    assert float(table[2]["mma_1"]) > 0.95
    assert float(table[2]["corner_auc_10"]) > 0.9
