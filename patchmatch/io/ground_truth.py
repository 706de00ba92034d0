"""Ground truth of frames: true boxes, and masks of what moves.

Frames are found by the last number in their names: ``in000612`` has the mask ``gt000612.png``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    """The masks of a folder, white where something moves; several sequences are subfolders.

    In masks of CDnet, 255 moves, 0 and 50 do not, and 85 and 170 are not evaluated.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._paths: dict[tuple[str, int | None], Path] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES and last_number(path.stem) is not None:
                for part in {path.parent.relative_to(root).as_posix(), ""}:
                    self._paths.setdefault((part, last_number(path.stem)), path)

    def read(
        self, source: str, frame: str, offset: int = 0
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Return where something moves and where that is known, (H, W); None without a mask.

        Args:
            source: Name of the sequence.
            frame: Name of the frame.
            offset: Added to the number of the frame.
        """
        number = last_number(frame)
        key = None if number is None else number + offset
        paths = self._paths
        path = paths.get((source, key)) or paths.get((".", key)) or paths.get(("", key))
        if path is None:
            return None
        image = read_image(path)
        mask = image if image.ndim == 2 else image.max(axis=2)
        has_unknown = bool(np.isin(mask, (85, 170)).any())
        moving = mask == MOVING if has_unknown else mask > STATIC_UP_TO
        return moving, moving | (mask <= STATIC_UP_TO)
