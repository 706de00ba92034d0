"""Small runs of the benchmark of pair matchers."""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from patchmatch.io import write_flo
from patchmatch.pairs.synthetic_benchmark import FACTORS, warped_pair

ROOT = Path(__file__).parents[2]
pytest.importorskip("skimage", reason="needs the photographs of scikit-image")
pytest.importorskip("sklearn", reason="needs the photographs of scikit-learn")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "dev"))
    for name in ("benchmark_match", "match_peers", "match_real_pairs"):
        sys.modules.pop(name, None)
    import benchmark_match

    return benchmark_match


@pytest.mark.parametrize("factor", FACTORS)
def test_homography_of_a_synthetic_pair_is_correct(factor):
    image = np.full((60, 90), 20, np.uint8)
    cv2.circle(image, (31, 22), 9, 220, -1)
    amount = FACTORS[factor][2]
    image0, image1, truth = warped_pair(image, factor, amount)
    centres = []
    for view in (image0, image1):
        bright = np.argwhere(view > (0.4 if factor != "light" else 0.35) * view.max())
        centres.append([*bright.mean(axis=0)[::-1], 1])
    expected = truth @ centres[0]
    assert centres[1][:2] == pytest.approx(expected[:2] / expected[2], abs=0.5)


def test_unknown_factor_raises():
    with pytest.raises(ValueError, match="factor must be one of rotation, scale, tilt, light"):
        warped_pair(np.zeros((9, 9), np.uint8), "time", 1)


def test_small_run_measures_easy_and_hard_pairs(benchmark, tmp_path):
    factors = {"rotation": (0, 45), "tilt": (1, 5.66)}
    benchmark.accuracy(["OpenCV", "sift"], 1, tmp_path, factors)
    with (tmp_path / "accuracy.csv").open(newline="") as file:
        rows = {(r["matcher"], r["factor"], r["amount"]): r for r in csv.DictReader(file)}
    assert len(rows) == 8
    for name in ("OpenCV", "sift"):
        assert float(rows[name, "rotation", "45"]["mma_3"]) > 0.8
        assert float(rows[name, "rotation", "45"]["right"]) == 1
        assert float(rows[name, "tilt", "5.66"]["mma_3"]) < 0.3
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_matcher_without_weights_is_skipped(benchmark, capsys, monkeypatch):
    from rich.console import Console

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("kornia.feature.affine_shape.load_state_dict_from_url", fail)
    assert benchmark.load_matchers(["affnet_hardnet"], Console()) == {}
    assert "affnet_hardnet is skipped" in capsys.readouterr().out


def test_matcher_and_library_are_timed(benchmark, capsys):
    numbers = {}
    for how in ("ours", "library"):
        benchmark.time_pair("sift", how, 200, 300, {})
        numbers[how] = [float(word) for word in capsys.readouterr().out.split()]
    assert numbers["ours"][0] > 100
    assert numbers["library"][0] > 100
    assert 0 < numbers["ours"][1] < 60


class NoMatches(torch.nn.Module):
    """Replacement of LoFTR that finds no matches."""

    def forward(self, batch):
        empty = torch.zeros(0, 2)
        return {"keypoints0": empty, "keypoints1": empty, "confidence": empty[:, 0]}


def test_matcher_with_random_weights_is_timed_on_the_true_tiles(benchmark, monkeypatch):
    import match_peers

    from patchmatch.pairs.loftr.matcher import LoFTRMatcher
    from patchmatch.pairs.sift import SIFTMatcher

    monkeypatch.setattr(match_peers, "_random_loftr", NoMatches)
    assert not match_peers.set_random_weights(SIFTMatcher())
    matcher = LoFTRMatcher(max_size=None, tile=192)
    assert match_peers.set_random_weights(matcher)
    image0 = benchmark.photographs(1)[0][:220, :300]
    image1 = np.ascontiguousarray(image0[:, match_peers.SHIFT :])
    found = benchmark.match_images(image0, image1, matcher)
    error = np.abs((found.keypoints1 - found.keypoints0).numpy() - [-match_peers.SHIFT, 0])
    assert len(found) > 300
    assert (error.max(axis=1) < 1).mean() > 0.9


def test_matches_are_compared_with_ground_truth_flow(benchmark, tmp_path, capsys):
    image = benchmark.photographs(1)[0][:120, :160]
    folder = tmp_path / "shift of six"
    folder.mkdir()
    cv2.imwrite(str(folder / "frame_1.png"), image[:, 6:])
    cv2.imwrite(str(folder / "frame_2.png"), image[:, :-6])
    flow = np.zeros((120, 154, 2), np.float32)
    flow[..., 0] = 6
    write_flo(folder / "flow.flo", flow)
    benchmark.true_flow(["sift"], tmp_path)
    output = capsys.readouterr().out
    assert "shift of six" in output
    assert float(output.rpartition("sift")[2].split(",")[1].split()[0]) > 0.95


