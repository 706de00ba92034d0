import csv
import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from program_runs import quiet_trainer
from synthetic_frames import write_frames
from torch.utils.data import DataLoader

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.messages import warnings_as_lines
from patchmatch.frames.data import Frames
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.io import read_csv, read_flo, read_image, write_image

GREEN, RED, GRAY = [0, 255, 0], [255, 0, 0], [100, 100, 100]
HEADER = (
    "source,frame0,frame1,x0,y0,x1,y1,dx,dy,kind,score,"
    "time0,time1,matched,confidence,camera_dx,camera_dy,area,"
    "dx_total,dy_total"
)
TABLES = ["changes.csv", "changes.jsonl", "pairs.csv", "summary.json"]
# Blocks at different heights: still, one pixel, larger, one pixel with a low score.
BOXES = torch.tensor([[2, 1, 14, 9], [20, 11, 32, 19], [40, 21, 52, 29], [3, 31, 15, 39]])
KINDS = torch.tensor([Kind.STILL, Kind.ONE_PIXEL, Kind.LARGER, Kind.ONE_PIXEL])
SCORES = torch.tensor([0.9, 0.5, 0.96875, 0.26])


def clip(source: str = "cows", start: int = 0, several: bool = False, **options: object) -> Clip:
    """Return a clip of three gray frames (40, 60) with two pairs."""
    return (
        Clip(
            index=0,
            source=source,
            several=several,
            frames=torch.zeros(3, 1, 40, 60),
            images=[np.full((40, 60), 100, np.uint8) for _ in range(3)],
            names=[f"f{start + index:03d}" for index in range(3)],
            numbers=list(range(start, start + 3)),
            files=[None] * 3,
            times=[None] * 3,
            pairs=[(0, 1), (1, 2)],
            notes=[],
        )
        | options
    )  # type: ignore[return-value]


class StubMatcher(pl.LightningModule):
    """Predicts the same changes for every pair; raises at one batch."""

    def __init__(self, fail_at: int = -1, error: type[BaseException] = RuntimeError) -> None:
        super().__init__()
        self.fail_at, self.error = fail_at, error

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        if batch_idx == self.fail_at:
            raise self.error("in the middle")
        return [changes(batch, pair) for pair in batch["pairs"]]


def changes(batch: Clip, pair: tuple[int, int], **options: object) -> FrameChanges:
    values = {
        "boxes": BOXES,
        "displacement": torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.0, 1.0], [-0.0, 0.25]]),
        "kind": KINDS,
        "score": SCORES,
        "matched": KINDS != Kind.LARGER,
        "confidence": SCORES,
    }
    name0, name1 = (batch["names"][index] for index in pair)
    values |= {"source": batch["source"], "frame0": name0, "frame1": name1}
    values |= {f"time{i}": batch["times"][index] for i, index in enumerate(pair)}
    return FrameChanges(**values | options)  # type: ignore[arg-type]


def predict(writer: ChangeBoxes, clips: list[Clip], model: StubMatcher | None = None) -> None:
    numbered = [{**clip, "index": index} for index, clip in enumerate(clips)]
    # The default collate_fn would convert the images to tensors.
    loader = DataLoader(numbered, batch_size=None, collate_fn=lambda batch: batch)
    quiet_trainer(writer).predict(model or StubMatcher(), loader, return_predictions=False)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _restore_signal_handler():
    handler = signal.getsignal(signal.SIGINT)  # Lightning disables Ctrl+C after the first one
    yield
    signal.signal(signal.SIGINT, handler)


def test_run_writes_an_image_per_later_frame_tables_and_a_summary(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2)])
    names = [f"topk_diffs/top20_f{number:03d}.png" for number in (1, 2, 3, 4)]
    assert files(tmp_path) == [*TABLES, *names]
    assert not (tmp_path / "chunks").exists()


