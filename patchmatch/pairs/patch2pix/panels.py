"""Coarse, mid and fine matches of a pair as one image, for TensorBoard."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from patchmatch.draw import draw_matches, montage, tensor_to_uint8

LINES = 60  # matches that are drawn, spread over the image
SIZE = 1000  # pixels of the longer side of both images together

#: Points of image 0 and of image 1, (N, 2) each, and squared errors of the matches, (N,).
Stage = tuple[Tensor, Tensor, Tensor]


def draw_stages(
    image0: Float[Tensor, "C H W"], image1: Float[Tensor, "C1 H1 W1"], stages: Mapping[str, Stage]
) -> np.ndarray:
    """Return the matches of each stage below each other, (H, W, 3) uint8, coloured by error.

    Args:
        image0: RGB or gray in [0, 1].
        image1: The same.
        stages: Matches by the name of the stage; all have the same number of matches.
    """
    images = [tensor_to_uint8(image.cpu()) for image in (image0, image1)]
    panels = []
    for name, (points0, points1, squares) in stages.items():
        errors = squares.double().cpu().sqrt().numpy()
        share = float((errors <= 1).mean()) if len(errors) else 0.0
        caption = f"{name}: {share:.0%} of {len(errors)} matches within 1 px (green; orange: 5 px)"
        ends = (points.detach().double().cpu().numpy() for points in (points0, points1))
        panels.append(
            draw_matches(*images, *ends, max_lines=LINES, size=SIZE, caption=caption, errors=errors)
        )
    return montage(panels, columns=1)


def log_panel(
    loggers: Iterable[object],
    name: str,
    images: tuple[Tensor, Tensor],
    stages: Mapping[str, Stage],
    step: int,
) -> None:
    """Write the matches of a pair to the loggers that take images (TensorBoard).

    Args:
        loggers: Loggers of the trainer.
        name: Name of the image.
        images: RGB or gray in [0, 1], (C, H, W).
        stages: See ``draw_stages``.
        step: Training step.
    """
    writers: list[Any] = [getattr(logger, "experiment", None) for logger in loggers]
    writers = [writer for writer in writers if hasattr(writer, "add_image")]
    if writers:
        panel = draw_stages(images[0], images[1], stages)
        for writer in writers:
            writer.add_image(name, panel, step, dataformats="HWC")