@pytest.fixture
def real_pairs(tmp_path, benchmark):
    """A folder of benchmarks: one pair with a homography, and an empty folder."""
    image = benchmark.photographs(1)[0][:200, :260]
    folder = tmp_path / "sets/marked"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "ShiftA.png"), image[:, :240])
    cv2.imwrite(str(folder / "ShiftB.png"), image[:, 20:])
    np.savetxt(folder / "Shift_H.txt", [[1, 0, -20], [0, 1, 0], [0, 0, 1]])
    (tmp_path / "sets/empty").mkdir()
    return tmp_path / "sets"


def test_matchers_are_measured_on_real_pairs(benchmark, real_pairs, tmp_path, capsys):
    names = ["sift:max_matches=50", "loftr:weights=absent.ckpt"]
    rows = benchmark.compare(names, real_pairs, tmp_path / "out")
    (row,) = rows
    assert (row["matcher"], row["set"]) == (names[0], "marked")
    assert row["matches"] == 50
    assert row["mma_3"] == 1
    assert row["corner_error"] < 0.5
    assert 0 < row["seconds"] < 60
    output = capsys.readouterr().out
    assert "loftr:weights=absent.ckpt is skipped: absent.ckpt: no such file" in output
    assert "1.00, " in output
    with (tmp_path / "out/real_pairs.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1


def test_measured_matchers_are_kept(benchmark, real_pairs, tmp_path, monkeypatch, capsys):
    import match_real_pairs

    first = benchmark.compare(["sift"], real_pairs, tmp_path)
    runs = []

    def run(text, folder, console, turn):
        runs.append(text)
        yield {**first[0], "matcher": text, "matches": 7}

    monkeypatch.setattr(match_real_pairs, "_run", run)
    arguments = ["--pairs", str(real_pairs), "--output", str(tmp_path)]
    benchmark.main([*arguments, "--resume", "--matchers", "OpenCV", "sift"])
    assert runs == ["OpenCV"]
    with (tmp_path / "real_pairs.csv").open(newline="") as file:
        rows = {row["matcher"]: row for row in csv.DictReader(file)}
    assert rows["OpenCV"]["matches"] == "7"
    assert rows["sift"]["corner_error"] == str(first[0]["corner_error"])
    assert "OpenCV" in capsys.readouterr().out.rpartition("sift")[0]
    benchmark.main([*arguments, "--matchers", "sift"])
    assert runs == ["OpenCV", "sift"]


@pytest.mark.parametrize("degrees", [90, 30])
def test_errors_of_turned_images_are_those_of_the_pair(benchmark, real_pairs, degrees):
    import match_real_pairs

    root, (pair,) = match_real_pairs.find_sets(real_pairs)["marked"]
    match = match_real_pairs.load("sift")
    shapes = []

    def observed(image0, image1, cameras):
        shapes.append(image0.shape[:2])
        return match(image0, image1, cameras)

    row = match_real_pairs.measure(observed, root, pair, degrees)
    assert shapes == [{90: (240, 200), 30: (294, 308)}[degrees]]
    assert row["mma_3"] > 0.95
    assert row["corner_error"] < 1


def test_pose_error_is_that_of_the_matcher(benchmark, monkeypatch):
    import match_real_pairs

    from patchmatch.pairs.benchmarks import TruePair
    from patchmatch.pairs.results import Matches

    pose = torch.tensor([[1, 0, 0, 0.0], [0, 1, 0, 1], [0, 0, 1, 0]], dtype=torch.float64)
    points = torch.rand(9, 2) * 50
    found = Matches(keypoints0=points, keypoints1=points, score=torch.ones(9), pose=pose)
    truth = np.eye(4)
    truth[0, 3] = 2
    camera = np.diag([100, 100, 1.0])
    pair = TruePair(
        group="p", image0="a", image1="b", intrinsics0=camera, intrinsics1=camera, pose=truth
    )
    images = {"a": np.zeros((50, 50), np.uint8), "b": np.zeros((50, 50), np.uint8)}
    monkeypatch.setattr(match_real_pairs, "read_image", lambda path: images[path.name])
    given = []

    def match(image0, image1, cameras):
        given.append(cameras)
        return found

    row = match_real_pairs.measure(match, Path("root"), pair)
    assert row["pose_error"] == pytest.approx(90)  # the translation is perpendicular
    assert given[0][0] is camera


def test_unknown_matcher_is_an_error(benchmark, real_pairs, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--pairs", str(real_pairs), "--matchers", "surf:contrast=1"])
    assert "surf: no such matcher" in capsys.readouterr().err
