"""Writer of frame changes: images, tables, flow files, arrays, video and report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl

from patchmatch.core.clips import Clip
from patchmatch.draw import parse_color
from patchmatch.frames.common_motion import moves_alike
from patchmatch.frames.dataset import Clips
from patchmatch.frames.drawing import ChangeRenderer
from patchmatch.frames.exports import pixel_flow, write_block_arrays, write_jsonl
from patchmatch.frames.masks import Masks
from patchmatch.frames.results import FrameChanges, Kind
from patchmatch.frames.rows import (
    CHANGE_COLUMNS,
    CSV_FORMATS,
    PAIR_COLUMNS,
    change_rows,
    pair_row,
)
from patchmatch.frames.run_outputs import IMAGE_ROWS, write_run_report, write_videos
from patchmatch.frames.selection import Selection
from patchmatch.io import write_flo, write_flow_png, write_image
from patchmatch.io.frames import fit_file_name
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.report.thumbnails import thumbnail
from patchmatch.writing.rows import number
from patchmatch.writing.writer import PredictionWriter

FORMATS = ("jsonl", "flo", "png16", "npz")
FlowWriter = Callable[[Path, np.ndarray, np.ndarray], None]
FLOW_WRITERS: dict[str, tuple[str, FlowWriter]] = {
    "flo": (".flo", write_flo),
    "png16": (".png", write_flow_png),
}


class ChangeBoxes(PredictionWriter):
    """Draw the most changed blocks of each frame pair on the later frame and list them in tables.

    A block that moved by more than a pixel is drawn where its content is in the later frame; the
    tables list its location in the earlier frame. Unmatched blocks are drawn where they were.

    Images are topk_diffs/top{top_k}_{later frame}.png in the output folder, in one subfolder per
    sequence if there are several. If several pairs share a later frame, the pair with the nearest
    earlier frame has this name and the others are top{top_k}_{earlier frame}_to_{later frame}.png.
    changes.csv has one row per drawn box, pairs.csv one row per pair.

    Args:
        output_path: Folder for the tables, topk_diffs and summary.json; created if missing.
        overwrite: Replace the results of an earlier run in that folder. Other files are kept.
        resume: Continue an interrupted run with the same settings. Starts a new run if there is
            none, and does nothing if the run is complete.
        top_k: Maximum number of boxes per pair, highest scores first. If there are more, boxes
            beside a better one come last, so that one large object does not take them all.
        min_score: Skip blocks with a lower score, from 0 to 1: 0.5 is one pixel in a still scene.
        min_confidence: Skip blocks whose displacement has a lower confidence, from 0 to 1.
        min_area: Skip blocks that cover fewer pixels.
        max_overlap: Intersection over union above which only the block with the highest score is
            drawn; 1 draws all blocks.
        roi: Mask image of the size of the frames, white where changes count. Blocks with half or
            less of their area inside are skipped, also in the counts of pairs.csv.
        ignore: Mask image of the size of the frames, white where changes do not count.
        style: boxes; arrows along the displacements to where the blocks are; flow, the
            displacements of all pixels (of all blocks with the shift matcher) as colors with a
            color wheel; patches, a montage of each changed patch as earlier, later and difference.
        export_box_overlay: False draws style patches, whatever the style.
        color_one_pixel: Color of blocks that moved by one pixel, a name or "#rrggbb".
        color_larger: Color of blocks that moved by more, a name or "#rrggbb".
        line_width: Line width in pixels; null chooses it by the frame size.
        arrow_scale: Arrow length per pixel of displacement. Short arrows are extended so that
            their direction is visible; an unmatched block is drawn as a cross.
        max_flow: Displacement in pixels that style flow draws with full saturation; null chooses
            it per image, so set it for videos.
        formats: Additional outputs: jsonl (changes.jsonl, the rows of changes.csv as JSON), flo
            (flow/FRAME.flo, the displacement of every pixel, with the motion of the camera; that of
            its block with the shift matcher), png16 (flow/FRAME.png, the same in the 16-bit format
            of KITTI), npz (fields/FRAME.npz, all blocks as arrays). [] writes none.
        video: Write annotated.mp4 from the images at the end, annotated/SEQUENCE.mp4 if there are
            several sequences.
        report: Write report.html at the end: frames with boxes, charts, tables and settings on
            one page that opens in a browser without a network.
    """

    tables: ClassVar = {"changes": CHANGE_COLUMNS, "pairs": PAIR_COLUMNS}
    csv_formats = CSV_FORMATS
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
        self.min_area, self.max_overlap = min_area, max_overlap
        self.roi, self.ignore = roi, ignore
        self.export_box_overlay = export_box_overlay
        self.color_one_pixel, self.color_larger = color_one_pixel, color_larger
        self.line_width, self.arrow_scale, self.max_flow = line_width, arrow_scale, max_flow
        self.formats, self.video, self.report = list(formats), video, report
        self.style = style if export_box_overlay else "patches"
        if unknown := sorted(set(self.formats) - set(FORMATS)):
            raise ValueError(
                f"formats must be among {', '.join(FORMATS)}, got {', '.join(unknown)}"
            )
        if video and self.style == "patches":
            raise ValueError(
                "video needs images of equal size, but the montages of style patches differ in "
                "size; choose style boxes, arrows or flow"
            )
        self._select = Selection(
            top_k=top_k,
            min_score=min_score,
            min_confidence=min_confidence,
            min_area=min_area,
            max_overlap=max_overlap,
        )
        colors = {
            Kind.ONE_PIXEL: parse_color(color_one_pixel),
            Kind.LARGER: parse_color(color_larger),
        }
        self._render = ChangeRenderer(
            style=self.style,
            colors=colors,
            line_width=line_width,
            arrow_scale=arrow_scale,
            max_flow=max_flow,
        )
        self._masks = Masks()
        self._suggests_camera = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the masks and check the output folder."""
        if stage == "predict":
            self._masks = Masks.read(self.roi, self.ignore)
        self._suggests_camera = getattr(pl_module, "camera", None) is False
        if hasattr(pl_module, "dense"):  # whether to measure the flow of every pixel
            module: Any = pl_module
            module.dense = self.style == "flow" or bool(self._flow_writers())
        super().setup(trainer, pl_module, stage)

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        several = len(getattr(dataset, "sequences", ())) > 1
        if "jsonl" in self.formats:
            yield "changes.jsonl"
        if self.report:
            yield "report.html"
        if self.video:
            names = [f"annotated/{s.name}" for s in dataset.sequences] if several else ["annotated"]
            yield from (f"{name}.mp4" for name in names)
        # the images of pairs with another earlier frame are checked when they are written
        for source, frame in dataset.later_frames() if isinstance(dataset, Clips) else ():
            folder = f"{source}/" if several else ""
            name = fit_file_name(frame)
            yield f"{self.image_folder}/{folder}top{self.top_k}_{name}.png"
            for suffix, _ in self._flow_writers():
                yield f"flow/{folder}{name}{suffix}"
            if "npz" in self.formats:
                yield f"fields/{folder}{name}.npz"

    def on_predict_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Check the size of the masks before the frames are matched."""
        for image in batch["images"][:1]:
            self._masks.require_size(image.shape, batch["source"])

    def write_batch(self, prediction: list[FrameChanges], batch: Clip) -> Chunk:
        """Write the files of each pair of a clip and return the table rows."""
        rows: dict[str, list[Row]] = {"changes": [], "pairs": [], IMAGE_ROWS: []}
        files: dict[str, bytes] = {}
        nearest: dict[int, int] = {}  # the nearest earlier frame of each later frame
        for index0, index1 in batch["pairs"]:
            nearest[index1] = max(index0, nearest.get(index1, 0))
        for (index0, index1), changes in zip(batch["pairs"], prediction, strict=True):
            valid = self._masks.restrict(changes)
            if self._suggests_camera and moves_alike(valid):
                self._suggests_camera = False
                self._warn(
                    "most of a frame moves alike, as with a moving camera; --model.camera true "
                    "measures the motion against the scene"
                )
            selected, area = self._select(valid)
            rows["changes"] += change_rows(selected, area)
            rows["pairs"].append(pair_row(valid, len(selected)))
            is_nearest = index0 == nearest[index1]
            name = changes.frame1 if is_nearest else f"{changes.frame0}_to_{changes.frame1}"
            name = fit_file_name(name)
            folder = Path(batch["source"] if batch["several"] else "")
            image0, image1 = batch["images"][index0], batch["images"][index1]
            self._write_arrays(folder / name, changes, image1.shape)
            row = {"source": batch["source"], "several": batch["several"]}
            row |= {"nearest": is_nearest, "time1": number(changes.time1, 6), "picture": None}
            rendered = self._render(image0, image1, valid, selected)
            if rendered is not None:
                path = self.image_folder / folder / f"top{self.top_k}_{name}.png"
                write_image(self.folder / path, rendered)
                row["picture"] = path.as_posix()
            if self.report:
                row |= {"height": image1.shape[0], "width": image1.shape[1]}
                row["thumbnail"] = f"{index1}.jpg"
                if row["thumbnail"] not in files:  # pairs may share their later frame
                    files[row["thumbnail"]] = thumbnail(image1)
            rows[IMAGE_ROWS].append(row)
        return Chunk(rows=rows, files=files)

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables, and changes.jsonl if requested."""
        super().write_tables(chunks)
        if "jsonl" in self.formats:
            write_jsonl(self.folder / "changes.jsonl", chunks.rows("changes"))

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write a video of each sequence, and the report."""
        paths: dict[str, Path] = {}
        if self.video and (video := write_videos(self.folder, chunks, self._warn)):
            paths["video"] = video
        if self.report:
            paths["report"] = write_run_report(self.folder, chunks, self._settings)
        return paths

    def _write_arrays(self, name: Path, changes: FrameChanges, shape: tuple[int, ...]) -> None:
        """Write the displacements of a pair in the requested formats."""
        if writers := self._flow_writers():
            flow, valid = pixel_flow(changes, shape[0], shape[1], total=True)
            for suffix, write in writers:
                write(self.folder / "flow" / f"{name}{suffix}", flow, valid)
        if "npz" in self.formats:
            write_block_arrays(self.folder / "fields" / f"{name}.npz", changes)

    def _flow_writers(self) -> list[tuple[str, FlowWriter]]:
        """Return the suffix and the function of each requested flow format."""
        return [FLOW_WRITERS[name] for name in self.formats if name in FLOW_WRITERS]