def test_boxes_are_green_for_one_pixel_red_for_larger_and_missing_for_still(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    image = read_image(tmp_path / "topk_diffs/top20_f001.png")
    expected = np.full((40, 60, 3), 100, np.uint8)
    for index, color in ((1, GREEN), (2, RED), (3, GREEN)):
        x0, y0, x1, y1 = BOXES[index].tolist()
        expected[y0:y1, x0:x1] = color
        expected[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = GRAY
    assert (image == expected).all()


def test_boxes_are_drawn_on_the_later_frame(tmp_path):
    images = [np.full((40, 60), value, np.uint8) for value in (10, 20, 30)]
    predict(ChangeBoxes(str(tmp_path)), [clip(images=images)])
    assert read_image(tmp_path / "topk_diffs/top20_f001.png")[0, 0].tolist() == [20, 20, 20]
    assert read_image(tmp_path / "topk_diffs/top20_f002.png")[0, 0].tolist() == [30, 30, 30]


def test_colors_and_line_width_are_options(tmp_path):
    options = {"color_one_pixel": "#102030", "color_larger": "blue", "line_width": 2}
    predict(ChangeBoxes(str(tmp_path), **options), [clip()])
    image = read_image(tmp_path / "topk_diffs/top20_f001.png")
    assert image[12, 21].tolist() == [16, 32, 48]
    assert image[22, 41].tolist() == [0, 0, 255]
    assert image[13, 22].tolist() == GRAY


def test_table_lists_the_drawn_boxes_by_descending_score(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    assert (tmp_path / "changes.csv").read_text().splitlines() == [
        HEADER,
        "cows,f000,f001,40,21,52,29,,,larger,0.9688,,,false,0.9688,,,96,,",
        "cows,f000,f001,20,11,32,19,1,-1,one_pixel,0.5000,,,true,0.5000,,,96,1,-1",
        "cows,f000,f001,3,31,15,39,0,0.25,one_pixel,0.2600,,,true,0.2600,,,96,0,0.25",
        "cows,f001,f002,40,21,52,29,,,larger,0.9688,,,false,0.9688,,,96,,",
        "cows,f001,f002,20,11,32,19,1,-1,one_pixel,0.5000,,,true,0.5000,,,96,1,-1",
        "cows,f001,f002,3,31,15,39,0,0.25,one_pixel,0.2600,,,true,0.2600,,,96,0,0.25",
    ]


def test_top_k_and_min_score_limit_the_boxes(tmp_path):
    predict(ChangeBoxes(str(tmp_path / "a"), top_k=1), [clip()])
    assert [row["kind"] for row in read_csv(tmp_path / "a/changes.csv")] == ["larger"] * 2
    assert (tmp_path / "a/topk_diffs/top1_f002.png").exists()
    predict(ChangeBoxes(str(tmp_path / "b"), min_score=0.4), [clip(pairs=[(0, 2)])])
    assert [row["score"] for row in read_csv(tmp_path / "b/changes.csv")] == ["0.9688", "0.5000"]


class OverlappingBlocks(StubMatcher):
    """Predicts a block, a neighbour, and weaker blocks that overlap it by a half and a quarter."""

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
    ("max_overlap", "expected"),
    [(0.1, ["6", "18"]), (0.2, ["6", "18", "12"]), (1.0, ["6", "18", "0", "12"])],
)
def test_overlapping_blocks_with_lower_scores_are_suppressed(tmp_path, max_overlap, expected):
    writer = ChangeBoxes(str(tmp_path), max_overlap=max_overlap)
    predict(writer, [clip(pairs=[(0, 1)])], OverlappingBlocks())
    assert [row["x0"] for row in read_csv(tmp_path / "changes.csv")] == expected


def test_pair_without_changes_has_an_image_without_boxes_and_no_rows(tmp_path):
    predict(ChangeBoxes(str(tmp_path), min_score=1.0), [clip()])
    assert (read_image(tmp_path / "topk_diffs/top20_f001.png") == 100).all()
    assert (tmp_path / "changes.csv").read_text() == HEADER + "\n"
    assert summary(tmp_path)["kinds"] == {}


def test_several_sequences_have_one_folder_each(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip("a", several=True), clip("b", several=True)])
    assert [name for name in files(tmp_path) if name.endswith("png")] == [
        "topk_diffs/a/top20_f001.png",
        "topk_diffs/a/top20_f002.png",
        "topk_diffs/b/top20_f001.png",
        "topk_diffs/b/top20_f002.png",
    ]
    assert summary(tmp_path)["sources"] == 2


def test_montage_shows_earlier_patch_later_patch_and_difference(tmp_path):
    images = [np.full((40, 60), value, np.uint8) for value in (10, 20, 30)]
    options = {"style": "arrows", "export_box_overlay": False}  # as in the motion configuration
    predict(ChangeBoxes(str(tmp_path), **options), [clip(images=images)])
    image = read_image(tmp_path / "topk_diffs/top20_f001.png")
    # The first tile: a gap of 8, a border of 3, then patches of 12 x 8 pixels enlarged eightfold.
    row = image[8 + 3 + 10]
    assert row[8 : 8 + 3].tolist() == [RED] * 3
    patches = [row[8 + 3 + index * 99 :][:96] for index in range(3)]
    assert [np.unique(patch).tolist() for patch in patches] == [[10], [20], [138]]
    assert (image == GREEN).all(axis=2).any()


def test_montage_without_patches_is_not_written(tmp_path, capsys):
    predict(ChangeBoxes(str(tmp_path), export_box_overlay=False, min_score=1.0), [clip()])
    assert files(tmp_path) == TABLES
    assert "images" not in capsys.readouterr().out


def test_summary_has_counts_and_the_console_shows_the_paths(tmp_path, capsys):
    predict(ChangeBoxes(str(tmp_path), top_k=3), [clip(), clip("b")])
    counts = summary(tmp_path)
    assert 0 < counts.pop("seconds") < 60
    settings = counts.pop("settings")
    images = [f"topk_diffs/top3_f00{i}.png" for i in (1, 2)]
    assert [file["path"] for file in counts.pop("files")] == [*TABLES[:3], *images]
    assert counts == {
        "complete": True,
        "sources": 2,
        "pairs": 4,
        "rows": 12,
        "kinds": {"larger": 4, "one_pixel": 8},
        "skipped": [],
    }
    assert settings["writer"]["top_k"] == 3
    assert "output_path" not in settings["writer"]  # so that the folder can be moved
    assert settings["matcher"]["class"] == "StubMatcher"
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "4 pairs of 2 sequences: 12 boxes (4 larger, 8 one pixel)",
        f"images    {tmp_path / 'topk_diffs'}",
        f"table     {tmp_path / 'changes.csv'}",
    ]


