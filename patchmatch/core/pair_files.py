"""Finding image pairs: two folders side by side, or a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io import FolderSequence, read_csv, read_image_size, read_orientation
from patchmatch.io.frames import safe_name, unique_name
from patchmatch.io.manifest import outputs_in

FOLDERS, MASK_FOLDERS, TABLE = ("image_1", "image_2"), ("mask_1", "mask_2"), "pairs.csv"
COLUMNS, MASK_COLUMNS = ("image0", "image1"), ("mask0", "mask1")
CAMERA_COLUMNS = ("intrinsics0", "intrinsics1")
Intrinsics = tuple[float, float, float, float]  #: fx, fy, cx, cy in pixels
_OR_TABLE = f"or list the pairs in a {TABLE} with the columns {','.join(COLUMNS)}"


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """The files of a pair.

    Attributes:
        name: Unique within the run and safe in file names.
        images: Image 0 and image 1.
        masks: Their masks; None where all pixels are valid.
        intrinsics: fx, fy, cx and cy of their cameras, in pixels; None where not known.
    """

    name: str
    images: tuple[Path, Path]
    masks: tuple[Path | None, Path | None] = (None, None)
    intrinsics: tuple[Intrinsics | None, Intrinsics | None] = (None, None)


def find_pairs(base_dir: str | Path) -> tuple[list[PairFiles], list[str]]:
    """Find the pairs of a folder; a pairs.csv takes precedence over the subfolders.

    Args:
        base_dir: Folder with image_1 and image_2, whose images are paired in natural order, or
            with a pairs.csv with the columns image0 and image1, paths relative to the table. Masks
            have the names of their images in mask_1 and mask_2, or are in the columns mask0 and
            mask1.

    Returns:
        The pairs, at least one, and a line for each warning.

    Raises:
        InputError: If a folder or a file is missing, the folders differ in the number of images,
            or a mask differs in size from its image.
    """
    folder = Path(base_dir)
    if folder.is_file():
        raise InputError(f"{folder}: this is a file; give the folder that contains it")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the spelling of --data.base_dir")
    if has_table(folder):
        return pairs_of_table(folder / TABLE), []
    found, notes = _pairs_of_folders(folder)
    _require_masks_fit(found)
    return found, notes


def has_table(folder: Path) -> bool:
    """Return whether a folder contains a table of pairs that is not the output of a run."""
    table = folder / TABLE
    return table.is_file() and table not in outputs_in(folder)


def pair_folders(
    folder: Path, names: tuple[str, str], or_table: str
) -> tuple[tuple[FolderSequence, FolderSequence], list[str]]:
    """Pair the images of two subfolders in natural order.

    Args:
        folder: Folder that contains both.
        names: Names of the subfolders.
        or_table: What to do instead, as the end of a message.

    Returns:
        The images of both, of one number, at least one, and a line for each warning.

    Raises:
        InputError: If a folder is missing or empty, or they differ in the number of images.
    """
    folders = [folder / name for name in names]
    for path, other in zip(folders, reversed(names), strict=True):
        if not path.is_dir():
            raise InputError(
                f"{path}: no such folder; each image of {names[0]} is paired with one of "
                f"{names[1]}, so create it beside {other}, {or_table}"
            )
    sequences = FolderSequence(folders[0]), FolderSequence(folders[1])
    for path, sequence in zip(folders, sequences, strict=True):
        if not len(sequence):
            raise InputError(f"{path}: no images in the folder; add images, {or_table}")
    paths0, paths1 = (sequence.paths for sequence in sequences)
    if len(paths0) != len(paths1):
        raise InputError(
            f"{folder}: {names[0]} holds {_count(paths0)} and {names[1]} {_count(paths1)}"
            f"{_unpaired(names, paths0, paths1)}; add the missing images, {or_table}"
        )
    notes = [
        f"{path}: ignored {_list_some(sequence.ignored)}"
        for path, sequence in zip(folders, sequences, strict=True)
        if sequence.ignored
    ]
    names1 = {path.stem for path in paths1}
    for path0, path1 in zip(paths0, paths1, strict=True):
        if path0.stem != path1.stem and path0.stem in names1:
            notes.append(
                f"{folder}: paired in order, not by name: {path0.name} with {path1.name}; "
                f"if that is wrong, list the pairs in a {TABLE}"
            )
            break
    return sequences, notes


def _pairs_of_folders(folder: Path) -> tuple[list[PairFiles], list[str]]:
    """Pair the images of both subfolders in natural order."""
    sequences, notes = pair_folders(folder, FOLDERS, _OR_TABLE)
    paths0, paths1 = (sequence.paths for sequence in sequences)
    masks0, masks1 = (
        _masks(folder / name, paths)
        for name, paths in zip(MASK_FOLDERS, (paths0, paths1), strict=True)
    )
    return [
        PairFiles(
            name=sequences[0].frame_name(i), images=pair, masks=(masks0.get(i), masks1.get(i))
        )
        for i, pair in enumerate(zip(paths0, paths1, strict=True))
    ], notes


def _masks(folder: Path, images: Sequence[Path]) -> dict[int, Path]:
    """Return the masks of a folder by the index of the image of the same name.

    Raises:
        InputError: If a mask does not have the name of exactly one image.
    """
    if not folder.is_dir():
        return {}
    masks: dict[int, Path] = {}
    for path in FolderSequence(folder).paths:
        indices = [i for i, image in enumerate(images) if image.stem == path.stem]
        if len(indices) != 1 or indices[0] in masks:
            raise InputError(
                f"{path}: a mask must have the name of one image of {images[0].parent}, but "
                f"{'none' if not indices else 'more than one'} matches; rename or remove it"
            )
        masks[indices[0]] = path
    return masks


def pairs_of_table(table: Path) -> list[PairFiles]:
    """Return the pairs of a table with the columns image0 and image1.

    Raises:
        InputError: If the table is empty, a file is missing, a mask differs in size from its
            image, or intrinsics are wrong or missing in some of the rows.
    """
    rows = table_rows(table, COLUMNS)
    taken: set[str] = set()
    found: list[PairFiles] = []
    for number, row in enumerate(rows, 1):
        images = [table_file(table, number, row, column) for column in COLUMNS]
        mask0, mask1 = (
            table_file(table, number, row, column) if row.get(column, "").strip() else None
            for column in MASK_COLUMNS
        )
        found.append(
            PairFiles(
                name=unique_name(safe_name(images[0].stem), taken),
                images=(images[0], images[1]),
                masks=(mask0, mask1),
                intrinsics=_intrinsics(table, number, row),
            )
        )
    _require_masks_fit(found)
    return found


def _intrinsics(
    table: Path, number: int, row: dict[str, str]
) -> tuple[Intrinsics | None, Intrinsics | None]:
    """Return the intrinsics of both images; without its own, image 1 has those of image 0."""
    if CAMERA_COLUMNS[0] not in row:
        if CAMERA_COLUMNS[1] in row:
            raise InputError(
                f"{table}: has a column {CAMERA_COLUMNS[1]} but no {CAMERA_COLUMNS[0]}; add it"
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
                f"{table}: {column} of pair {number} must be fx fy cx cy in pixels, separated by "
                f"spaces, with fx and fy above 0, got {text or 'nothing'}"
            )
        found.append((fx, fy, cx, cy))
    return found[0], found[1]


def table_rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table of pairs, at least one."""
    rows = read_csv(table, columns)
    if not rows:
        raise InputError(f"{table}: the table is empty; add a row for each pair")
    return rows


