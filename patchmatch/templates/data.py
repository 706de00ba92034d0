"""Scenes, and the templates to find in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

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
)
from patchmatch.templates.scenes import TemplateScene


class TemplateScenes(PredictionData):
    """Scenes, and templates to find in each of them.

    Args:
        scene: A picture, a folder of pictures, or a video.
        templates: A picture of an object, or a folder of them. A template that cannot be read is
            named and left out.
        thresholds: csv file with the columns template, a name without suffix, and threshold, the
            least score of its detections; null takes the matcher's for all.
        masks: Folder of pictures with the names and sizes of the templates, black where a template
            does not count; null for none.
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
        """Find the scenes and read the templates."""
        if stage != "predict":
            raise InputError(
                f"TemplateScenes have no ground truth: they can be predicted, not used to {stage}"
            )
        templates, notes = read_templates(Path(self.templates))
        least: Mapping[str, float] = {}
        if self.thresholds is not None:
            least = read_thresholds(self.thresholds)
            if unknown := sorted(set(least) - set(templates), key=natural_key):
                notes.append(
                    f"{self.thresholds}: ignored {', '.join(unknown)}, of which there is no "
                    f"template; there are {', '.join(list(templates)[:5])}"
                )
        masks = {} if self.masks is None else read_masks(Path(self.masks), templates)
        self.dataset = _Scenes(find_scenes(Path(self.scene)), templates, masks, least, notes)


class _Scenes(Dataset[TemplateScene]):
    """The scenes of a sequence, each with all templates."""

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
            picture = self.sequence.read(index)
        except InputError as error:
            notes.append(f"scene left out: {error}")
            names, picture = [], np.zeros((1, 1, 3), np.uint8)
        return TemplateScene(
            index=index,
            source=self.sequence.name,
            scene_name=self.sequence.frame_name(index),
            several=False,
            scene=as_colors(picture),
            picture=picture,
            template_names=names,
            templates=[self.templates[name] for name in names],
            masks=[self.masks.get(name) for name in names],
            thresholds=[self.thresholds.get(name) for name in names],
            pairs=[(0, i) for i in range(len(names))],
            notes=notes,
        )


class _OnePicture(FrameSequence):
    """A sequence of one picture."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.parent.name or "scene"

    def __len__(self) -> int:
        return 1

    def frame_name(self, index: int) -> str:
        """Return the name of the file without suffix."""
        return self.path.stem

    def read(self, index: int) -> np.ndarray:
        """Read the picture."""
        return read_image(self.path)


def find_scenes(path: Path) -> FrameSequence:
    """Return the scenes of a picture, a folder of pictures, or a video.

    Raises:
        InputError: If there are none.
    """
    if path.is_dir():
        folder = FolderSequence(path)
        if not len(folder):
            raise InputError(f"{path}: holds no pictures; give a picture, a folder or a video")
        return folder
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSequence(path)
    if not path.is_file():
        raise InputError(f"{path}: no such scene; give a picture, a folder or a video")
    return _OnePicture(path)


def read_templates(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read a template, or all of a folder in natural order.

    Returns:
        The templates by name, (3, h, w) each, and a line for each that could not be read.

    Raises:
        InputError: If there is none.
    """
    paths = [path]
    if path.is_dir():
        known = (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        visible = (p for p in known if not p.name.startswith("."))
        paths = sorted(visible, key=lambda p: natural_key(p.name))
        if not paths:
            raise InputError(
                f"{path}: holds no templates; give a picture, or a folder of "
                f"{' '.join(IMAGE_SUFFIXES)}"
            )
    templates: dict[str, Tensor] = {}
    notes: list[str] = []
    for one in paths:
        name = one.stem if one.stem not in templates else one.name
        try:
            templates[name] = as_colors(read_image(one))
        except InputError as error:
            notes.append(f"template left out: {error}")
    if not templates:
        raise InputError(notes[0].removeprefix("template left out: "))
    return templates, notes


def read_masks(folder: Path, templates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read where templates count, from pictures of their names and sizes.

    Raises:
        InputError: If a mask belongs to no template, or is of another size.
    """
    masks: dict[str, Tensor] = {}
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of masks")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem not in templates:
            raise InputError(f"{path}: there is no template of that name; rename it or take it out")
        mask = as_colors(read_image(path)).amax(dim=0) > 0
        height, width = templates[path.stem].shape[-2:]
        if mask.shape != (height, width):
            raise InputError(
                f"{path}: must have the size of its template, {width}x{height}, got "
                f"{mask.shape[1]}x{mask.shape[0]}"
            )
        masks[path.stem] = mask
    return masks


def read_thresholds(path: str) -> dict[str, float]:
    """Read the least score of templates by name.

    Raises:
        InputError: If the file cannot be read, or a threshold does not lie between 0 and 1.
    """
    least: dict[str, float] = {}
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
        least[row["template"]] = value
    return least


def as_colors(picture: np.ndarray) -> Tensor:
    """Return what ``read_image`` gave as (3, H, W) float32 RGB in [0, 1]."""
    scale = {"uint8": 255, "uint16": 65535}.get(picture.dtype.name, 1)
    values = torch.from_numpy(picture.astype(np.float32) / scale)
    colors = values.expand(3, -1, -1) if values.ndim == 2 else values.permute(2, 0, 1)
    return colors.contiguous()
