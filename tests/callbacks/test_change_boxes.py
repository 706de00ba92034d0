import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from patchmatch.callbacks import ChangeBoxes
from patchmatch.data.clips import Clip
from patchmatch.errors import InputError
from patchmatch.io import read_csv, read_image
from patchmatch.results import FrameChanges, Kind

GREEN, RED, GRAY = [0, 255, 0], [255, 0, 0], [100, 100, 100]
HEADER = "source,frame0,frame1,x0,y0,x1,y1,dx,dy,kind,score"
# One block a row of the frame: still, one pixel, larger, one pixel with a low score.
BOXES = torch.tensor([[2, 1, 14, 9], [20, 11, 32, 19], [40, 21, 52, 29], [3, 31, 15, 39]])
KINDS = torch.tensor([Kind.STILL, Kind.ONE_PIXEL, Kind.LARGER, Kind.ONE_PIXEL])
SCORES = torch.tensor([0.9, 0.5, 0.96875, 0.26])


def clip(source: str = "cows", start: int = 0, several: bool = False, **options: object) -> Clip:
    """Return three gray frames of 40 rows and 60 columns, which are two pairs."""
    return (
        Clip(
            source=source,
            several=several,
            frames=torch.zeros(3, 1, 40, 60),
            pictures=[np.full((40, 60), 100, np.uint8) for _ in range(3)],
            names=[f"f{start + index:03d}" for index in range(3)],
            pairs=[(0, 1), (1, 2)],
            notes=[],
        )
        | options
    )  # type: ignore[return-value]


class Toy(pl.LightningModule):
    """Finds the same changes in every pair, or fails at a batch."""

    def __init__(self, fail_at: int = -1, error: type[BaseException] = RuntimeError) -> None:
        super().__init__()
        self.fail_at, self.error = fail_at, error

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        if batch_idx == self.fail_at:
            raise self.error("in the middle")
        return [changes(batch, pair) for pair in batch["pairs"]]


def changes(batch: Clip, pair: tuple[int, int], **options: torch.Tensor) -> FrameChanges:
    found = {
        "boxes": BOXES,
        "displacement": torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.0, 1.0], [-0.0, 0.25]]),
        "kind": KINDS,
        "score": SCORES,
        "matched": KINDS != Kind.LARGER,
        "confidence": SCORES,
    }
    name0, name1 = (batch["names"][index] for index in pair)
    return FrameChanges(batch["source"], name0, name1, **found | options)


def predict(writer: ChangeBoxes, clips: list[Clip], model: Toy | None = None) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[writer],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # Without a collate_fn the pictures would become tensors.
    loader = DataLoader(clips, batch_size=None, collate_fn=lambda batch: batch)
    trainer.predict(model or Toy(), loader, return_predictions=False)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _keep_the_signal_handler():
    handler = signal.getsignal(signal.SIGINT)  # Lightning ignores Ctrl+C for good after the first
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_run_leaves_a_picture_for_each_later_frame_a_table_and_a_summary(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2)])
    names = [f"topk_diffs/top20_f{number:03d}.png" for number in (1, 2, 3, 4)]
    assert files(tmp_path) == ["changes.csv", "summary.json", *names]
    assert not (tmp_path / "parts").exists()