def test_notes_are_printed_once_and_stored_in_the_summary(tmp_path, capsys):
    note = "cows/[b]f003.png: truncated; skipped"
    with warnings_as_lines():
        predict(ChangeBoxes(str(tmp_path)), [clip(notes=[note, note]), clip(start=2, notes=[note])])
    assert capsys.readouterr().err.count(f"warning: {note}\n") == 1
    assert summary(tmp_path)["skipped"] == [note]


@pytest.mark.parametrize(
    "name",
    [*TABLES, "report.html", "annotated.mp4", "chunks/000001.json", "chunks/run.json"],
)
@pytest.mark.parametrize("option", [{}, {"overwrite": True}, {"resume": True}])
def test_file_that_no_run_wrote_raises_before_prediction(tmp_path, name, option):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    writer = ChangeBoxes(str(tmp_path), report=True, video=True, **option)
    message = (
        rf"^{re.escape(str(tmp_path / name))}: exists, and no run wrote it; move it, or .*_path$"
    )
    with pytest.raises(InputError, match=message):
        predict(writer, [clip()], StubMatcher(fail_at=0))
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["topk_diffs/top20_f001.png", "flow/f002.flo", "fields/f001.npz"])
def test_file_that_no_run_wrote_is_not_replaced_during_the_run(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"{re.escape(name)}: exists, and no run wrote it"):
        predict(ChangeBoxes(str(tmp_path), formats=["flo", "npz"]), [clip()])
    assert (tmp_path / name).read_text() == "mine"


