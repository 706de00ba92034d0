"""Test the files of a pair and of a run, written from fabricated matches."""

import csv
import json
import math
import signal

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from program_runs import quiet_trainer, without_times
from torch.utils.data import DataLoader

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.io import read_flo, read_image
from patchmatch.nnf.results import DenseMatches, IterationMetrics
from patchmatch.nnf.writer import Reconstructions

FILES = {
    *("rebuilt_centre.png", "rebuilt_vote.png", "field.npz", "field.flo", "flow.png", "cost.png"),
    *("iterations.csv", "iterations.png", "overview.png"),
}


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pair(index: int) -> ImagePair:
    return {
        "index": index,
        "source": "run",
        "name": f"pic {index}",
        "names": (f"pic {index}.png", "other.png"),
        "image0": noise(1, 3, 20, 30, seed=index),
        "image1": noise(1, 3, 25, 28, seed=index + 100),
        "valid0": None,
        "valid1": None,
        "scale": 0.5,
        "pairs": [(0, 1)],
        "notes": [f"note {index}"],
    }


class Pairs(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.dataset = [pair(index) for index in range(3)]

    def skip(self, done) -> None:
        self.dataset = [pair for pair in self.dataset if pair["index"] not in done]

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.dataset, batch_size=None, collate_fn=lambda batch: batch)


class FakeMatcher(pl.LightningModule):
    """Returns fabricated matches, and fails at one pair."""

    def __init__(self, fail_at: int = -1, **results) -> None:
        super().__init__()
        self._fail_at, self._results = fail_at, results
        self.seen: list[int] = []
        self.keep_iterations: tuple[int, ...] = ()
        self.progress = None

    def observe(self, keep_iterations, progress) -> None:
        self.keep_iterations, self.progress = tuple(keep_iterations), progress

    def predict_step(self, batch, batch_idx) -> list[DenseMatches]:
        index = batch["index"]
        if index == self._fail_at:
            raise RuntimeError("interrupted")
        self.seen.append(index)
        history = tuple(
            IterationMetrics(
                iteration=i, ssd=0.5 / i, psnr=20.0 + i, ssim=0.5 + i / 10, seconds=0.25 * i
            )
            for i in (1, 2, 3)
        )
        assert self.progress is not None
        self.progress(batch["name"], history[0])
        flow = torch.stack([torch.full((20, 30), index), torch.full((20, 30), -3)])
        results = {
            "flow": flow,
            "cost": noise(20, 30, seed=index),
            "rebuilt_centre": noise(3, 20, 30, seed=5),
            "rebuilt_vote": noise(3, 20, 30, seed=6),
            "history": history,
            "snapshots": {i: noise(3, 20, 30, seed=10 + i) for i in self.keep_iterations if i <= 3},
        }
        named = {"name": batch["name"], "image0": batch["names"][0], "image1": batch["names"][1]}
        return [DenseMatches(**named, patch_size=5, seconds=0.75, **results | self._results)]


@pytest.fixture(autouse=True)
def _keep_the_signal_handler():
    handler = signal.getsignal(signal.SIGINT)  # Lightning ignores Ctrl+C for good after the first
    yield
    signal.signal(signal.SIGINT, handler)


def predict(folder, model=None, data=None, **options):
    model = model or FakeMatcher()
    trainer = quiet_trainer(Reconstructions(str(folder), **options))
    trainer.predict(model, datamodule=data or Pairs(), return_predictions=False)
    return model


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    content = {name: path.read_bytes() for name, path in found.items()}
    content["summary.json"] = without_times(content["summary.json"])
    return content


def test_every_pair_has_a_folder_and_a_row_in_the_table(tmp_path):
    predict(tmp_path)
    folders = sorted((tmp_path / "pairs").iterdir())
    assert [folder.name for folder in folders] == [f"pic {index}" for index in range(3)]
    assert all({path.name for path in folder.iterdir()} == FILES for folder in folders)
    table = rows(tmp_path / "pairs.csv")
    assert [row["name"] for row in table] == [f"pic {index}" for index in range(3)]
    assert table[1] == {
        "name": "pic 1",
        "image0": "pic 1.png",
        "image1": "other.png",
        "width0": "30",
        "height0": "20",
        "width1": "28",
        "height1": "25",
        "scale": "0.5",
        "patch_size": "5",
        "iterations": "3",
        "ssd": "0.16666667",
        "psnr": "23",
        "ssim": "0.8",
        "seconds": "0.75",
        "consistent": "",
    }
    assert not (tmp_path / "chunks").exists()
    assert json.loads((tmp_path / "summary.json").read_text())["pairs"] == 3


