"""Writer of reconstructions: images, fields, curves, and a table of all pairs."""

import functools
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
from rich.markup import escape

from patchmatch.core.image_pairs import ImagePair
from patchmatch.core.messages import printable
from patchmatch.draw import draw_cost, draw_flow, tensor_to_uint8
from patchmatch.io import write_bytes_atomic, write_csv, write_flo, write_image
from patchmatch.nnf.curves import draw_curves
from patchmatch.nnf.overview import Overview
from patchmatch.nnf.results import DenseMatches, IterationMetrics
from patchmatch.writing.chunks import Chunk, Row, RunChunks
from patchmatch.writing.rows import number
from patchmatch.writing.writer import PredictionWriter

PAIR_COLUMNS = (
    *("name", "image0", "image1", "width0", "height0", "width1", "height1", "scale"),
    *("patch_size", "iterations", "ssd", "psnr", "ssim", "seconds", "consistent"),
)
DECIMALS = {"ssd": 8, "psnr": 3, "ssim": 5, "seconds": 3}
ITERATION_COLUMNS = ("iteration", *DECIMALS)

FILES = (
    *("rebuilt_centre.png", "rebuilt_vote.png", "field.npz", "field.flo", "flow.png", "cost.png"),
    *("consistent.png", "iterations.csv", "iterations.png", "overview.png"),
)