def test_images_of_each_later_frame_are_checked_before_the_run(tmp_path):
    write_frames(tmp_path / "in", count=3)
    (mine := tmp_path / "flow/frame_2.flo").parent.mkdir()
    mine.write_text("truth")
    writer = ChangeBoxes(str(tmp_path), formats=["flo"])
    with pytest.raises(InputError, match=r"frame_2\.flo: exists, and no run wrote it"):
        quiet_trainer(writer).predict(StubMatcher(0), datamodule=Frames(str(tmp_path / "in")))
    assert mine.read_text() == "truth"


def test_other_files_in_the_folder_are_kept(tmp_path):
    (tmp_path / "topk_diffs").mkdir()
    (tmp_path / "topk_diffs/notes.txt").write_text("mine")
    predict(ChangeBoxes(str(tmp_path)), [clip()])
    assert (tmp_path / "topk_diffs/notes.txt").read_text() == "mine"


def test_overwrite_removes_the_earlier_run_and_keeps_other_files(tmp_path):
    mine = ["config.yaml", "chunks/mine-1.csv", "topk_diffs/top5_mine.png", "flow/f001.flo"]
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    predict(ChangeBoxes(str(tmp_path), formats=["jsonl", "npz"], top_k=3), [clip()])
    assert "fields/f002.npz" in files(tmp_path)
    predict(ChangeBoxes(str(tmp_path), overwrite=True, top_k=2), [clip(pairs=[(0, 1)])])
    new = [*TABLES, "topk_diffs/top2_f001.png"]
    assert files(tmp_path) == sorted([*mine, *new])
    assert not (tmp_path / "fields").exists()
    assert all((tmp_path / name).read_text() == "mine" for name in mine)
    assert len(read_csv(tmp_path / "changes.csv")) == 2


def test_unusable_output_folder_raises_before_prediction(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file where a folder is needed"):
        predict(ChangeBoxes(str(tmp_path / "file")), [clip()], StubMatcher(fail_at=0))


def test_every_batch_writes_a_complete_chunk(tmp_path):
    listed = []

    class ListingMatcher(StubMatcher):
        def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
            listed.append(files(tmp_path / "chunks"))
            return super().predict_step(batch, batch_idx)

    clips = [clip(), clip(start=2), clip(start=4)]
    predict(ChangeBoxes(str(tmp_path)), clips, ListingMatcher())
    assert listed[0] == ["run.json", "written-0.jsonl"]
    # The second clip may be in the making while the third one is predicted.
    assert {"000000.csv", "000000.json", "run.json", "written-0.jsonl"} <= set(listed[2])


def test_exception_keeps_complete_images_and_one_table(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2), clip(start=4)], StubMatcher(2))
    assert_stopped_after_four_pairs(tmp_path)
    assert "the run stopped early" in capsys.readouterr().out


def test_ctrl_c_keeps_complete_images_and_one_table(tmp_path):
    clips = [clip(), clip(start=2), clip(start=4)]
    with pytest.raises(SystemExit):
        predict(ChangeBoxes(str(tmp_path)), clips, StubMatcher(2, KeyboardInterrupt))
    assert_stopped_after_four_pairs(tmp_path)


def assert_stopped_after_four_pairs(folder: Path) -> None:
    images = [f"topk_diffs/top20_f{number:03d}.png" for number in (1, 2, 3, 4)]
    parts = [f"chunks/00000{index}.{kind}" for index in (0, 1) for kind in ("csv", "json")]
    parts += ["chunks/run.json", "chunks/written-0.jsonl"]
    assert files(folder) == sorted([*TABLES, *parts, *images])
    assert all(read_image(folder / name).shape == (40, 60, 3) for name in images)
    frames = [row["frame1"] for row in read_csv(folder / "changes.csv")]
    assert frames == [name for name in ("f001", "f002", "f003", "f004") for _ in range(3)]
    assert summary(folder)["complete"] is False
    assert summary(folder)["pairs"] == 4