def test_the_files_of_a_pair_contain_its_results(tmp_path):
    predict(tmp_path)
    folder = tmp_path / "pairs" / "pic 2"
    flow, known = read_flo(folder / "field.flo")
    assert known.all()
    assert flow.shape == (20, 30, 2)
    assert flow[3, 4].tolist() == [2, -3]
    with np.load(folder / "field.npz") as field:
        assert set(field.files) == {"flow", "cost", "patch_size", "scale"}
        assert field["flow"].shape == (2, 20, 30)
        assert field["flow"][:, 3, 4].tolist() == [2, -3]
        assert np.array_equal(field["cost"], noise(20, 30, seed=2).numpy())
        assert (field["patch_size"], field["scale"]) == (5, 0.5)
    for name, seed in (("rebuilt_centre", 5), ("rebuilt_vote", 6)):
        expected = (noise(3, 20, 30, seed=seed) * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(read_image(folder / f"{name}.png"), expected)
    assert rows(folder / "iterations.csv")[1] == {
        "iteration": "2",
        "ssd": "0.25",
        "psnr": "22",
        "ssim": "0.7",
        "seconds": "0.5",
    }
    assert read_image(folder / "flow.png").shape == (20, 30, 3)
    assert read_image(folder / "cost.png").shape[0] == 20


def test_snapshots_of_the_given_iterations_are_written(tmp_path):
    predict(tmp_path, keep_iterations=[3, 1, 20])
    folder = tmp_path / "pairs" / "pic 0"
    kept = sorted(path.name for path in folder.glob("rebuilt_vote_*"))
    assert kept == ["rebuilt_vote_1.png", "rebuilt_vote_3.png"]
    assert (folder / "image0.png").is_file()
    expected = (noise(3, 20, 30, seed=11) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(read_image(folder / kept[0]), expected)


def test_the_consistent_fraction_refers_to_the_matched_pixels(tmp_path):
    consistent, valid = (torch.zeros(20, 30, dtype=torch.bool) for _ in range(2))
    consistent[:5], valid[:10] = True, True
    back = torch.ones(2, 25, 28, dtype=torch.long)
    predict(tmp_path, FakeMatcher(consistent=consistent, valid=valid, flow10=back))
    assert rows(tmp_path / "pairs.csv")[0]["consistent"] == "0.5"
    folder = tmp_path / "pairs" / "pic 0"
    assert np.array_equal(read_image(folder / "consistent.png") > 0, consistent.numpy())
    _, known = read_flo(folder / "field.flo")
    assert np.array_equal(known, valid.numpy())
    with np.load(folder / "field.npz") as field:
        assert np.array_equal(field["consistent"], consistent.numpy())
        assert np.array_equal(field["valid"], valid.numpy())
        assert field["flow10"].shape == (2, 25, 28)


def test_the_field_contains_all_matches_and_the_images_show_the_best(tmp_path):
    flow = torch.arange(2 * 2 * 20 * 30).reshape(2, 2, 20, 30)
    cost = noise(2, 20, 30)
    predict(tmp_path, FakeMatcher(flow=flow, cost=cost))
    folder = tmp_path / "pairs" / "pic 0"
    with np.load(folder / "field.npz") as field:
        assert np.array_equal(field["flow"], flow.numpy())
        assert np.array_equal(field["cost"], cost.numpy())
    assert np.array_equal(read_flo(folder / "field.flo")[0], flow[0].permute(1, 2, 0).numpy())


def test_gray_images_and_an_exact_reconstruction_are_written(tmp_path):
    exact = IterationMetrics(iteration=1, ssd=0.0, psnr=math.inf, ssim=math.nan, seconds=0.0)
    gray = noise(1, 20, 30)
    predict(tmp_path, FakeMatcher(rebuilt_vote=gray, rebuilt_centre=gray, history=(exact,)))
    assert read_image(tmp_path / "pairs" / "pic 0" / "rebuilt_vote.png").shape == (20, 30)
    row = rows(tmp_path / "pairs.csv")[0]
    assert (row["ssd"], row["psnr"], row["ssim"]) == ("0", "inf", "")


def test_masked_pixels_are_unknown_in_every_file(tmp_path):
    cost, valid = noise(20, 30), torch.ones(20, 30, dtype=torch.bool)
    cost[2, 3], valid[2, 3] = math.inf, False
    predict(tmp_path, FakeMatcher(cost=cost, valid=valid))
    folder = tmp_path / "pairs" / "pic 0"
    assert read_image(folder / "cost.png")[2, 3].tolist() == [128] * 3
    assert not read_flo(folder / "field.flo")[1][2, 3]


def test_the_end_of_a_run_lists_the_written_files(tmp_path, capsys):
    predict(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 pairs: 3 reconstructions"
    assert lines[1].split() == ["images", str(tmp_path / "pairs")]
    assert lines[2].endswith("overview.png")
    assert lines[3].split() == ["table", str(tmp_path / "pairs.csv")]


def test_an_earlier_run_is_kept_without_overwrite_and_replaced_with_it(tmp_path):
    predict(tmp_path)
    (tmp_path / "pairs" / "pic 2" / "my notes.txt").write_text("stay")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="contains an earlier run"):
        predict(tmp_path)
    assert contents(tmp_path) == before
    data = Pairs()
    data.dataset = data.dataset[:2]
    predict(tmp_path, data=data, overwrite=True)
    left = {folder.name: {path.name for path in folder.iterdir()} for folder in _folders(tmp_path)}
    assert left == {"pic 0": FILES, "pic 1": FILES, "pic 2": {"my notes.txt"}}


def _folders(folder):
    return (folder / "pairs").iterdir()


def test_a_resumed_run_writes_the_same_files(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    predict(whole)
    with pytest.raises(RuntimeError, match="interrupted"):
        predict(stopped, FakeMatcher(fail_at=2))
    assert [row["name"] for row in rows(stopped / "pairs.csv")] == ["pic 0", "pic 1"]
    with pytest.warns(UserWarning, match="resuming; 2 pairs are already complete"):
        assert predict(stopped, resume=True).seen == [2]
    assert contents(stopped) == contents(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_iterations": [0]}, "keep_iterations must be at least 1"),
        ({"max_flow": 0.0}, "max_flow must be a positive number"),
        ({"max_cost": -1.0}, "max_cost must be a positive number"),
        ({"overview_size": 3}, "overview_size must be at least 16"),
    ],
)
def test_invalid_options_raise(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Reconstructions(str(tmp_path), **options)