def table_file(table: Path, number: int, row: dict[str, str], column: str) -> Path:
    """Return the path of a file that a row of a table names.

    Raises:
        InputError: If the column is empty, or there is no such file.
    """
    name = row[column].strip()
    if not name:
        raise InputError(f"{table}: pair {number} has no {column}; add the name of a file")
    path = table.parent / name
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but pair {number} of {table} names it; paths are relative to "
            "the table"
        )
    return path


def two_files(text: str) -> tuple[Path, Path]:
    """Return the two files of ``FILE,FILE``; their names may contain commas.

    Raises:
        InputError: If it is one name or a file is missing.
    """
    parts = text.split(",")
    if len(parts) < 2:
        raise InputError(
            f"{text}: no such file or folder; check the spelling of --data.pairs, or give two "
            "images as FILE,FILE"
        )
    splits = [
        (Path(",".join(parts[:i]).strip()), Path(",".join(parts[i:]).strip()))
        for i in range(1, len(parts))
    ]
    for files in splits:
        if all(file.is_file() for file in files):
            return files
    missing = next(file for file in splits[0] if not file.is_file())
    raise InputError(f"{missing}: no such file, but --data.pairs names it; check the spelling")


def _require_masks_fit(pairs: Sequence[PairFiles]) -> None:
    """Raise InputError unless each mask has the size of its image."""
    for pair in pairs:
        for image, mask in zip(pair.images, pair.masks, strict=True):
            if mask is not None:
                _require_same_size(image, mask)


def _require_same_size(image: Path, mask: Path) -> None:
    mask_size = read_image_size(mask)
    try:
        size = read_image_size(image)
    except InputError:  # reported when the pair is read; the other pairs are still processed
        return
    if mask_size != size:
        is_turned = mask_size == size[::-1] and read_orientation(image) != 1
        remedy = "turn the mask upright, as the image is by its EXIF orientation"
        raise InputError(
            f"{mask}: a mask must have the size of its image, but it has "
            f"{mask_size[1]}x{mask_size[0]} pixels and {image} has {size[1]}x{size[0]}; "
            f"{remedy if is_turned else 'resize the mask'}"
        )


def _count(paths: Sequence[Path]) -> str:
    return f"{len(paths)} image{'s' if len(paths) > 1 else ''}"


def _list_some(names: Sequence[str]) -> str:
    """Return the first three of a list of names, and how many follow."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unpaired(names: tuple[str, str], paths0: Sequence[Path], paths1: Sequence[Path]) -> str:
    """Return which images lack a partner of the same name; nothing if no names agree."""
    texts = []
    for folder, paths, others in ((names[0], paths0, paths1), (names[1], paths1, paths0)):
        stems = {path.stem for path in others}
        alone = [path.name for path in paths if path.stem not in stems]
        if alone and len(alone) < len(paths):
            texts.append(f"{_list_some(alone)} only in {folder}")
    return f" ({'; '.join(texts)})" if texts else ""
