"""Where templates were found: boxes and heat map of each scene, and one table."""

import colorsys
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from patchmatch.draw import draw_boxes, draw_heat
from patchmatch.io import write_csv, write_image
from patchmatch.templates.results import SceneDetections
from patchmatch.templates.scenes import TemplateScene
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import as_csv, number
from patchmatch.writing.writer import PredictionWriter

COLUMNS = ("scene", "template", "x0", "y0", "x1", "y1", "score")
_GOLDEN = 0.618034  # of the circle of hues: the next one is far from those before


class TemplateBoxes(PredictionWriter):
    """Draw where templates were found, and list the boxes in a table.

    Each scene has a folder scenes/SCENE with result.png, heatmap.png and boxes.csv. boxes.csv in
    the output folder holds the boxes of all scenes, the best of a scene first.

    Args:
        output_path: Folder for the tables, the scenes and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        resume: Go on where a run with the same settings was stopped or killed.
        line_width: Width of the lines in pixels; null chooses by the size of the scene.
    """

    tables: ClassVar = {"boxes": COLUMNS, "not_found": ("scene", "template", "reason")}
    csv_formats: ClassVar = {"score": ".4f"}
    subfolders: ClassVar = {"scenes": re.compile(r"result\.png|heatmap\.png|boxes\.csv")}
    image_folder = "scenes"
    row_noun = "boxes"
    batch_noun, pair_noun = "scenes", "searches"  # of one template in one scene

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        line_width: int | None = None,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        self.line_width = line_width

    def write_batch(self, prediction: SceneDetections, batch: TemplateScene) -> Chunk:
        """Write the pictures and the table of a scene, and return its rows."""
        if not batch["pairs"]:
            return Chunk(rows={"boxes": [], "not_found": []})
        found, names = prediction.detections, prediction.templates
        which = prediction.template.tolist()
        rows: list[Row] = [
            {"scene": prediction.scene, "template": names[template]}
            | {name: number(v, 2) for name, v in zip(COLUMNS[2:6], box, strict=True)}
            | {"score": number(score)}
            for template, box, score in zip(
                which, found.boxes.tolist(), found.scores.tolist(), strict=True
            )
        ]
        missed: list[Row] = [
            {"scene": prediction.scene, "template": name, "reason": reason}
            for name, reason in prediction.reasons.items()
        ]
        labels = [
            f"{row['template']} {row['score']:.2f}" + (f" {rotation:g} deg" if rotation else "")
            for row, rotation in zip(rows, found.rotations.tolist(), strict=True)
        ]
        # The font has no other letters than those of ASCII.
        labels = [label.encode("ascii", "replace").decode() for label in labels]
        folder = self.folder / Path(self.image_folder, prediction.scene)
        colors = [template_color(template) for template in which]
        drawn = draw_boxes(batch["picture"], found.boxes.numpy(), colors, labels, self.line_width)
        write_image(folder / "result.png", drawn)
        write_image(folder / "heatmap.png", draw_heat(batch["picture"], found.heatmap.numpy()))
        shown = [as_csv(row, self.csv_formats) for row in rows]
        write_csv(folder / "boxes.csv", COLUMNS, shown)
        return Chunk(rows={"boxes": rows, "not_found": missed})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Name a picture to look at first, and where it is told what was not found."""
        found, missed = (list(chunks.rows(name)) for name in ("boxes", "not_found"))
        made = {}
        if found or missed:
            scene = self.folder / self.image_folder / str((found or missed)[0]["scene"])
            made["look at"] = scene / ("result.png" if found else "heatmap.png")
        if missed:
            made["not found"] = self.folder / "not_found.csv"
        return made


def template_color(index: int) -> tuple[int, int, int]:
    """Return the colour of a template by its place among all, as RGB of 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.9, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