class Reconstructions(PredictionWriter):
    """Write image 0 of each pair reconstructed from image 1, with field and metrics.

    Each pair has a folder pairs/{name}, named after its image 0: rebuilt_centre.png (each pixel
    copied from its best match), rebuilt_vote.png (each pixel the mean of all overlapping matched
    patches), field.npz (flow, cost), field.flo, flow.png, cost.png, iterations.csv and
    iterations.png (metrics after each iteration) and overview.png (all images side by side).
    pairs.csv has a row for each pair: sizes, mean patch SSD per pixel, PSNR and SSIM of the voted
    image, seconds of matching, and the fraction of consistent pixels with both_ways.

    Args:
        output_path: Folder for the table, pairs and summary.json; created if missing.
        overwrite: Replace the files of an earlier run in that folder. Other files stay.
        resume: Continue an interrupted run with the same settings. Starts a new run if there is
            none, and does nothing if the run is complete.
        keep_iterations: Iterations after which the voted image is written as well, as
            rebuilt_vote_{iteration}.png, and image 0 as image0.png. dev/compare_reconstructions.py
            shows [1, 5, 10, 20].
        max_flow: Displacement in pixels that flow.png draws in full saturation; null chooses it
            for each pair.
        max_cost: Cost that cost.png draws in the lightest color; null chooses it for each pair, so
            set it to compare images.
        overview_size: Longest side in pixels of each image in overview.png.
    """

    tables: ClassVar = {"pairs": PAIR_COLUMNS}
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
            raise ValueError(f"keep_iterations must be at least 1, got {list(keep_iterations)}")
        for name, value in (("max_flow", max_flow), ("max_cost", max_cost)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, got {value}")
        if overview_size < 16:
            raise ValueError(f"overview_size must be at least 16 pixels, got {overview_size}")
        self.keep_iterations = sorted(set(keep_iterations))
        self.max_flow, self.max_cost, self.overview_size = max_flow, max_cost, overview_size

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check matcher and folder, and request snapshots and progress from the matcher."""
        super().setup(trainer, pl_module, stage)
        if stage == "predict":
            matcher: Any = pl_module  # the registry has checked that it is a matcher of this kind
            matcher.observe(self.keep_iterations, functools.partial(_show_progress, trainer))

    def planned_files(self, dataset: Any) -> Iterator[str]:
        """Yield the names of the files that a run will write."""
        yield from super().planned_files(dataset)
        names = ["image0.png"] if self.keep_iterations else []
        names += [f"rebuilt_vote_{iteration}.png" for iteration in self.keep_iterations]
        for pair in getattr(dataset, "files", ()):
            for name in (*FILES, *names):
                yield f"{self.image_folder}/{pair.name}/{name}"

    def write_batch(self, prediction: list[DenseMatches], batch: ImagePair) -> Chunk:
        """Write the folder of a pair, and return its row of the table."""
        rows: list[Row] = []
        for matches in prediction:
            self._write_pair(matches, batch)
            rows.append(_pair_row(matches, batch))
        return Chunk(rows={"pairs": rows})

    def finish(self, chunks: RunChunks) -> Mapping[str, Path]:
        """Return the overview of the first pair."""
        first = next(chunks.rows("pairs"))
        return {"look at": self.folder / self.image_folder / str(first["name"]) / "overview.png"}

    def _write_pair(self, matches: DenseMatches, batch: ImagePair) -> None:
        folder = self.folder / self.image_folder / matches.name
        image0, image1 = (tensor_to_uint8(batch[name][0]) for name in ("image0", "image1"))
        write_image(folder / "rebuilt_centre.png", tensor_to_uint8(matches.rebuilt_centre))
        write_image(folder / "rebuilt_vote.png", tensor_to_uint8(matches.rebuilt_vote))
        if self.keep_iterations:
            write_image(folder / "image0.png", image0)
        for iteration, snapshot in matches.snapshots.items():
            write_image(folder / f"rebuilt_vote_{iteration}.png", tensor_to_uint8(snapshot))
        _write_field(folder / "field.npz", matches, batch["scale"])
        flow = matches.best_flow.permute(1, 2, 0).numpy().astype(np.float32)
        known = np.ones(flow.shape[:2], bool) if matches.valid is None else matches.valid.numpy()
        write_flo(folder / "field.flo", flow, known)
        flow_image = draw_flow(image0, flow, known, self.max_flow)
        write_image(folder / "flow.png", flow_image)
        cost_image = draw_cost(matches.best_cost.numpy(), self.max_cost)
        write_image(folder / "cost.png", cost_image)
        if matches.consistent is not None:
            consistent = matches.consistent.numpy().astype(np.uint8)
            write_image(folder / "consistent.png", 255 * consistent)
        rows = map(_iteration_row, matches.history)
        write_csv(folder / "iterations.csv", ITERATION_COLUMNS, rows)
        write_image(folder / "iterations.png", draw_curves({matches.name: matches.history}))
        overview = Overview(
            image0=image0,
            image1=image1,
            flow=flow_image,
            cost=cost_image,
            size=self.overview_size,
        )
        write_image(folder / "overview.png", overview.draw(matches))


def _write_field(path: Path, matches: DenseMatches, scale: float) -> None:
    """Write flow, cost and masks as arrays of an .npz file."""
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
    """Return the row of a pair, with None for unknown values."""
    last = _iteration_row(matches.history[-1])
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
        "iterations": len(matches.history),
        **{name: last[name] for name in ("ssd", "psnr", "ssim")},
        "seconds": number(matches.seconds, 3),
        "consistent": number(matches.consistent_fraction),
    }


def _iteration_row(metrics: IterationMetrics) -> dict[str, Any]:
    """Return the row of an iteration; the PSNR of an exact reconstruction is inf."""
    row: dict[str, Any] = {"iteration": metrics.iteration}
    row |= {name: number(getattr(metrics, name), digits) for name, digits in DECIMALS.items()}
    return row | {"psnr": "inf"} if metrics.psnr == math.inf else row


def _show_progress(trainer: pl.Trainer, name: str, metrics: IterationMetrics) -> None:
    """Show the progress of a pair on the progress bar: a large pair takes minutes."""
    text = f"{name}: iteration {metrics.iteration}, {metrics.psnr:.2f} dB"
    bar = trainer.progress_bar_callback
    if isinstance(bar, RichProgressBar) and bar.progress is not None:
        if bar.predict_progress_bar_id is not None:
            description = escape(printable(text))
            bar.progress.update(bar.predict_progress_bar_id, description=description)
            bar.refresh()
    elif isinstance(bar, TQDMProgressBar) and bar.is_enabled:
        bar.predict_progress_bar.set_postfix_str(text)
