"""Ground truth of frames: true boxes, and masks of what moves.

Frames are found by the last number in their names: ``in000612`` has the mask ``gt000612.png``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchmatch.core.errors import InputError
from patchmatch.io.images import IMAGE_SUFFIXES, read_image

CORNERS = ("x0", "y0", "x1", "y1")
MOVING, STATIC_UP_TO = 255, 50  # gray levels of CDnet: 85 and 170 are not evaluated


def true_box(row: Mapping[str, str]) -> list[float]:
    """Return x0, y0, x1, y1 of a row with these columns, or with x, y, width and height."""
    if "x0" in row:
        return [float(row[name]) for name in CORNERS]
    x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
    return [x, y, x + width, y + height]


def last_number(name: str) -> int | None:
    """Return the last number in the name of a frame; None without one."""
    numbers = re.findall(r"\d+", Path(name).name)
    return int(numbers[-1]) if numbers else None


class TrueMasks:
    """The masks of a folder, white where something moves.

    Those of several sequences are in subfolders of their names, or in one folder with names that
    begin with that of the sequence.

    In masks of CDnet, 255 moves, 0 and 50 do not, and 85 and 170 are not evaluated.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._paths: dict[tuple[str, int], list[Path]] = {}
        self._sources: dict[Path, str] = {}  # that a mask was read for
        for path in sorted(root.rglob("*")):
            number = last_number(path.stem)
            if path.suffix.lower() in IMAGE_SUFFIXES and number is not None:
                folder = path.parent.relative_to(root).as_posix()
                self._paths.setdefault((folder, number), []).append(path)
        self._folders = {folder for folder, _ in self._paths}

    def read(
        self, source: str, frame: str, offset: int = 0
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Return where something moves and where that is known, (H, W); None without a mask.

        Args:
            source: Name of the sequence: a folder of masks, or the beginning of their names.
            frame: Name of the frame.
            offset: Added to the number of the frame.

        Raises:
            InputError: If several masks may belong to the frame, or one mask to several sequences.
        """
        path = self._find(source, frame, offset)
        if path is None:
            return None
        image = read_image(path)
        mask = image if image.ndim == 2 else image.max(axis=2)
        has_unknown = bool(np.isin(mask, (85, 170)).any())
        moving = mask == MOVING if has_unknown else mask > STATIC_UP_TO
        return moving, moving | (mask <= STATIC_UP_TO)

    def _find(self, source: str, frame: str, offset: int) -> Path | None:
        number = last_number(frame)
        if number is None or not self._folders:
            return None
        folder = source if source in self._folders else "."
        if folder not in self._folders and len(self._folders) == 1:
            (folder,) = self._folders
        paths = self._paths.get((folder, number + offset), [])
        if len(paths) > 1:
            named = [p for p in paths if p.stem == frame]
            named = named or [p for p in paths if p.stem.startswith((f"{source}_", f"{source}-"))]
            paths = named or paths
        if not paths:
            return None
        advice = "put the masks of each sequence into a folder of its name"
        if len(paths) > 1:
            raise InputError(
                f"{paths[0]}: has the same number as {paths[1].name}, and both may be the mask of "
                f"{frame} of {source}; {advice}"
            )
        if (other := self._sources.setdefault(paths[0], source)) != source:
            raise InputError(
                f"{paths[0]}: may be a mask of the sequence {other} and of {source}; {advice}"
            )
        return paths[0]