def test_run_that_fails_at_its_first_batch_writes_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(ChangeBoxes(str(tmp_path)), [clip()], StubMatcher(0))
    assert files(tmp_path) == []


def test_failed_write_raises_and_keeps_the_chunks(tmp_path, monkeypatch):
    real = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if path.parent != tmp_path / "chunks" and len(files(tmp_path)) > 5:
            raise OSError(28, "No space left on device", str(path))
        return real(path, data)

    writer = ChangeBoxes(str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with (
        pytest.warns(UserWarning, match="the chunks of the tables are in"),
        pytest.raises(InputError, match=r"top20_f00\d\.png: cannot be written: the disk is full"),
    ):
        predict(writer, [clip(), clip(start=2), clip(start=4)])
    assert {"chunks/000000.csv", "chunks/000000.json"} <= set(files(tmp_path))
    assert "changes.csv" not in files(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"min_score": -0.1}, r"min_score must be in \[0, 1\], got -0.1"),
        ({"min_score": float("nan")}, r"min_score must be in \[0, 1\], got nan"),
        ({"max_overlap": 0}, r"max_overlap must be in \(0, 1\], got 0"),
        ({"max_overlap": 1.5}, r"max_overlap must be in \(0, 1\], got 1.5"),
        ({"line_width": 0}, "line_width must be at least 1 pixel, got 0"),
        ({"color_larger": "mauve"}, "one of black, white, red.*, got 'mauve'"),
        ({"min_confidence": 2}, r"min_confidence must be in \[0, 1\], got 2"),
        ({"min_area": -1}, "min_area must be at least 0 pixels, got -1"),
        ({"style": "dots"}, "style must be one of boxes, arrows, flow, patches, got 'dots'"),
        ({"arrow_scale": 0}, "arrow_scale must be a positive number, got 0"),
        ({"max_flow": float("nan")}, "max_flow must be a positive number, got nan"),
        ({"formats": ["jsonl", "xls"]}, "formats must be among jsonl, flo, png16, npz, got xls"),
        ({"video": True, "style": "patches"}, "images of equal size"),
        ({"overwrite": True, "resume": True}, "overwrite and resume contradict each other"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        ChangeBoxes(**options)


class MovingBlocks(StubMatcher):
    """Predicts a moving block on the left and two touching moving blocks on the right."""

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        values = {
            "boxes": torch.tensor([[4, 10, 12, 18], [32, 10, 40, 18], [40, 10, 48, 18]]),
            "displacement": torch.tensor([[6.0, 0.0], [0.0, 9.0], [0.0, 9.5]]),
            "kind": torch.tensor([Kind.LARGER] * 3),
            "score": torch.tensor([0.5, 0.75, 1.0]),
            "matched": torch.tensor([True, True, True]),
            "confidence": torch.tensor([0.5, 0.9, 0.8]),
        }
        return [changes(batch, pair, **values) for pair in batch["pairs"]]


def test_pairs_csv_counts_the_blocks_of_each_kind(tmp_path):
    predict(ChangeBoxes(str(tmp_path), top_k=2), [clip(times=[0.5, 0.54, None])])
    assert (tmp_path / "pairs.csv").read_text().splitlines() == [
        "source,frame0,frame1,time0,time1,blocks,still,one_pixel,larger,unmatched,mean_score,boxes",
        "cows,f000,f001,0.5,0.54,4,1,2,1,1,0.6572,2",
        "cows,f001,f002,0.54,,4,1,2,1,1,0.6572,2",
    ]
    lines = (tmp_path / "changes.jsonl").read_text().splitlines()
    rows = read_csv(tmp_path / "changes.csv")
    assert [json.loads(line)["time0"] for line in lines] == [0.5, 0.5, 0.54, 0.54]
    assert [float(row["time0"]) for row in rows] == [0.5, 0.5, 0.54, 0.54]
    assert [json.loads(line)["dx"] for line in lines] == [None, 1, None, 1]


def test_formats_flo_and_npz_are_written_to_their_folders(tmp_path):
    writer = ChangeBoxes(str(tmp_path), formats=["flo", "npz"])
    predict(writer, [clip("a", several=True)], MovingBlocks())
    assert [name for name in files(tmp_path) if name.startswith(("flow", "fields"))] == [
        *("fields/a/f001.npz", "fields/a/f002.npz", "flow/a/f001.flo", "flow/a/f002.flo")
    ]
    assert "changes.jsonl" not in files(tmp_path)
    flow, valid = read_flo(tmp_path / "flow/a/f001.flo")
    assert (valid.sum(), flow[10, 4].tolist()) == (3 * 64, [6, 0])
    with np.load(tmp_path / "fields/a/f002.npz") as arrays:
        assert arrays["displacement"].tolist() == [[6, 0], [0, 9], [0, 9.5]]


def test_pairs_that_share_a_later_frame_have_one_image_each(tmp_path):
    writer = ChangeBoxes(str(tmp_path), formats=["flo"])
    predict(writer, [clip(pairs=[(0, 1), (1, 2), (0, 2)])])
    names = [f"topk_diffs/top20_{name}.png" for name in ("f000_to_f002", "f001", "f002")]
    assert files(tmp_path)[-3:] == names
    assert "flow/f000_to_f002.flo" in files(tmp_path)


def test_arrows_point_along_the_displacement(tmp_path):
    predict(
        ChangeBoxes(str(tmp_path), style="arrows", arrow_scale=3, line_width=2),
        [clip()],
        MovingBlocks(),
    )
    image = read_image(tmp_path / "topk_diffs/top20_f001.png").astype(int)
    red = (image[..., 0] > 200) & (image[..., 1] < 60)
    left, right = np.argwhere(red[:, :30]), np.argwhere(red[:, 30:])
    assert np.ptp(left[:, 1]) >= 16 > np.ptp(left[:, 0])  # 6 pixels to the right
    assert np.ptp(right[:, 0]) >= 17  # 9.5 pixels down


def test_moved_boxes_are_drawn_where_their_content_is_in_the_later_frame(tmp_path):
    predict(ChangeBoxes(str(tmp_path)), [clip()], MovingBlocks())
    image = read_image(tmp_path / "topk_diffs/top20_f001.png")
    assert image[10, 10].tolist() == list(RED)  # from x = 4 by 6 pixels to the right
    assert image[10, 5].tolist() == [100] * 3
    row = (tmp_path / "changes.csv").read_text().splitlines()[-1]
    assert row.startswith("cows,f001,f002,4,10,12,18,6,0,larger")


class PanningCamera(StubMatcher):
    """Predicts blocks that stand still while the camera moves, but for one."""

    camera = True

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        values: dict[str, object] = {
            "displacement": torch.tensor([[0.0, 0.0], [0.0, 0.0], [6.0, 0.0], [0.0, 0.0]]),
            "kind": torch.tensor([Kind.STILL, Kind.STILL, Kind.LARGER, Kind.STILL]),
            "matched": torch.ones(4, dtype=torch.bool),
            "camera": torch.tensor([[0.0, 9.0]] * 4),
        }
        if not self.camera:
            values["displacement"] = torch.tensor([[6.0, 9.0]] + [[0.0, 9.0]] * 3)
            values |= {"camera": None, "kind": torch.tensor([Kind.LARGER] * 4)}
        return [changes(batch, pair, **values) for pair in batch["pairs"]]


def test_columns_and_arrows_show_the_motion_against_the_scene(tmp_path):
    writer = ChangeBoxes(str(tmp_path), style="arrows", arrow_scale=3, line_width=2)
    predict(writer, [clip()], PanningCamera())
    (row, _) = csv.DictReader((tmp_path / "changes.csv").open())
    assert [row[name] for name in ("dx", "dy", "dx_total", "dy_total")] == ["6", "0", "6", "9"]
    assert (row["camera_dx"], row["camera_dy"], row["kind"]) == ("0", "9", "larger")
    image = read_image(tmp_path / "topk_diffs/top20_f001.png").astype(int)
    y, x = np.nonzero((image[..., 0] > 200) & (image[..., 1] < 60))
    assert np.ptp(x) > 12 > np.ptp(y)
    assert y.mean() == pytest.approx(24.5 + 9, abs=1.5)  # where the camera moved the block to


@pytest.mark.parametrize(("camera", "times"), [(False, 1), (True, 0), (None, 0)])
def test_common_motion_suggests_the_option_camera_once(tmp_path, capsys, camera, times):
    model = PanningCamera()
    model.camera = camera
    with warnings_as_lines():
        predict(ChangeBoxes(str(tmp_path)), [clip(), clip(start=2)], model)
    assert capsys.readouterr().err.count("--model.camera true") == times


def test_flow_style_colors_the_blocks(tmp_path):
    predict(ChangeBoxes(str(tmp_path), style="flow", max_flow=9), [clip()], MovingBlocks())
    image = read_image(tmp_path / "topk_diffs/top20_f001.png").astype(int)
    assert image[0, 0].tolist() == [50] * 3  # outside the blocks
    right, down = image[14, 8], image[14, 36]
    assert right[0] > right[1] + 50
    assert down[:2].min() > down[2] + 50  # yellow


def test_masks_select_the_blocks(tmp_path):
    image = np.zeros((40, 60), np.uint8)
    image[:, 30:] = 255
    write_image(tmp_path / "right.png", image)
    for option, expected in (("roi", ["40", "32"]), ("ignore", ["4"])):
        folder = tmp_path / option
        writer = ChangeBoxes(str(folder), **{option: str(tmp_path / "right.png")})  # type: ignore
        predict(writer, [clip(pairs=[(0, 1)])], MovingBlocks())
        assert [row["x0"] for row in read_csv(folder / "changes.csv")] == expected
        assert read_csv(folder / "pairs.csv")[0]["blocks"] == str(len(expected))


def test_mask_of_another_size_raises_before_prediction(tmp_path):
    write_image(tmp_path / "roi.png", np.full((30, 60), 255, np.uint8))
    with pytest.raises(InputError, match=r"roi.png: .* 60x30 and the frames of cows are 60x40"):
        predict(
            ChangeBoxes(str(tmp_path / "out"), roi=str(tmp_path / "roi.png")),
            [clip()],
            StubMatcher(0),
        )
    with pytest.raises(InputError, match="no such file"):
        predict(ChangeBoxes(str(tmp_path / "new"), ignore="missing.png"), [clip()], StubMatcher(0))
    assert files(tmp_path / "out") == []
    assert not (tmp_path / "new").exists()


def test_video_has_the_images_and_the_frame_rate_of_the_times(tmp_path, capsys):
    clips = [clip(times=[0.0, 0.1, 0.2]), clip(start=2, times=[0.2, 0.3, 0.4])]
    predict(ChangeBoxes(str(tmp_path), video=True), clips)
    video = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert f"video     {tmp_path / 'annotated.mp4'}" in capsys.readouterr().out


def test_each_sequence_has_a_video_with_each_frame_once(tmp_path):
    pairs = [(0, 1), (0, 2), (1, 2)]
    clips = [clip(name, several=True, pairs=pairs) for name in ("a", "b")]
    predict(ChangeBoxes(str(tmp_path), video=True), clips)
    for name in ("a", "b"):
        video = cv2.VideoCapture(str(tmp_path / f"annotated/{name}.mp4"))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 2
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25)  # the times are unknown


