"""Reading of templates, and of their masks, boxes and thresholds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.io import (
    IMAGE_SUFFIXES,
    read_csv,
    read_image,
    read_image_and_opacity,
    to_float,
    to_mask,
)
from patchmatch.io.frames import list_folder, unique_name
from patchmatch.io.ground_truth import CORNERS
from patchmatch.templates.scenes import require_box


def read_templates(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Read a template, or all templates of a folder in natural order.

    Returns:
        The templates by name, (3, h, w) each; the masks of those with an alpha channel, (h, w) bool
        each, see ``io.read_opacity``; and a note for each file that cannot be read.

    Raises:
        InputError: If no template can be read.
    """
    if path.is_dir() and not images_of(path):
        raise InputError(
            f"{path}: contains no templates; give an image, or a folder of "
            f"{' '.join(IMAGE_SUFFIXES)}"
        )
    templates: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    errors: list[InputError] = []
    for one in images_of(path) if path.is_dir() else [path]:
        name = one.stem if one.stem not in templates else one.name
        try:
            image, opaque = read_image_and_opacity(one)
        except InputError as error:
            errors.append(error)
            continue
        templates[name] = as_colors(image)
        if opaque is not None:
            masks[name] = torch.from_numpy(opaque)
    if not templates:
        raise errors[0]
    return templates, masks, [f"template left out: {error}" for error in errors]


def cut_boxes(
    path: str, templates: Mapping[str, Tensor], masks: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Read the boxes of templates.

    Returns:
        Templates, masks and boxes by the names of the templates: one for each row of the file, and
        one without a box for each image that has none.

    Raises:
        InputError: If the file cannot be read, or a box has no template or does not lie in it.
    """
    rows: dict[str, list[Tensor]] = {}
    for number, row in enumerate(read_csv(path, ("template", *CORNERS)), start=1):
        name = row["template"]
        if name not in templates:
            raise InputError(
                f"{path} row {number}: there is no template {name}; give file names without suffix"
            )
        try:
            corners = torch.tensor([float(row[corner]) for corner in CORNERS])
            require_box(corners, templates[name])
        except ValueError as error:
            raise InputError(f"{path} row {number}: {error}") from error
        rows.setdefault(name, []).append(corners)
    taken = {name.casefold() for name in templates}
    images: dict[str, Tensor] = {}
    used: dict[str, Tensor] = {}
    boxes: dict[str, Tensor] = {}
    for name, image in templates.items():
        for i, corners in enumerate(rows.get(name, [None])):
            one = unique_name(name, taken) if i else name
            images[one] = image
            if name in masks:
                used[one] = masks[name]
            if corners is not None:
                boxes[one] = corners
    return images, used, boxes


def read_masks(folder: Path, templates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the masks of templates, images of the same names and sizes.

    Returns:
        The masks by name, (h, w) bool each, see ``io.to_mask``.

    Raises:
        InputError: If there is no template of a mask's name, or their sizes differ.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: folder of masks not found; give another --data.masks")
    masks: dict[str, Tensor] = {}
    for path in images_of(folder):
        if path.stem not in templates:
            raise InputError(f"{path}: there is no template of that name; rename or remove it")
        mask = torch.from_numpy(to_mask(read_image(path)))
        height, width = templates[path.stem].shape[-2:]
        if mask.shape != (height, width):
            raise InputError(
                f"{path}: must have the size of its template, {width}x{height}, got "
                f"{mask.shape[1]}x{mask.shape[0]}"
            )
        masks[path.stem] = mask
    return masks


def images_of(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order."""
    return [path for path in list_folder(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def read_thresholds(path: str) -> dict[str, float]:
    """Read the thresholds of templates by name.

    Raises:
        InputError: If the file cannot be read, or a threshold is not between 0 and 1.
    """
    thresholds: dict[str, float] = {}
    for row in read_csv(path, ("template", "threshold")):
        try:
            value = float(row["threshold"])
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise InputError(
                f"{path}: the threshold of {row['template']} must lie between 0 and 1, got "
                f"{row['threshold']!r}"
            )
        thresholds[row["template"]] = value
    return thresholds


def as_colors(image: np.ndarray) -> Tensor:
    """Return an image from ``read_image`` as (3, H, W) float32 RGB in [0, 1]."""
    values = torch.from_numpy(to_float(image))
    colors = values.expand(3, -1, -1) if values.ndim == 2 else values.permute(2, 0, 1)
    return colors.contiguous()