def test_boxes_are_green_for_one_pixel_and_red_for_larger_and_none_for_still(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    picture = read_image(tmp_path / "topk_diffs/top20_f001.png")
    expected = np.full((40, 60, 3), 100, np.uint8)
    for index, color in ((1, GREEN), (2, RED), (3, GREEN)):
        x0, y0, x1, y1 = BOXES[index].tolist()
        expected[y0:y1, x0:x1] = color
        expected[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = GRAY
    assert (picture == expected).all()


def test_boxes_are_drawn_on_the_later_frame(tmp_path):
    pictures = [np.full((40, 60), value, np.uint8) for value in (10, 20, 30)]
    predict(ChangeBoxes(str(tmp_path)), [clip(pictures=pictures)])
    assert read_image(tmp_path / "topk_diffs/top20_f001.png")[0, 0].tolist() == [20, 20, 20]
    assert read_image(tmp_path / "topk_diffs/top20_f002.png")[0, 0].tolist() == [30, 30, 30]


def test_the_colors_and_the_line_width_can_be_chosen(tmp_path):
    options = {"color_one_pixel": "#102030", "color_larger": "blue", "line_width": 2}
    predict(ChangeBoxes(str(tmp_path), **options), [clip()])
    picture = read_image(tmp_path / "topk_diffs/top20_f001.png")
    assert picture[12, 21].tolist() == [16, 32, 48]
    assert picture[22, 41].tolist() == [0, 0, 255]
    assert picture[13, 22].tolist() == GRAY


def test_the_table_lists_the_drawn_boxes_most_changed_first(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    assert (tmp_path / "changes.csv").read_text().splitlines() == [
        HEADER,
        "cows,f000,f001,40,21,52,29,,,larger,0.9688",
        "cows,f000,f001,20,11,32,19,1,-1,one_pixel,0.5000",
        "cows,f000,f001,3,31,15,39,0,0.25,one_pixel,0.2600",
        "cows,f001,f002,40,21,52,29,,,larger,0.9688",
        "cows,f001,f002,20,11,32,19,1,-1,one_pixel,0.5000",
        "cows,f001,f002,3,31,15,39,0,0.25,one_pixel,0.2600",
    ]


def test_only_top_k_boxes_are_drawn_and_weak_ones_are_left_out(tmp_path):
    predict(ChangeBoxes(str(tmp_path / "a"), top_k=1), [clip()])
    assert [row["kind"] for row in read_csv(tmp_path / "a/changes.csv")] == ["larger"] * 2
    assert (tmp_path / "a/topk_diffs/top1_f002.png").exists()
    predict(ChangeBoxes(str(tmp_path / "b"), min_score=0.4), [clip(pairs=[(0, 2)])])
    assert [row["score"] for row in read_csv(tmp_path / "b/changes.csv")] == ["0.9688", "0.5000"]


class Piled(Toy):
    """Finds a strong block, one beside it, and weaker ones over half and a quarter of it."""

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        boxes = torch.tensor([[0, 0, 12, 8], [6, 0, 18, 8], [18, 0, 30, 8], [12, 4, 24, 12]])
        kind = torch.tensor([Kind.LARGER] * 4)
        score = torch.tensor([0.7, 0.9, 0.8, 0.6])
        return [
            changes(
                batch, pair, boxes=boxes, kind=kind, score=score, displacement=torch.zeros(4, 2)
            )
            for pair in batch["pairs"]
        ]


@pytest.mark.parametrize(
    ("max_overlap", "left"),
    [(0.1, ["6", "18"]), (0.2, ["6", "18", "12"]), (1.0, ["6", "18", "0", "12"])],
)
def test_of_overlapping_blocks_the_most_changed_is_drawn(tmp_path, max_overlap, left):
    writer = ChangeBoxes(str(tmp_path), max_overlap=max_overlap)
    predict(writer, [clip(pairs=[(0, 1)])], Piled())
    assert [row["x0"] for row in read_csv(tmp_path / "changes.csv")] == left


def test_a_still_pair_has_a_picture_without_boxes_and_no_rows(tmp_path):
    predict(ChangeBoxes(str(tmp_path), min_score=1.0), [clip()])
    assert (read_image(tmp_path / "topk_diffs/top20_f001.png") == 100).all()
    assert (tmp_path / "changes.csv").read_text() == HEADER + "\n"
    assert summary(tmp_path)["kinds"] == {}


def test_several_sequences_have_a_folder_each(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip("a", several=True), clip("b", several=True)])
    assert [name for name in files(tmp_path) if name.endswith("png")] == [
        "topk_diffs/a/top20_f001.png",
        "topk_diffs/a/top20_f002.png",
        "topk_diffs/b/top20_f001.png",
        "topk_diffs/b/top20_f002.png",
    ]
    assert summary(tmp_path)["sources"] == 2


def test_a_montage_shows_each_changed_patch_before_after_and_their_difference(tmp_path):
    pictures = [np.full((40, 60), value, np.uint8) for value in (10, 20, 30)]
    predict(ChangeBoxes(str(tmp_path), export_box_overlay=False), [clip(pictures=pictures)])
    picture = read_image(tmp_path / "topk_diffs/top20_f001.png")
    # The first tile: a gap of 8, a frame of 3, then patches of 12 x 8 pixels enlarged eightfold.
    row = picture[8 + 3 + 10]
    assert row[8 : 8 + 3].tolist() == [RED] * 3
    patches = [row[8 + 3 + index * 99 :][:96] for index in range(3)]
    assert [np.unique(patch).tolist() for patch in patches] == [[10], [20], [138]]
    assert (picture == GREEN).all(axis=2).any()


def test_a_montage_of_a_still_pair_is_not_written(tmp_path, capsys):
    predict(ChangeBoxes(str(tmp_path), export_box_overlay=False, min_score=1.0), [clip()])
    assert files(tmp_path) == ["changes.csv", "summary.json"]
    assert "pictures" not in capsys.readouterr().out


def test_the_summary_counts_and_the_console_says_where_things_are(tmp_path, capsys):
    predict(ChangeBoxes(str(tmp_path), top_k=3), [clip(), clip("b")])
    told = summary(tmp_path)
    assert 0 < told.pop("seconds") < 60
    assert told == {
        "complete": True,
        "sources": 2,
        "pairs": 4,
        "rows": 12,
        "kinds": {"larger": 4, "one_pixel": 8},
        "skipped": [],
        "settings": {
            "output_path": str(tmp_path),
            "overwrite": False,
            "top_k": 3,
            "min_score": 0.25,
            "export_box_overlay": True,
            "color_one_pixel": "green",
            "color_larger": "red",
            "max_overlap": 0.1,
            "line_width": None,
        },
    }
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "4 pairs of 2 sequences: 12 boxes (4 larger, 8 one pixel)",
        f"pictures  {tmp_path / 'topk_diffs'}",
        f"table     {tmp_path / 'changes.csv'}",
    ]


def test_notes_are_told_once_and_kept_in_the_summary(tmp_path, capsys):
    note = "cows/[b]f003.png: cut off; left out"
    predict(ChangeBoxes(str(tmp_path)), [clip(notes=[note, note]), clip(start=2, notes=[note])])
    assert capsys.readouterr().err.count(f"warning: {note}\n") == 1
    assert summary(tmp_path)["skipped"] == [note]


@pytest.mark.parametrize(
    "left", ["changes.csv", "summary.json", "parts/000001-0.csv", "topk_diffs/a/top5_f.png"]
)
def test_a_folder_with_a_former_run_is_refused_before_anything_is_predicted(tmp_path, left):
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("old")
    message = rf"{re.escape(str(tmp_path))}: holds a former run.*--writer.overwrite true.*_path$"
    with pytest.raises(InputError, match=message):
        predict(ChangeBoxes(str(tmp_path)), [clip()], Toy(fail_at=0))
    assert files(tmp_path) == [left]
    assert (tmp_path / left).read_text() == "old"


def test_other_files_in_the_folder_are_no_reason_to_refuse(tmp_path):
    (tmp_path / "topk_diffs").mkdir()
    (tmp_path / "topk_diffs/notes.txt").write_text("mine")
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    assert (tmp_path / "topk_diffs/notes.txt").read_text() == "mine"


def test_overwriting_removes_the_former_run_and_keeps_what_is_not_of_a_run(tmp_path):
    mine = ["config.yaml", "parts/mine-1.csv", "topk_diffs/mine.png", "topk_diffs/top_hat.png"]
    old = [
        "parts/000001-0.csv",
        "parts/000001-0.json",
        "topk_diffs/a/top5_f001.png",
        "topk_diffs/.0123456789ab.tmp.png",
    ]
    for name in (*mine, *old):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    predict(ChangeBoxes(str(tmp_path), overwrite=True), [clip(pairs=[(0, 1)])])
    predict(ChangeBoxes(str(tmp_path), overwrite=True, top_k=2), [clip(pairs=[(0, 1)])])
    new = ["changes.csv", "summary.json", "topk_diffs/top2_f001.png"]
    assert files(tmp_path) == sorted([*mine, *new])
    assert all((tmp_path / name).read_text() == "old" for name in mine)
    assert len(read_csv(tmp_path / "changes.csv")) == 2


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_predicted(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file where a folder is needed"):
        predict(ChangeBoxes(str(tmp_path / "file")), [clip()], Toy(fail_at=0))


def test_every_batch_leaves_a_whole_part_of_the_table(tmp_path):
    seen = []

    class Watched(Toy):
        def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
            seen.append(files(tmp_path / "parts"))
            return super().predict_step(batch, batch_idx)

    predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2)], Watched())
    assert seen == [[], ["000000-0.csv", "000000-0.json"]]