def test_ctrl_c_writes_the_video_and_an_error_does_not(tmp_path):
    for error, is_written in ((KeyboardInterrupt, True), (RuntimeError, False)):
        folder = tmp_path / error.__name__
        with pytest.raises((RuntimeError, SystemExit)):
            predict(
                ChangeBoxes(str(folder), video=True), [clip(), clip(start=2)], StubMatcher(1, error)
            )
        assert (folder / "annotated.mp4").exists() == is_written


class NanMatcher(StubMatcher):
    """Predicts NaN or infinite values in every float field."""

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        values = {
            "displacement": torch.full((4, 2), torch.nan),
            "kind": torch.tensor([Kind.LARGER] * 4),
            "score": torch.tensor([0.5, torch.nan, 0.75, torch.inf]),
            "matched": torch.tensor([True] * 4),
            "confidence": torch.full((4,), torch.nan),
            "camera": torch.full((4, 2), torch.nan),
        }
        return [changes(batch, pair, **values) for pair in batch["pairs"]]


@pytest.mark.parametrize("style", ["boxes", "arrows", "flow", "patches"])
@pytest.mark.filterwarnings("error:.*encountered")
def test_nan_and_infinite_values_do_not_stop_a_run(tmp_path, style):
    options = {"style": style, "formats": ["jsonl", "flo", "npz"]}
    nan_times = clip(pairs=[(0, 1)], times=[float("nan"), float("inf"), 0.0])
    predict(ChangeBoxes(str(tmp_path), **options), [nan_times], NanMatcher())  # type: ignore
    assert {row["dx"] for row in read_csv(tmp_path / "changes.csv")} == {""}
    assert not read_flo(tmp_path / "flow/f001.flo")[1].any()
    empty = clip(pairs=[(0, 1)], images=[np.zeros((40, 60), np.uint8)] * 3)
    predict(ChangeBoxes(str(tmp_path / "none"), min_score=1, **options), [empty])  # type: ignore


