"""Scenes, and the templates to find in them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.io import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    FolderSequence,
    FrameSequence,
    VideoSequence,
    natural_key,
    read_csv,
    read_image,
    read_opacity,
    to_float,
    to_mask,
)
from patchmatch.io.frames import list_folder
from patchmatch.templates.scenes import TemplateScene

Read = TypeVar("Read")


class TemplateScenes(PredictionData):
    """Scenes, and templates to find in each of them.

    Args:
        scene: An image, a folder of images, or a video.
        templates: An image of an object, or a folder of them. A template that cannot be read is
            reported and left out.
        thresholds: csv file with the columns template (file name without suffix) and threshold
            (lowest score of its detections); null for the threshold of the matcher.
        masks: Folder of images with the names and sizes of the templates; only pixels brighter
            than half are used. Without such an image, the alpha channel of the template is its
            mask, if it has one.
        num_workers: Processes that read scenes ahead.
    """

    batch_type = TemplateScene

    def __init__(
        self,
        scene: str = "data/images",
        templates: str = "data/templates",
        thresholds: str | None = None,
        masks: str | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(num_workers)
        self.scene, self.templates, self.thresholds = scene, templates, thresholds
        self.masks = masks
        self.dataset: _Scenes | None = None

    def setup(self, stage: str) -> None:
        """List the scenes, and read the templates with their masks and thresholds."""
        if stage != "predict":
            raise InputError(
                f"TemplateScenes has no ground truth: expected the command predict, got {stage}"
            )
        templates, notes = read_templates(Path(self.templates))
        thresholds: Mapping[str, float] = {}
        if self.thresholds is not None:
            thresholds = read_thresholds(self.thresholds)
            if unknown := sorted(set(thresholds) - set(templates), key=natural_key):
                notes.append(
                    f"{self.thresholds}: ignored {', '.join(unknown)}: there is no template of "
                    f"that name; the templates are {', '.join(list(templates)[:5])}"
                )
        masks = read_opacities(Path(self.templates))
        if self.masks is not None:
            masks |= read_masks(Path(self.masks), templates)
        self.dataset = _Scenes(open_scenes(Path(self.scene)), templates, masks, thresholds, notes)

    def input_files(self) -> list[Path]:
        """Return the files of scenes, templates and masks."""
        folders = [Path(path) for path in (self.templates, self.masks) if path is not None]
        files = [] if self.dataset is None else list(self.dataset.sequence.files)
        return files + [path for folder in folders if folder.is_dir() for path in _images(folder)]


class _Scenes(Dataset[TemplateScene]):
    """Data set of the scenes of a sequence, each with all templates."""

    def __init__(
        self,
        sequence: FrameSequence,
        templates: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        thresholds: Mapping[str, float],
        notes: Sequence[str],
    ) -> None:
        self.sequence, self.templates, self.masks = sequence, templates, masks
        self.thresholds, self.notes = thresholds, list(notes)

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> TemplateScene:
        names, notes = list(self.templates), list(self.notes)
        try:
            image = self.sequence.read(index)
        except InputError as error:
            notes.append(f"scene left out: {error}")
            names, image = [], np.zeros((1, 1, 3), np.uint8)
        return TemplateScene(
            index=index,
            source=self.sequence.name,
            scene_name=self.sequence.frame_name(index),
            scene=as_colors(image),
            scene_image=image,
            template_names=names,
            templates=[self.templates[name] for name in names],
            masks=[self.masks.get(name) for name in names],
            thresholds=[self.thresholds.get(name) for name in names],
            pairs=[(0, i) for i in range(len(names))],
            notes=notes,
        )


class _SingleImage(FrameSequence):
    """A sequence of one image."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.parent.name or "scene"

    def __len__(self) -> int:
        return 1

    @property
    def files(self) -> Sequence[Path]:
        """The image."""
        return (self.path,)

    def frame_name(self, index: int) -> str:
        """Return the file name without suffix."""
        return self.path.stem

    def read(self, index: int) -> np.ndarray:
        """Read the image."""
        return read_image(self.path)


def open_scenes(path: Path) -> FrameSequence:
    """Open an image, a folder of images, or a video as a sequence of scenes.

    Raises:
        InputError: If the path does not exist or the folder contains no images.
    """
    if path.is_dir():
        folder = FolderSequence(path)
        if not len(folder):
            raise InputError(f"{path}: contains no images; give an image, a folder or a video")
        return folder
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSequence(path)
    if not path.is_file():
        raise InputError(f"{path}: scene not found; give an image, a folder or a video")
    return _SingleImage(path)


def read_templates(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read a template, or all templates of a folder in natural order.

    Returns:
        The templates by name, (3, h, w) each, and a note for each file that cannot be read.

    Raises:
        InputError: If no template can be read.
    """
    if path.is_dir() and not _images(path):
        raise InputError(
            f"{path}: contains no templates; give an image, or a folder of "
            f"{' '.join(IMAGE_SUFFIXES)}"
        )
    templates, errors = _read_each(path, lambda one: as_colors(read_image(one)))
    if not templates:
        raise errors[0]
    return templates, [f"template left out: {error}" for error in errors]


def read_opacities(path: Path) -> dict[str, Tensor]:
    """Read the alpha channels of templates, which are their masks, see ``io.read_opacity``.

    Returns:
        The masks by name, (h, w) bool each; templates without transparent pixels have none.
    """
    opaque, _ = _read_each(path, read_opacity)
    return {name: torch.from_numpy(mask) for name, mask in opaque.items() if mask is not None}


def _read_each(
    path: Path, read: Callable[[Path], Read]
) -> tuple[dict[str, Read], list[InputError]]:
    """Read a template or each one of a folder; return them by name, and the errors of others."""
    found: dict[str, Read] = {}
    errors: list[InputError] = []
    for one in _images(path) if path.is_dir() else [path]:
        name = one.stem if one.stem not in found else one.name
        try:
            found[name] = read(one)
        except InputError as error:
            errors.append(error)
    return found, errors


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
    for path in _images(folder):
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


def _images(folder: Path) -> list[Path]:
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
