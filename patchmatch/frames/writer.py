"""What changed from frame to frame: pictures, tables, and on request flow, arrays and a video."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl

from patchmatch.core.clips import Clip
from patchmatch.draw import parse_color
from patchmatch.frames.drawing import Painter
from patchmatch.frames.exports import block_flow, frame_rate, make_video, write_field, write_jsonl
from patchmatch.frames.masks import Masks
from patchmatch.frames.report.page import write_report
from patchmatch.frames.report.thumbnails import thumbnail
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.rows import CHANGES, CSV_FORMATS, PAIRS, change_rows, pair_row
from patchmatch.frames.selection import Selection
from patchmatch.io import write_flo, write_image
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import number
from patchmatch.writing.summary import summarize
from patchmatch.writing.writer import PredictionWriter

FORMATS = ("jsonl", "flo", "npz")
_MADE = "pictures"  # rows that wait for the end of the run: which picture shows which pair


class ChangeBoxes(PredictionWriter):
    """Draw the most changed blocks of each frame pair on the later frame, and list them in tables.

    Pictures are topk_diffs/top{top_k}_{later frame}.png in the output folder, in a subfolder for
    each sequence if there are several. Of the pairs with the same later frame, those with an
    earlier frame farther away are top{top_k}_{earlier frame}_to_{later frame}.png.
    changes.csv has a row for each box drawn, pairs.csv a row for each pair.

    Args:
        output_path: Folder for the tables, topk_diffs and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        resume: Go on where a run with the same settings was stopped or killed. Where there is
            none it starts afresh; where the run has come to its end there is nothing to do.
        top_k: Draw at most so many blocks of a pair, the most changed ones.
        min_score: Leave out blocks that changed less, from 0 to 1: 0.5 is one pixel, 1 is more.
        min_confidence: Leave out blocks whose displacement is less sure, from 0 to 1.
        min_area: Leave out blocks, or regions with merge, that cover fewer pixels.
        max_overlap: Of blocks that overlap more than this, intersection over union, only the most
            changed one is drawn; 1 draws all. With merge it does nothing.
        merge: Make one moving region of changed blocks that touch or overlap and move alike, to
            within a pixel or a quarter of their motion; draw and list the regions.
        roi: A picture as large as the frames, white where changes count. Blocks of which half or
            less lies there are left out, also of the counts in pairs.csv.
        ignore: The opposite: a picture that is white where changes do not count.
        style: boxes; arrows from the centres of the blocks along their displacements; flow, the
            displacements of all blocks as colors, with their wheel; patches, a montage of each
            changed patch as earlier, later and difference.
        export_box_overlay: False is the same as style patches.
        color_one_pixel: Color of blocks that moved by one pixel, a name or "#rrggbb".
        color_larger: Color of blocks that moved farther, a name or "#rrggbb".
        line_width: Width of the lines in pixels; null chooses by the size of the frame.
        arrow_scale: Length of an arrow for a displacement of one pixel. Short ones are drawn long
            enough to see their direction, and a block that was not found again is a cross.
        max_flow: Displacement in pixels that style flow draws as a full color; null chooses for
            each picture, so give it for a video.
        formats: What to write besides: jsonl (changes.jsonl, the rows of changes.csv as JSON), flo
            (flow/FRAME.flo, the displacement of every pixel's block), npz (fields/FRAME.npz, all
            blocks as arrays). [] writes none of them.
        video: Make annotated.mp4 of the pictures at the end, annotated/SEQUENCE.mp4 if there are
            several sequences.
        report: Make report.html at the end: the frames with their boxes, charts, tables and
            settings in one page that opens in a browser without a network.
    """

    tables: ClassVar = {"changes": CHANGES, "pairs": PAIRS}
    csv_formats = CSV_FORMATS
    top_files = re.compile(r"changes\.jsonl|annotated\.mp4|report\.html")
    subfolders: ClassVar = {
        "topk_diffs": re.compile(r"top\d+_.+\.png", re.DOTALL),
        "flow": re.compile(r".+\.flo", re.DOTALL),
        "fields": re.compile(r".+\.npz", re.DOTALL),
        "annotated": re.compile(r".+\.mp4", re.DOTALL),
    }
    image_folder = "topk_diffs"
    row_noun = "boxes"

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        top_k: int = 20,
        min_score: float = 0.25,
        min_confidence: float = 0.0,
        min_area: int = 0,
        max_overlap: float = 0.1,
        merge: bool = False,
        roi: str | None = None,
        ignore: str | None = None,
        style: str = "boxes",
        export_box_overlay: bool = True,
        color_one_pixel: str = "green",
        color_larger: str = "red",
        line_width: int | None = None,
        arrow_scale: float = 1.0,
        max_flow: float | None = None,
        formats: Sequence[str] = ("jsonl",),
        video: bool = False,
        report: bool = False,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        self.top_k, self.min_score, self.min_confidence = top_k, min_score, min_confidence
        self.min_area, self.max_overlap, self.merge = min_area, max_overlap, merge
        self.roi, self.ignore = roi, ignore
        self.export_box_overlay = export_box_overlay
        self.color_one_pixel, self.color_larger = color_one_pixel, color_larger
        self.line_width, self.arrow_scale, self.max_flow = line_width, arrow_scale, max_flow
        self.formats, self.video, self.report = list(formats), video, report
        self.style = _resolve_style(style, export_box_overlay)
        if unknown := sorted(set(self.formats) - set(FORMATS)):
            raise ValueError(f"formats must be of {', '.join(FORMATS)}, got {', '.join(unknown)}")
        if video and self.style == "patches":
            raise ValueError(
                "a video must have pictures of one size, but the montages of style patches differ "
                "in theirs; choose style boxes, arrows or flow"
            )
        self._select = Selection(
            top_k, min_score, min_confidence, min_area, max_overlap, merge=merge
        )
        colors = {
            Kind.ONE_PIXEL: parse_color(color_one_pixel),
            Kind.LARGER: parse_color(color_larger),
        }
        self._paint = Painter(self.style, colors, line_width, arrow_scale, max_flow)
        self._masks = Masks()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the masks and make sure that the folder can be used."""
        if stage == "predict":
            self._masks = Masks.read(self.roi, self.ignore)
        super().setup(trainer, pl_module, stage)

    def on_predict_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Make sure that the masks fit the frames, before these are matched."""
        for picture in batch["images"][:1]:
            self._masks.require_size(picture.shape, batch["source"])

    def write_batch(self, prediction: list[FrameChanges], batch: Clip) -> Chunk:
        """Write what is made for each pair of a clip, and return the rows of the tables."""
        rows: dict[str, list[Row]] = {"changes": [], "pairs": [], _MADE: []}
        files: dict[str, bytes] = {}
        nearest: dict[int, int] = {}  # of each later frame, the nearest one that it is paired with
        for index0, index1 in batch["pairs"]:
            nearest[index1] = max(index0, nearest.get(index1, 0))
        for (index0, index1), changes in zip(batch["pairs"], prediction, strict=True):
            counting = changes[self._masks.inside(changes.boxes)]
            shown, area = self._select(counting)
            rows["changes"] += change_rows(shown, area)
            rows["pairs"].append(pair_row(counting, len(shown)))
            is_nearest = index0 == nearest[index1]
            name = changes.frame1 if is_nearest else f"{changes.frame0}_to_{changes.frame1}"
            place = Path(batch["source"], name) if batch["several"] else Path(name)
            picture0, picture1 = batch["images"][index0], batch["images"][index1]
            self._write_fields(place, changes, picture1.shape)
            made = {"source": batch["source"], "several": batch["several"]}
            made |= {"nearest": is_nearest, "time1": number(changes.time1, 6), "picture": None}
            picture = self._paint(picture0, picture1, counting, shown)
            if picture is not None:
                path = Path(self.image_folder, place.parent, f"top{self.top_k}_{name}.png")
                write_image(self.folder / path, picture)
                made["picture"] = path.as_posix()
            if self.report:
                made |= {"height": picture1.shape[0], "width": picture1.shape[1]}
                made["thumbnail"] = f"{index1}.jpg"
                if made["thumbnail"] not in files:  # pairs may share their later frame
                    files[made["thumbnail"]] = thumbnail(picture1)
            rows[_MADE].append(made)
        return Chunk(rows=rows, files=files)

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables, and the rows of the first one as JSON."""
        super().write_tables(chunks)
        if "jsonl" in self.formats:
            write_jsonl(self.folder / "changes.jsonl", chunks.rows("changes"))

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Make a video of each sequence, and the report."""
        places: dict[str, Path] = {}
        if self.video:
            for source, made in groupby(chunks.rows(_MADE), key=lambda row: row["source"]):
                places["video"] = self._write_video(source, list(made))
        if self.report:
            places["report"] = self._write_report(chunks)
        return places

    def _write_fields(self, place: Path, changes: FrameChanges, shape: tuple[int, ...]) -> None:
        """Write the displacements of a pair in the formats asked for."""
        if "flo" in self.formats:
            flow, valid = block_flow(changes, shape[0], shape[1])
            write_flo(self.folder / "flow" / f"{place}.flo", flow, valid)
        if "npz" in self.formats:
            write_field(self.folder / "fields" / f"{place}.npz", changes)

    def _write_video(self, source: str, made: list[dict[str, Any]]) -> Path:
        """Make the video of a sequence, and return where videos lie."""
        shown = [row for row in made if row["nearest"] and row["picture"]]  # each frame once
        several = made[0]["several"]
        path = self.folder / (f"annotated/{source}.mp4" if several else "annotated.mp4")
        pictures = (self.folder / row["picture"] for row in shown)
        note = make_video(path, pictures, frame_rate([row["time1"] for row in shown]))
        if note:
            self._warn(note)
        return path.parent if several else path

    def _write_report(self, chunks: RunChunks) -> Path:
        """Make the report, and return where it lies."""
        path = self.folder / "report.html"
        small = [
            chunks.file(index, made["thumbnail"])
            for index, record in chunks.records()
            for made in record["rows"][_MADE]
        ]
        pairs = (
            {**pair, **{name: made[name] for name in ("height", "width", "picture")}}
            for _, record in chunks.records()
            for pair, made in zip(record["rows"]["pairs"], record["rows"][_MADE], strict=True)
        )
        summary = {**summarize(chunks, "changes"), "settings": self._settings}
        write_report(
            path,
            chunks.rows("changes"),
            pairs,
            lambda index: small[index].read_bytes() if small[index].is_file() else None,
            summary,
        )
        return path


def _resolve_style(style: str, export_box_overlay: bool) -> str:
    """Return the style that an older option may stand for."""
    if export_box_overlay or style == "patches":
        return style
    if style != "boxes":
        raise ValueError(
            f"export_box_overlay false means style patches, but style is {style!r}; give one of "
            "them"
        )
    return "patches"
