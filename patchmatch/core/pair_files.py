"""Which pictures make a pair: two folders side by side, or a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io import FolderSequence, read_csv, read_image_size
from patchmatch.io.frames import safe_name, unique_name

FOLDERS, MASK_FOLDERS, TABLE = ("image_1", "image_2"), ("mask_1", "mask_2"), "pairs.csv"
COLUMNS, MASK_COLUMNS = ("image0", "image1"), ("mask0", "mask1")
CAMERA_COLUMNS = ("intrinsics0", "intrinsics1")
Intrinsics = tuple[float, float, float, float]
_OR_TABLE = f"or list the pairs in a {TABLE} with the columns {','.join(COLUMNS)}"


@dataclass(frozen=True)
class PairFiles:
    """The files of a pair.

    Attributes:
        name: Unique within the run and safe in file names.
        images: The pictures 0 and 1.
        masks: Their masks; None where all of a picture may be used.
        intrinsics: fx, fy, cx and cy of the camera of each, in pixels; None where not known.
    """

    name: str
    images: tuple[Path, Path]
    masks: tuple[Path | None, Path | None] = (None, None)
    intrinsics: tuple[Intrinsics | None, Intrinsics | None] = (None, None)


def find_pairs(base_dir: str | Path) -> tuple[list[PairFiles], list[str]]:
    """Find the pairs of a folder; where it holds a pairs.csv, that decides.

    Args:
        base_dir: It holds image_1 and image_2, whose pictures are paired in natural order, or a
            pairs.csv with the columns image0 and image1, paths from where the table lies. Masks
            are named as their pictures in mask_1 and mask_2, or in the columns mask0 and mask1.

    Returns:
        The pairs, at least one; and what the user should know of them, a sentence each.

    Raises:
        InputError: If a folder, a partner or a file is missing, or a mask is not as large as its
            picture.
    """
    folder = Path(base_dir)
    if folder.is_file():
        raise InputError(f"{folder}: this is a file; give the folder it lies in")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the spelling of --data.base_dir")
    if (folder / TABLE).is_file():
        return listed_pairs(folder / TABLE), []
    found, notes = _side_by_side(folder)
    _require_masks_fit(found)
    return found, notes


def _side_by_side(folder: Path) -> tuple[list[PairFiles], list[str]]:
    """Pair the pictures of the two folders in order."""
    places = [folder / name for name in FOLDERS]
    for place, other in zip(places, reversed(FOLDERS), strict=True):
        if not place.is_dir():
            raise InputError(
                f"{place}: no such folder; the pictures of {FOLDERS[0]} are rebuilt from those of "
                f"{FOLDERS[1]}, so make it beside {other}, {_OR_TABLE}"
            )
    sequences = [FolderSequence(place) for place in places]
    for place, sequence in zip(places, sequences, strict=True):
        if not len(sequence):
            raise InputError(f"{place}: no images in the folder; put some in, {_OR_TABLE}")
    paths0, paths1 = (sequence.paths for sequence in sequences)
    if len(paths0) != len(paths1):
        raise InputError(
            f"{folder}: {FOLDERS[0]} holds {_images(paths0)} and {FOLDERS[1]} {_images(paths1)}"
            f"{_alone(paths0, paths1)}; give each its partner, {_OR_TABLE}"
        )
    notes = [
        f"{place}: ignored {', '.join(sequence.ignored[:3])}"
        + (f" and {len(sequence.ignored) - 3} more" if len(sequence.ignored) > 3 else "")
        for place, sequence in zip(places, sequences, strict=True)
        if sequence.ignored
    ]
    pairs = list(zip(paths0, paths1, strict=True))
    names1 = {path.stem for path in paths1}
    crossed = [pair for pair in pairs if pair[0].stem != pair[1].stem and pair[0].stem in names1]
    if crossed:
        one, other = crossed[0]
        notes.append(
            f"{folder}: paired in order, not by name: {one.name} with {other.name}; "
            f"if that is wrong, list the pairs in a {TABLE}"
        )
    masks = [
        _masks(folder / name, paths)
        for name, paths in zip(MASK_FOLDERS, (paths0, paths1), strict=True)
    ]
    return [
        PairFiles(sequences[0].frame_name(i), pair, (masks[0].get(i), masks[1].get(i)))
        for i, pair in enumerate(pairs)
    ], notes


def _masks(folder: Path, images: Sequence[Path]) -> dict[int, Path]:
    """Return the masks of a folder by the place of the picture that has their name.

    Raises:
        InputError: If a mask has the name of no picture, or of several.
    """
    if not folder.is_dir():
        return {}
    masks: dict[int, Path] = {}
    for path in FolderSequence(folder).paths:
        fitting = [i for i, image in enumerate(images) if image.stem == path.stem]
        if len(fitting) != 1 or fitting[0] in masks:
            raise InputError(
                f"{path}: a mask must have the name of one picture of {images[0].parent}, but "
                f"{'none' if not fitting else 'more than one'} fits; rename or remove it"
            )
        masks[fitting[0]] = path
    return masks


def listed_pairs(table: Path) -> list[PairFiles]:
    """Return the pairs of a table with the columns image0 and image1.

    Raises:
        InputError: If it lists none or a file that is missing, a mask does not fit, or intrinsics
            are wrong, or missing where other pairs have some.
    """
    rows = read_csv(table, COLUMNS)
    if not rows:
        raise InputError(f"{table}: the table lists no pair; give it a row for each")
    taken: set[str] = set()
    found: list[PairFiles] = []
    for number, row in enumerate(rows, 1):
        paths: list[Path] = []
        for column in COLUMNS:
            if not row[column].strip():
                raise InputError(f"{table}: pair {number} has no {column}; name its file")
            paths.append(_existing(table, number, row[column].strip()))
        masks = [row.get(column, "").strip() for column in MASK_COLUMNS]
        mask0, mask1 = (_existing(table, number, mask) if mask else None for mask in masks)
        name = unique_name(safe_name(paths[0].stem), taken)
        cameras = _cameras(table, number, row)
        found.append(PairFiles(name, (paths[0], paths[1]), (mask0, mask1), cameras))
    _require_masks_fit(found)
    return found


def _cameras(
    table: Path, number: int, row: dict[str, str]
) -> tuple[Intrinsics | None, Intrinsics | None]:
    """Return the intrinsics of both pictures; a camera that has none of its own is the other."""
    if CAMERA_COLUMNS[0] not in row:
        if CAMERA_COLUMNS[1] in row:
            raise InputError(
                f"{table}: a column {CAMERA_COLUMNS[1]} needs one of {CAMERA_COLUMNS[0]} beside it"
            )
        return None, None
    texts = [row.get(column, "").strip() for column in CAMERA_COLUMNS]
    found: list[Intrinsics] = []
    for column, text in zip(CAMERA_COLUMNS, (texts[0], texts[1] or texts[0]), strict=True):
        try:
            fx, fy, cx, cy = (float(value) for value in text.split())
        except ValueError:
            fx = fy = cx = cy = math.nan
        if not (math.isfinite(fx + fy + cx + cy) and min(fx, fy) > 0):
            raise InputError(
                f"{table}: {column} of pair {number} must be fx fy cx cy in pixels, with spaces "
                f"between and the first two above 0, got {text or 'nothing'}"
            )
        found.append((fx, fy, cx, cy))
    return found[0], found[1]


def _existing(table: Path, number: int, name: str) -> Path:
    """Return the path of a file that a table names."""
    path = table.parent / name
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but pair {number} of {table} names it; paths count from where "
            "the table lies"
        )
    return path


def _require_masks_fit(pairs: Sequence[PairFiles]) -> None:
    """Raise InputError unless every mask is as large as its picture."""
    for pair in pairs:
        for image, mask in zip(pair.images, pair.masks, strict=True):
            _require_same_size(image, mask)


def _require_same_size(image: Path, mask: Path | None) -> None:
    """Raise InputError unless the mask is as large as its picture."""
    if mask is None:
        return
    mask_size = read_image_size(mask)
    try:
        size = read_image_size(image)
    except InputError:  # told when its turn comes, and the other pairs are still done
        return
    if mask_size != size:
        raise InputError(
            f"{mask}: a mask must be as large as its picture, but it is "
            f"{mask_size[1]}x{mask_size[0]} and {image} is {size[1]}x{size[0]}; draw it again"
        )


def _images(paths: Sequence[Path]) -> str:
    return f"{len(paths)} image{'s' if len(paths) > 1 else ''}"


def _alone(paths0: Sequence[Path], paths1: Sequence[Path]) -> str:
    """Say which pictures have no partner of their name; nothing where names do not tell."""
    told = []
    for folder, paths, others in ((FOLDERS[0], paths0, paths1), (FOLDERS[1], paths1, paths0)):
        names = {path.stem for path in others}
        alone = [path.name for path in paths if path.stem not in names]
        if alone and len(alone) < len(paths):
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            told.append(f"{', '.join(alone[:3])}{more} only in {folder}")
    return f" ({'; '.join(told)})" if told else ""
