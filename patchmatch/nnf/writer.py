"""Image 0 rebuilt from image 1: pictures, fields, curves, and a table of all pairs."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar

from patchmatch.core.image_pairs import ImagePair
from patchmatch.draw import draw_cost, draw_flow, tensor_to_uint8
from patchmatch.io import write_bytes_atomic, write_csv, write_flo, write_image
from patchmatch.nnf.curves import draw_curves
from patchmatch.nnf.overview import Overview
from patchmatch.nnf.results import DenseMatches, Step
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import number
from patchmatch.writing.writer import PredictionWriter

PAIRS = (
    *("name", "image0", "image1", "width0", "height0", "width1", "height1", "scale"),
    *("patch_size", "iterations", "ssd", "psnr", "ssim", "seconds", "consistent"),
)
DECIMALS = {"ssd": 8, "psnr": 3, "ssim": 5, "seconds": 3}
STEPS = ("iteration", *DECIMALS)


class Reconstructions(PredictionWriter):
    """Write image 0 of each pair rebuilt from image 1, and how it was done.

    Each pair has a folder pairs/{name}, named as its image 0: rebuilt_centre.png (each pixel
    copied from its best match), rebuilt_vote.png (each pixel the mean of what all patches over it
    say), field.npz (flow, cost), field.flo, flow.png, cost.png, iterations.csv and iterations.png
    (what each iteration reached) and overview.png (all of it side by side). pairs.csv has a row
    for each pair: sizes, mean patch SSD per pixel, PSNR and SSIM of the voted picture, seconds
    spent on matching, and the share of pixels whose match leads back, if both ways were searched.

    Args:
        output_path: Folder for the table, pairs and summary.json; made where missing.
        overwrite: Replace what a former run left in that folder. Other files there stay.
        resume: Go on where a run with the same settings was stopped or killed. Where there is
            none it starts afresh; where the run has come to its end there is nothing to do.
        keep_iterations: After which iterations to write the voted picture as well, as
            rebuilt_vote_{iteration}.png beside image0.png; [1, 5, 10, 20] is what
            dev/compare_reconstructions.py shows.
        max_flow: Displacement in pixels that flow.png draws as a full color; null chooses for
            each pair.
        max_cost: Cost that cost.png draws as the lightest color; null chooses for each pair, so
            give it to compare pictures.
        overview_size: Longest side in pixels of each picture in overview.png.
    """

    tables: ClassVar = {"pairs": PAIRS}
    subfolders: ClassVar = {
        "pairs": re.compile(
            r"(rebuilt_centre|rebuilt_vote|rebuilt_vote_\d+|image0|flow|cost|iterations|"
            r"consistent|overview)\.png|field\.(npz|flo)|iterations\.csv"
        )
    }
    image_folder = "pairs"
    row_noun = "reconstructions"
    batch_noun = "pairs"

    def __init__(
        self,
        output_path: str = "data/output",
        overwrite: bool = False,
        resume: bool = False,
        keep_iterations: Sequence[int] = (),
        max_flow: float | None = None,
        max_cost: float | None = None,
        overview_size: int = 480,
    ) -> None:
        super().__init__(output_path, overwrite, resume)
        if any(iteration < 1 for iteration in keep_iterations):
            raise ValueError(f"keep_iterations count from 1 on, got {list(keep_iterations)}")
        for name, value in (("max_flow", max_flow), ("max_cost", max_cost)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, got {value}")
        if overview_size < 16:
            raise ValueError(f"overview_size must be at least 16 pixels, got {overview_size}")
        self.keep_iterations = sorted(set(keep_iterations))
        self.max_flow, self.max_cost, self.overview_size = max_flow, max_cost, overview_size

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure of matcher and folder, and ask for what is wanted on the way."""
        super().setup(trainer, pl_module, stage)
        if stage == "predict":
            matcher: Any = pl_module
            matcher.keep_iterations = tuple(self.keep_iterations)
            matcher.listener = lambda name, step: _show_progress(trainer, name, step)

    def write_batch(self, prediction: list[DenseMatches], batch: ImagePair) -> Chunk:
        """Write the folder of a pair, and return its row of the table."""
        rows: list[Row] = []
        for matches in prediction:
            self._write_pair(matches, batch)
            rows.append(_pair_row(matches, batch))
        return Chunk(rows={"pairs": rows})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Name an overview to look at first."""
        first = next(chunks.rows("pairs"))
        return {"look at": self.folder / self.image_folder / str(first["name"]) / "overview.png"}

    def _write_pair(self, matches: DenseMatches, batch: ImagePair) -> None:
        folder = self.folder / self.image_folder / matches.name
        picture0, picture1 = (tensor_to_uint8(batch[name][0]) for name in ("image0", "image1"))
        write_image(folder / "rebuilt_centre.png", tensor_to_uint8(matches.rebuilt_centre))
        write_image(folder / "rebuilt_vote.png", tensor_to_uint8(matches.rebuilt_vote))
        if self.keep_iterations:
            write_image(folder / "image0.png", picture0)
        for iteration, kept in matches.kept.items():
            write_image(folder / f"rebuilt_vote_{iteration}.png", tensor_to_uint8(kept))
        _write_field(folder / "field.npz", matches, batch["scale"])
        flow = matches.best_flow.permute(1, 2, 0).numpy().astype(np.float32)
        known = np.ones(flow.shape[:2], bool) if matches.valid is None else matches.valid.numpy()
        write_flo(folder / "field.flo", flow, known)
        agree = None if matches.consistent is None else matches.consistent.numpy()
        flow_picture = draw_flow(picture0, flow, known, self.max_flow)
        write_image(folder / "flow.png", flow_picture)
        cost_picture = draw_cost(matches.best_cost.numpy(), self.max_cost)
        write_image(folder / "cost.png", cost_picture)
        if agree is not None:
            write_image(folder / "consistent.png", 255 * agree.astype(np.uint8))
        write_csv(folder / "iterations.csv", STEPS, map(_step_row, matches.steps))
        write_image(folder / "iterations.png", draw_curves({matches.name: matches.steps}))
        overview = Overview(picture0, picture1, flow_picture, cost_picture, self.overview_size)
        write_image(folder / "overview.png", overview.draw(matches))


def _write_field(path: Path, matches: DenseMatches, scale: float) -> None:
    """Write what was found as arrays of an .npz."""
    arrays = {
        "flow": matches.flow.numpy().astype(np.int32),
        "cost": matches.cost.numpy(),
        "patch_size": np.array(matches.patch_size),
        "scale": np.array(scale),
    }
    for name in ("valid", "consistent", "flow10"):
        if (array := getattr(matches, name)) is not None:
            values = array.numpy()
            arrays[name] = values if values.dtype == bool else values.astype(np.int32)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes_atomic(path, content.getvalue())


def _pair_row(matches: DenseMatches, batch: ImagePair) -> Row:
    """Return the row of a pair; what is not known is None."""
    last = _step_row(matches.steps[-1])
    sizes = {
        f"{name}{i}": batch[f"image{i}"].shape[axis]
        for i in (0, 1)
        for name, axis in (("width", -1), ("height", -2))
    }
    return {
        "name": matches.name,
        "image0": matches.image0,
        "image1": matches.image1,
        **sizes,
        "scale": number(batch["scale"], 6),
        "patch_size": matches.patch_size,
        "iterations": len(matches.steps),
        **{name: last[name] for name in ("ssd", "psnr", "ssim")},
        "seconds": number(matches.seconds, 3),
        "consistent": number(matches.consistent_share),
    }


def _step_row(step: Step) -> dict[str, Any]:
    """Return the row of an iteration; the PSNR of a perfect picture is inf."""
    row: dict[str, Any] = {"iteration": step.iteration}
    row |= {name: number(getattr(step, name), places) for name, places in DECIMALS.items()}
    return row | {"psnr": "inf"} if step.psnr == math.inf else row


def _show_progress(trainer: pl.Trainer, name: str, step: Step) -> None:
    """Say on the bar how far a pair has come, for a large one takes minutes."""
    text = f"{name}: iteration {step.iteration}, {step.psnr:.2f} dB"
    bar = trainer.progress_bar_callback
    if isinstance(bar, RichProgressBar) and bar.progress is not None:
        if bar.predict_progress_bar_id is not None:
            bar.progress.update(bar.predict_progress_bar_id, description=text)
            bar.refresh()
    elif isinstance(bar, TQDMProgressBar) and bar.is_enabled:
        bar.predict_progress_bar.set_postfix_str(text)
