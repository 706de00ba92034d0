"""Stereo: generated pairs, loss, aggregation, checks and the public function."""

import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.evaluate import main as evaluate
from patchmatch.io import read_csv, write_csv
from patchmatch.io.disparity import write_pfm
from patchmatch.stereo import kernels
from patchmatch.stereo.aggregation import Aggregation, aggregate_disparity, narrow_range
from patchmatch.stereo.checks import inspect_pair, require_pair
from patchmatch.stereo.data import StereoScenes
from patchmatch.stereo.net import row_logits, row_loss
from patchmatch.stereo.results import disparity_errors
from patchmatch.stereo.scenes import sample_scene


def smooth_noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, height, width)))
    return torch.nn.functional.avg_pool2d(noise.float(), 3, 1, 1).numpy()[0]


@pytest.fixture(scope="module")
def step_pair():
    """A square of disparity 12 before a wall of disparity 4."""
    wall, square = smooth_noise(64, 128), smooth_noise(64, 128, 1)
    left, right = wall[:, :, :112].copy(), wall[:, :, 4:116].copy()
    left[:, 16:48, 50:80] = square[:, 16:48, 50:80]
    right[:, 16:48, 38:68] = square[:, 16:48, 50:80]
    truth = np.full((64, 112), 4.0, np.float32)
    truth[16:48, 50:80] = 12
    return torch.from_numpy(left), torch.from_numpy(right), truth


def test_generated_disparity_leads_to_the_same_texture():
    textures = [
        (255 * smooth_noise(80, 160, seed).transpose(1, 2, 0)).astype(np.uint8) for seed in (0, 1)
    ]
    scene = sample_scene(textures, (48, 96), 24, 0.0, np.random.default_rng(3))
    rows, columns = np.nonzero(scene.visible)
    target = np.rint(columns - scene.disparity[rows, columns]).astype(int).clip(0)
    matched = np.abs(scene.image0[rows, columns] - scene.image1[rows, target]).mean()
    unmatched = np.abs(scene.image0[rows, columns] - scene.image1[rows, columns]).mean()
    assert matched < 0.4 * unmatched
    assert scene.disparity.min() >= 0
    assert scene.disparity.max() <= 24
    assert 0.5 < scene.visible.mean() < 1


def test_the_same_index_gives_the_same_pair():
    data = StereoScenes(source="embedded", height=32, width=64, max_disparity=16, canvases=2)
    data.setup("validate")
    first, again = data.sets["val"][0], data.sets["val"][0]
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_loss_is_low_at_the_true_disparity_only():
    logits = torch.full((1, 20, 20), -1e4)
    columns = torch.arange(3, 20)
    logits[:, columns, columns - 3] = 10.0
    visible = torch.zeros(1, 20, dtype=torch.bool)
    visible[:, 3:] = True
    right, wrong = (row_loss(logits, torch.full((1, 20), d), visible) for d in (3.0, 8.0))
    assert right[0] < 1e-3 < wrong[0]
    assert (right[1], wrong[1]) == (0, 1)


def test_logits_outside_the_range_are_excluded():
    features = torch.nn.functional.normalize(torch.ones(1, 2, 6), dim=1)
    logits = row_logits(features, features, torch.tensor(5.0), 2)[0]
    assert (logits > 0).nonzero().tolist() == [
        [x, z] for x in range(6) for z in range(6) if 0 <= x - z <= 2
    ]


def exact_features(step_pair) -> list[np.ndarray]:
    images = [image.permute(1, 2, 0).numpy() - 0.5 for image in step_pair[:2]]
    unit = [i / np.linalg.norm(i, axis=2, keepdims=True) for i in images]
    return [np.ascontiguousarray(np.rint(127 * i).astype(np.int8)) for i in unit]


@pytest.mark.parametrize("narrow", [False, True])
def test_aggregation_finds_a_square_before_a_wall(step_pair, narrow):
    truth = step_pair[2]
    low, count = np.zeros(truth.shape, np.int16), 20
    if narrow:  # every pixel has its own range
        low, count = narrow_range(truth, 8), 8
    gray = step_pair[0].mean(dim=0).numpy()
    first, second = exact_features(step_pair)
    found = aggregate_disparity(first, second, gray, low, count, Aggregation())
    disparity, confidence, consistent = found
    assert disparity_errors(disparity, truth)["bad_2"] < 0.06
    assert consistent.mean() > 0.8
    assert (confidence[~consistent] == 0).all()
    occluded = disparity[20:44, 43:49]  # the wall, hidden in the right image by the square
    assert np.median(occluded) == pytest.approx(4, abs=0.6)


