"""Writer of moving objects: tables of objects, tracks and events, masks, pictures and videos."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl

from patchmatch.core.clips import Clip
from patchmatch.io import write_csv, write_image
from patchmatch.io.frames import fit_file_name
from patchmatch.objects.drawing import ObjectRenderer
from patchmatch.objects.events import EVENT_COLUMNS
from patchmatch.objects.exports import frame_numbers, write_clips, write_coco, write_mot
from patchmatch.objects.masks import encode_labels, write_masks
from patchmatch.objects.report.page import write_report
from patchmatch.objects.results import FrameObjects
from patchmatch.objects.rows import (
    CSV_FORMATS,
    FRAME_COLUMNS,
    OBJECT_COLUMNS,
    TRACK_COLUMNS,
    frame_row,
    moved_tracks,
    object_rows,
    pixels_of_tracks,
)
from patchmatch.objects.run_objects import MOVED, PICTURES, RunObjects
from patchmatch.writing.annotated_video import frame_rate, write_annotated_video
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.report.thumbnails import thumbnail
from patchmatch.writing.rows import as_csv, number
from patchmatch.writing.writer import PredictionWriter

FORMATS = ("mask", "mot", "coco", "clips")


class ObjectTracks(PredictionWriter):
    """List moving objects, their tracks and events in tables, and draw them.

    objects.csv has a row per object and frame, tracks.csv per track, events.csv per time in which
    something moves, frames.csv per frame. Only what has moved since it was first seen is an object.

    Args:
        output_path: Folder for the tables, pictures and summary.json; created if missing.
        overwrite: Replace the results of an earlier run in that folder. Other files are kept.
        resume: Continue an interrupted run with the same settings: objects depend on the frames
            before, so all frames are read again. Does nothing if the run is complete.
        min_event: Seconds of the shortest event.
        bridge: Seconds of the longest pause inside an event.
        line_width: Line width in pixels; null chooses it by the frame size.
        pictures: Write pictures/FRAME.jpg, each frame with its objects.
        formats: Additional outputs: mask (masks/FRAME.png, 255 where something moves), mot
            (mot.txt, or mot/SEQUENCE.txt, in the format of MOTChallenge), coco (coco.json), clips
            (events/event_NUMBER.mp4, a video of each event, from the pictures). [] writes none.
        video: Write annotated.mp4 from the pictures at the end, annotated/SEQUENCE.mp4 if there
            are several sequences.
        report: Write report.html at the end: the frames with boxes, numbers and paths of the
            tracks, and a timeline of tracks and events, on one page that needs no network.
    """

    tables: ClassVar = {
        "objects": OBJECT_COLUMNS,
        "tracks": TRACK_COLUMNS,
        "events": EVENT_COLUMNS,
        "frames": FRAME_COLUMNS,
    }
    csv_formats = CSV_FORMATS
    image_folder = "pictures"
    row_noun = "boxes"
    pair_noun = "frames"

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        min_event: float = 0.5,
        bridge: float = 2.0,
        line_width: int | None = None,
        pictures: bool = True,
        formats: Sequence[str] = (),
        video: bool = False,
        report: bool = False,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        self.min_event, self.bridge, self.line_width = min_event, bridge, line_width
        self.pictures, self.formats = pictures, list(formats)
        self.video, self.report = video, report
        if unknown := sorted(set(self.formats) - set(FORMATS)):
            raise ValueError(
                f"formats must be among {', '.join(FORMATS)}, got {', '.join(unknown)}"
            )
        for name, seconds in (("min_event", min_event), ("bridge", bridge)):
            if not 0 <= seconds < float("inf"):
                raise ValueError(f"{name} must be at least 0 seconds, got {seconds}")
        if (video or "clips" in self.formats) and not pictures:
            raise ValueError("video and clips are made of pictures; give pictures true")
        self._render = ObjectRenderer(line_width)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the output folder."""
        self._render = ObjectRenderer(self.line_width)
        super().setup(trainer, pl_module, stage)

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        sources = [s.name for s in getattr(dataset, "sequences", ())]
        several = len(sources) > 1
        if "mot" in self.formats:
            yield from (f"mot/{s}.txt" for s in sources) if several else ("mot.txt",)
        if "coco" in self.formats:
            yield "coco.json"
        if self.report:
            yield "report.html"
        if self.video:
            yield from (f"annotated/{s}.mp4" for s in sources) if several else ("annotated.mp4",)
        for source, frame in dataset.later_frames() if hasattr(dataset, "later_frames") else ():
            name = f"{source}/{fit_file_name(frame)}" if several else fit_file_name(frame)
            if self.pictures:
                yield f"pictures/{name}.jpg"
            if "mask" in self.formats:
                yield f"masks/{name}.png"

    def write_batch(self, prediction: list[FrameObjects], batch: Clip) -> Chunk:
        """Write the files of each frame of a clip and return the table rows."""
        rows: dict[str, list[Row]] = {"objects": [], "frames": [], PICTURES: []}
        rows[MOVED] = moved_tracks(prediction)
        files: dict[str, bytes] = {}
        for (_, index), objects in zip(batch["pairs"], prediction, strict=True):
            image = batch["images"][index]
            rows["objects"] += object_rows(objects)
            rows["frames"].append({**frame_row(objects), **pixels_of_tracks(objects)})
            name = Path(batch["source"] if batch["several"] else "") / fit_file_name(objects.frame)
            row = {"source": objects.source, "frame": objects.frame, "picture": None}
            row |= {"position": batch["numbers"][index], "file": batch["files"][index]}
            row |= {"several": batch["several"], "time": number(objects.time, 6)}
            row |= {"height": image.shape[0], "width": image.shape[1]}
            if self.pictures:
                path = Path(self.image_folder) / name.with_name(f"{name.name}.jpg")
                write_image(self.folder / path, self._render(image, objects))
                row["picture"] = path.as_posix()
            row["file"] = row["file"] or row["picture"] or objects.frame
            if self.report:
                row["thumbnail"] = f"{index}.jpg"
                files[row["thumbnail"]] = thumbnail(image)
            if "mask" in self.formats:
                labels, tracks = encode_labels(objects)
                row |= {"labels": f"{index}.png", "tracks": tracks}
                row["mask"] = (Path("masks") / name.with_name(f"{name.name}.png")).as_posix()
                files[f"{index}.png"] = labels
            rows[PICTURES].append(row)
        return Chunk(rows=rows, files=files)

    def count(self, chunks: RunChunks) -> dict[str, Any]:
        """Return the counts of the summary; boxes of what has not moved do not count."""
        self._run = RunObjects(chunks, self.min_event, self.bridge)  # read again after a resume
        counts = {"rows": self._run.boxes, "tracks": len(self._run.moved)}
        self._counts = super().count(chunks) | counts
        return self._counts

    def write_tables(self, chunks: RunChunks) -> None:
        """Write the tables, and the exports that are made of them."""
        run = self._run
        content = {
            "objects": run.objects(),
            "tracks": run.tracks,
            "events": run.events,
            "frames": run.frames(),
        }
        for name, columns in self.tables.items():
            rows = (as_csv(row, self.csv_formats) for row in content[name])
            write_csv(self.folder / f"{name}.csv", columns, rows)
        if "mask" in self.formats:
            write_masks(self.folder, chunks, PICTURES, run.moved)
        if "mot" in self.formats:
            numbers = frame_numbers(chunks.rows(PICTURES))
            grouped = groupby(run.objects(), key=lambda row: str(row["source"]))
            written = set()
            for source, rows in grouped:
                name = f"mot/{source}.txt" if run.several else "mot.txt"
                write_mot(self.folder / name, rows, numbers)
                written.add(source)
            for source in {source for source, _ in numbers} - written:
                name = f"mot/{source}.txt" if run.several else "mot.txt"
                write_mot(self.folder / name, (), {})
        if "coco" in self.formats:
            write_coco(self.folder / "coco.json", run.objects(), chunks.rows(PICTURES))

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write the videos of sequences and events, and the report."""
        paths: dict[str, Path] = {"events": self.folder / "events.csv"}
        shown: dict[str, list[tuple[str, float | None, Path]]] = defaultdict(list)
        run = self._run
        if self.video or "clips" in self.formats:
            for row in chunks.rows(PICTURES):
                picture = self.folder / row["picture"]
                shown[row["source"]].append((row["frame"], row["time"], picture))
        if self.video:
            for source, frames in shown.items():
                name = f"annotated/{source}.mp4" if run.several else "annotated.mp4"
                fps = frame_rate([time for _, time, _ in frames])
                if note := write_annotated_video(self.folder / name, (p for *_, p in frames), fps):
                    self._warn(note)
                paths["video"] = self.folder / ("annotated" if run.several else name)
        if "clips" in self.formats:
            write_clips(self.folder / "events", run.events, shown, run.several, self._warn)
            paths["clips"] = self.folder / "events"
        if self.report:
            paths["report"] = self.folder / "report.html"
            summary = {**self._counts, "settings": self._settings}
            write_report(paths["report"], run, summary)
        return paths
