"""Scenes, and the templates to find in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from patchmatch.core.data import PredictionData
from patchmatch.core.errors import InputError
from patchmatch.io import (
    VIDEO_SUFFIXES,
    FolderSequence,
    FrameSequence,
    VideoSequence,
    natural_key,
    read_image,
)
from patchmatch.templates.scenes import TemplateScene
from patchmatch.templates.template_files import (
    as_colors,
    cut_boxes,
    images_of,
    read_masks,
    read_templates,
    read_thresholds,
)


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
        boxes: csv file with the columns template, x0, y0, x1, y1 (pixels, half-open), where only
            the box of an image is the object, and what surrounds it helps to find it. An image
            with several boxes gives as many templates: NAME, NAME_2, ..; null for whole images.
        max_frames: Images of the folder, or frames of the video, to read; null reads all.
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
        boxes: str | None = None,
        max_frames: int | None = None,
    ) -> None:
        super().__init__(num_workers)
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        self.scene, self.templates, self.thresholds = scene, templates, thresholds
        self.masks, self.boxes, self.max_frames = masks, boxes, max_frames
        self.dataset: _Scenes | None = None

    def setup(self, stage: str) -> None:
        """List the scenes, and read the templates with their masks and thresholds."""
        if stage != "predict":
            raise InputError(
                f"TemplateScenes has no ground truth: expected the command predict, got {stage}"
            )
        if not Path(self.templates).exists():
            raise InputError(f"{self.templates}: no such file or folder; check --data.templates")
        templates, masks, notes = read_templates(Path(self.templates))
        if self.masks is not None:
            masks |= read_masks(Path(self.masks), templates)
        boxes: dict[str, Tensor] = {}
        if self.boxes is not None:
            templates, masks, boxes = cut_boxes(self.boxes, templates, masks)
        thresholds: Mapping[str, float] = {}
        if self.thresholds is not None:
            thresholds = read_thresholds(self.thresholds)
            if unknown := sorted(set(thresholds) - set(templates), key=natural_key):
                notes.append(
                    f"{self.thresholds}: ignored {', '.join(unknown)}: there is no template of "
                    f"that name; the templates are {', '.join(list(templates)[:5])}"
                )
        scenes = open_scenes(Path(self.scene))
        count = min(len(scenes), self.max_frames or len(scenes))
        self.dataset = _Scenes(scenes, count, templates, masks, boxes, thresholds, notes)

    def input_files(self) -> list[Path]:
        """Return the files of scenes, templates and masks."""
        folders = [Path(path) for path in (self.templates, self.masks) if path is not None]
        files = [] if self.dataset is None else list(self.dataset.sequence.files)
        files += [Path(path) for path in (self.boxes, self.thresholds) if path is not None]
        return files + [path for folder in folders if folder.is_dir() for path in images_of(folder)]


class _Scenes(Dataset[TemplateScene]):
    """Data set of the scenes of a sequence, each with all templates."""

    def __init__(
        self,
        sequence: FrameSequence,
        count: int,
        templates: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        boxes: Mapping[str, Tensor],
        thresholds: Mapping[str, float],
        notes: Sequence[str],
    ) -> None:
        self.sequence, self.count = sequence, count
        self.templates, self.masks, self.boxes = templates, masks, boxes
        self.thresholds, self.notes = thresholds, list(notes)

    def __len__(self) -> int:
        return self.count

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
            time=self.sequence.time(index),
            scene=as_colors(image),
            scene_image=image,
            template_names=names,
            templates=[self.templates[name] for name in names],
            masks=[self.masks.get(name) for name in names],
            boxes=[self.boxes.get(name) for name in names],
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
