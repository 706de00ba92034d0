"""Writer of template detections: images and boxes of each scene, and tables of all."""

import colorsys
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from patchmatch.draw import draw_boxes, draw_heat, draw_polygons
from patchmatch.draw.text import to_ascii
from patchmatch.io import VideoSequence, write_csv, write_image
from patchmatch.templates.report.page import write_report
from patchmatch.templates.results import OF_EACH, SceneDetections
from patchmatch.templates.scenes import TemplateScene
from patchmatch.writing.annotated_video import frame_rate, write_annotated_video
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.report.thumbnails import thumbnail
from patchmatch.writing.rows import as_csv, number
from patchmatch.writing.writer import PredictionWriter

CORNERS = ("x0", "y0", "x1", "y1")
COLUMNS = ("scene", "time", "template", *CORNERS, "score", "scale", "rotation", "outline")
MISSED = ("scene", "time", "template", "reason", "best_score")
ANNOTATED = "annotated.mp4"
REPORT, THUMBNAIL = "report.html", "scene.jpg"
PICTURES = "pictures"  # rows of the images, which are no table
_GOLDEN_RATIO = 0.618034  # step of the hue: each new hue is far from all earlier ones


class TemplateBoxes(PredictionWriter):
    """Write template detections as images and tables.

    Each scene has a folder scenes/SCENE with result.png (boxes and, where they are known, outlines
    of the objects, drawn on the scene), heatmap.png
    and boxes.csv. In the output folder, boxes.csv lists the boxes of all scenes, and not_found.csv
    the templates without a detection, with the score of their best location. For the frames of a
    video both have the time in seconds, and annotated.mp4 shows the boxes.

    Args:
        output_path: Folder for the tables, the scenes and summary.json; created if missing.
        overwrite: Replace the files of an earlier run in that folder; other files are kept.
        resume: Continue an interrupted run with the same settings.
        line_width: Width of the lines in pixels; null chooses it by the size of the scene.
        report: Write report.html, which shows the scenes and a timeline of the scores.
    """

    tables: ClassVar = {"boxes": COLUMNS, "not_found": MISSED}
    csv_formats: ClassVar = {"score": ".4f", "best_score": ".4f", "time": ".6f"}
    image_folder = "scenes"
    row_noun = "boxes"
    batch_noun, pair_noun = "scenes", "searches"  # of one template in one scene

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        line_width: int | None = None,
        report: bool = False,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        self.line_width, self.report = line_width, report

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        if self.report:
            yield REPORT
        sequence = getattr(dataset, "sequence", ())
        if isinstance(sequence, VideoSequence):
            yield ANNOTATED
        for scene in map(sequence.frame_name, range(len(dataset))) if sequence else ():
            for name in ("result.png", "heatmap.png", "boxes.csv"):
                yield f"{self.image_folder}/{scene}/{name}"

    def write_batch(self, prediction: SceneDetections, batch: TemplateScene) -> Chunk:
        """Write the images and the table of a scene, and return its rows."""
        if not batch["pairs"]:
            return Chunk(rows={"boxes": [], "not_found": [], PICTURES: []})
        found, names = prediction.detections, prediction.templates
        index = prediction.template_index.tolist()
        of_scene = {"scene": prediction.scene, "time": number(batch["time"], 6)}
        rows: list[Row] = [
            {**of_scene, "template": names[template]}
            | {name: number(v, 2) for name, v in zip(CORNERS, box, strict=True)}
            | {"score": number(score), "scale": number(scale, 3), "rotation": number(rotation, 3)}
            | {"outline": outline_text(outline)}
            for template, box, score, scale, rotation, outline in zip(
                index, *(getattr(found, name).tolist() for name in OF_EACH), strict=True
            )
        ]
        missed: list[Row] = [
            {**of_scene, "template": name, "reason": reason}
            | {"best_score": number(prediction.best_scores[name])}
            for name, reason in prediction.reasons.items()
        ]
        labels = [
            f"{to_ascii(names[template], f'template {template + 1}')} {row['score']:.2f}"
            + (f" {rotation:g} deg" if rotation else "")
            for template, row, rotation in zip(index, rows, found.rotations.tolist(), strict=True)
        ]
        folder = self.folder / Path(self.image_folder, prediction.scene)
        colors = [template_color(template) for template in index]
        image = batch["scene_image"]
        drawn = draw_polygons(image, found.outlines.numpy(), colors, self.line_width)
        drawn = draw_boxes(drawn, found.boxes.numpy(), colors, labels, self.line_width)
        write_image(folder / "result.png", drawn)
        write_image(folder / "heatmap.png", draw_heat(image, found.heatmap.numpy()))
        shown = [as_csv(row, self.csv_formats) for row in rows]
        write_csv(folder / "boxes.csv", COLUMNS, shown)
        picture = f"{self.image_folder}/{prediction.scene}/result.png"
        scene = {"picture": picture, "time": of_scene["time"], "name": prediction.scene}
        scene |= {"thumbnail": THUMBNAIL, "templates": list(names)}
        return Chunk(
            rows={"boxes": rows, "not_found": missed, PICTURES: [scene]},
            files={THUMBNAIL: thumbnail(drawn)} if self.report else {},
        )

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Write the video of a video, and return what to look at first and what was not found."""
        found, missed = (list(chunks.rows(name)) for name in ("boxes", "not_found"))
        outputs = {}
        if found or missed:
            scene = self.folder / self.image_folder / str((found or missed)[0]["scene"])
            outputs["look at"] = scene / ("result.png" if found else "heatmap.png")
        if missed:
            outputs["not found"] = self.folder / "not_found.csv"
        pictures = list(chunks.rows(PICTURES))
        times = [row["time"] for row in pictures]
        if len(pictures) > 1 and None not in times:  # the scenes are frames of a video
            path = outputs["video"] = self.folder / ANNOTATED
            images = (self.folder / row["picture"] for row in pictures)
            if note := write_annotated_video(path, images, frame_rate(times)):
                self._warn(note)
        if self.report:
            path = outputs["report"] = self.folder / REPORT
            names = dict.fromkeys(name for row in pictures for name in row["templates"])
            colors = {name: template_color(index) for index, name in enumerate(names)}
            summary = {**self.count(chunks), "settings": self._settings}
            write_report(path, chunks, PICTURES, colors, summary)
        return outputs


def outline_text(outline: Sequence[Sequence[float]]) -> str:
    """Return the corners of an outline as x and y separated by blanks; "" if unknown."""
    values = [value for point in outline for value in point]
    return " ".join(f"{value:.2f}" for value in values) if all(map(math.isfinite, values)) else ""


def template_color(index: int) -> tuple[int, int, int]:
    """Return the colour of a template by its index, RGB from 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1, 0.9, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