class MovingPixels(MovingBlocks):
    """Also measures the flow of every pixel, if a writer asks for it."""

    dense = False

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        found = super().predict_step(batch, batch_idx)
        flow = torch.stack([torch.full((40, 60), 3.0), torch.zeros(40, 60)])
        flow[:, 5, 7] = torch.nan
        return [replace(c, flow=flow if self.dense else None) for c in found]


def test_flow_of_every_pixel_is_written_in_both_formats(tmp_path):
    writer = ChangeBoxes(str(tmp_path), formats=["flo", "png16"])
    predict(writer, [clip()], MovingPixels())
    flow, valid = read_flo(tmp_path / "flow/f001.flo")
    assert valid.sum() == 40 * 60 - 1
    assert not valid[5, 7]
    assert (flow[valid] == [3, 0]).all()
    stored = cv2.imread(str(tmp_path / "flow/f001.png"), cv2.IMREAD_UNCHANGED)  # in the order BGR
    assert stored[..., 0].tolist() == valid.astype(int).tolist()
    assert stored[8, 8].tolist() == [1, 2**15, 2**15 + 3 * 64]


@pytest.mark.parametrize(
    ("options", "dense"),
    [({"style": "flow"}, True), ({"formats": ["png16"]}, True), ({"formats": ["npz"]}, False)],
)
def test_writer_asks_for_the_flow_of_every_pixel_only_where_it_writes_it(tmp_path, options, dense):
    model = MovingPixels()
    predict(ChangeBoxes(str(tmp_path), **options), [clip()], model)
    assert model.dense == dense


def test_masks_restrict_the_drawn_flow_to_their_pixels(tmp_path):
    image = np.zeros((40, 60), np.uint8)
    image[:, 33:] = 255
    write_image(tmp_path / "right.png", image)
    writer = ChangeBoxes(
        str(tmp_path / "out"), style="flow", max_flow=3, roi=str(tmp_path / "right.png")
    )
    predict(writer, [clip()], MovingPixels())
    drawn = read_image(tmp_path / "out/topk_diffs/top20_f001.png").astype(int)
    assert drawn[20, 32].tolist() == [50] * 3
    assert drawn[20, 33, 0] > drawn[20, 33, 2] + 50