def test_an_exception_in_the_middle_leaves_whole_pictures_and_one_table(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2), clip(start=4)], Toy(2))
    assert_stopped_after_four_pairs(tmp_path)
    assert "stopped before the end" in capsys.readouterr().out


def test_ctrl_c_in_the_middle_leaves_whole_pictures_and_one_table(tmp_path):
    clips = [clip(), clip(start=2), clip(start=4)]
    with pytest.raises(SystemExit):
        predict(ChangeBoxes(str(tmp_path)), clips, Toy(2, KeyboardInterrupt))
    assert_stopped_after_four_pairs(tmp_path)


def assert_stopped_after_four_pairs(folder: Path) -> None:
    pictures = [f"topk_diffs/top20_f{number:03d}.png" for number in (1, 2, 3, 4)]
    assert files(folder) == ["changes.csv", "summary.json", *pictures]
    assert all(read_image(folder / name).shape == (40, 60, 3) for name in pictures)
    frames = [row["frame1"] for row in read_csv(folder / "changes.csv")]
    assert frames == [name for name in ("f001", "f002", "f003", "f004") for _ in range(3)]
    assert summary(folder)["complete"] is False
    assert summary(folder)["pairs"] == 4


def test_a_run_stopped_before_its_first_pair_leaves_nothing_in_the_way(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(ChangeBoxes(str(tmp_path)), [clip()], Toy(0))
    assert files(tmp_path) == []


def test_a_failed_write_is_the_error_that_is_reported_and_the_parts_stay(
    tmp_path, monkeypatch, capsys
):
    real = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if path.parent != tmp_path / "parts" and len(files(tmp_path)) > 5:
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    writer = ChangeBoxes(str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(InputError, match=r"top20_f00\d\.png: cannot be written: the disk is full"):
        predict(writer, [clip(), clip(start=2), clip(start=4)])
    assert {"parts/000000-0.csv", "parts/000000-0.json"} <= set(files(tmp_path))
    assert "changes.csv" not in files(tmp_path)
    assert "the parts of the table are in" in capsys.readouterr().err


def test_parts_of_several_processes_are_merged_in_the_order_of_batches(tmp_path):
    writer = ChangeBoxes(str(tmp_path), top_k=1)
    trainer, model = pl.Trainer(accelerator="cpu", logger=False), Toy()
    writer.setup(trainer, model, "predict")

    class Process:
        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    for batch_idx, rank in ((1, 0), (0, 10), (0, 2), (0, 0)):
        batch = clip(start=100 * batch_idx + rank, pairs=[(0, 1)])
        prediction = model.predict_step(batch, batch_idx)
        writer.write_on_batch_end(Process(rank), model, prediction, None, batch, batch_idx, 0)
    writer.on_predict_end(trainer, model)
    frames = [row["frame0"] for row in read_csv(tmp_path / "changes.csv")]
    assert frames == ["f000", "f002", "f010", "f100"]
    assert summary(tmp_path)["pairs"] == 4


def test_a_run_without_any_pair_is_an_error_with_the_first_reason(tmp_path):
    clips = [clip(pairs=[], notes=["f001: cut off", "f002: gone"])]
    with pytest.raises(InputError, match=r"no pair could be predicted; .*: f001: cut off$"):
        predict(ChangeBoxes(str(tmp_path)), clips)
    assert files(tmp_path) == []


@pytest.mark.filterwarnings("ignore:Total length of")
def test_a_run_without_any_batch_is_an_error_too(tmp_path):
    with pytest.raises(InputError, match=r"no pair could be predicted; the data holds none$"):
        predict(ChangeBoxes(str(tmp_path)), [])


def test_a_second_dataloader_is_refused(tmp_path):
    writer = ChangeBoxes(str(tmp_path))
    trainer, model = pl.Trainer(accelerator="cpu", logger=False), Toy()
    with pytest.raises(ValueError, match="one dataloader"):
        writer.write_on_batch_end(trainer, model, [], None, clip(), 0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"min_score": -0.1}, r"min_score must lie in \[0, 1\], got -0.1"),
        ({"min_score": float("nan")}, r"min_score must lie in \[0, 1\], got nan"),
        ({"max_overlap": 0}, r"max_overlap must lie in \(0, 1\], got 0"),
        ({"max_overlap": 1.5}, r"max_overlap must lie in \(0, 1\], got 1.5"),
        ({"line_width": 0}, "line_width must be at least 1 pixel, got 0"),
        ({"color_larger": "mauve"}, "one of black, white, red.*, got 'mauve'"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ChangeBoxes(**options)