def test_the_public_function_measures_with_the_shipped_weights(step_pair):
    left, right, truth = step_pair
    disparity, confidence = patchmatch.measure_disparity(left, right, 20)
    assert disparity.shape == confidence.shape == truth.shape
    assert disparity_errors(disparity.numpy(), truth)["bad_2"] < 0.15
    assert float(confidence.max()) <= 1


def test_the_range_is_estimated(step_pair):
    disparity, _ = patchmatch.measure_disparity(*step_pair[:2])
    assert np.abs(disparity.numpy()[24:40, 58:72] - 12).mean() < 2


def test_errors_leave_out_unknown_truth():
    truth = np.array([[10.0, 100.0, np.nan, 0.0]])
    errors = disparity_errors(np.array([[11.5, 104.0, 5.0, 5.0]]), truth)
    assert errors == {"epe": 2.75, "bad_1": 1.0, "bad_2": 0.5, "d1": 0.0}


def test_images_that_are_no_pair_are_rejected():
    image = torch.rand(1, 3, 40, 60)
    with pytest.raises(InputError, match="same image"):
        require_pair(image, image.clone())
    with pytest.raises(InputError, match="expected one size, got 60x40 and 50x40"):
        require_pair(image, image[..., :50])
    with pytest.raises(InputError, match="at least 32"):
        require_pair(image[:, :, :20], image[:, :, 20:])


def test_exchanged_images_and_a_vertical_offset_are_noted():
    wide = torch.nn.functional.interpolate(
        torch.from_numpy(smooth_noise(100, 160))[None], scale_factor=2, mode="bilinear"
    )
    left, right = wide[:, :, 4:190, :280], wide[:, :, 4:190, 20:300]
    assert inspect_pair(left, right) == []
    assert "exchanged" in " ".join(inspect_pair(right, left))
    assert "4.0 pixels higher" in " ".join(inspect_pair(left, wide[:, :, 8:194, 20:300]))


def test_a_run_is_evaluated_over_the_pixels_of_all_pairs(tmp_path, capsys):
    truth = {"a": np.full((4, 6), 5, np.float32), "b": np.full((2, 6), 8, np.float32)}
    truth["b"][0] = np.inf  # unknown
    for name, values in truth.items():
        write_pfm(tmp_path / "truth" / f"{name}.pfm", values)
        found = values + 4 if name == "a" else np.full_like(values, 8)
        write_pfm(tmp_path / "run" / "pairs" / name / "disparity.pfm", found)
    write_csv(tmp_path / "run" / "pairs.csv", ["name"], [{"name": n} for n in ("a", "b", "c")])
    evaluate([str(tmp_path / "run"), str(tmp_path / "truth")])
    assert "c: no truth" in capsys.readouterr().err
    (row,) = read_csv(tmp_path / "run" / "evaluation.csv", ("pairs", "epe"))
    assert (row["pairs"], row["pixels"], row["epe"]) == ("2", "30", "3.2")  # 24 pixels off by 4
    assert row["bad_2"] == row["d1"] == "0.8"
    pairs = read_csv(tmp_path / "run" / "evaluation_pairs.csv", ("group", "epe"))
    assert [row["epe"] for row in pairs] == ["4", "0"]


def test_a_truth_of_another_size_is_an_error(tmp_path, capsys):
    write_pfm(tmp_path / "truth.pfm", np.ones((4, 5), np.float32))
    write_pfm(tmp_path / "run" / "pairs" / "a" / "disparity.pfm", np.ones((4, 6), np.float32))
    write_csv(tmp_path / "run" / "pairs.csv", ["name"], [{"name": "a"}])
    with pytest.raises(SystemExit) as stop:
        evaluate([str(tmp_path / "run"), str(tmp_path / "truth.pfm")])
    assert stop.value.code == 2
    assert "must have the size of the disparity, 6x4, got 5x4" in capsys.readouterr().err


def test_filled_pixels_take_a_quantile_of_pixels_of_a_similar_gray():
    rng = np.random.default_rng(0)
    gray = np.zeros((12, 19), np.float32)
    gray[:, 8:] = 0.8
    disparity = np.where(gray > 0, 3.25, 9.0).astype(np.float32)
    consistent = rng.random(gray.shape) < 0.6
    consistent[5, 3], consistent[5, 12] = False, False
    given = disparity.copy()
    given[5, 3], given[5, 12] = 2.0, 7.0  # wrong values of the filling
    found = np.empty_like(given)
    for rows in ((0, 6), (6, 12)):
        kernels.smooth_filled(
            given, consistent, gray, np.float32(0.02), np.float32(0.4), 4, 1, found, *rows
        )
    np.testing.assert_allclose(found, disparity, atol=1e-5)
    given[consistent] += 1  # they are copied
    kernels.smooth_filled(
        given, consistent, gray, np.float32(0.02), np.float32(0.4), 0, 1, found, 0, 12
    )
    np.testing.assert_allclose(found, given, atol=1e-5)
