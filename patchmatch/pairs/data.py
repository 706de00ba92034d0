"""Data module of the image pairs to match: two files, folders, a table, a list or a benchmark."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair, ImagePairs
from patchmatch.core.pair_files import (
    FOLDERS,
    TABLE,
    PairFiles,
    find_pairs,
    has_table,
    pairs_of_table,
    two_files,
)
from patchmatch.io import FolderSequence, read_bytes
from patchmatch.io.frames import safe_name, unique_name
from patchmatch.pairs.benchmarks import is_benchmark, read_benchmark

ORDERS = ("all", "sequential")


class PicturePairs(ImagePairs):
    """Image pairs to match, of any sizes.

    Args:
        pairs: Two files as FILE,FILE; or a folder with the subfolders image_1 and image_2,
            whose images are paired in natural order, or with a pairs.csv; or a csv file with the
            columns image0 and image1, paths relative to the file (and optionally mask0, mask1,
            intrinsics0 and intrinsics1, the latter as "fx fy cx cy"); or a txt file with a pair
            per line, image0 image1, as hloc writes it, paths relative to the file; or a folder of
            images, or a txt file with one path per line, which are paired by ``order``; or
            a benchmark in its original layout: HPatches, Oxford Affine, MegaDepth-1500,
            ScanNet-1500, or a list of SuperGlue (pairs_with_gt.txt).
        order: How to pair the images of one folder or list: all (each with all others) or
            sequential (each with the next one).
        num_workers: Worker processes of the data loader; 0 reads in the main process.
    """

    batch_type = ImagePair
    warn_large = False

    def __init__(self, pairs: str = "data/pairs", order: str = "all", num_workers: int = 0) -> None:
        super().__init__(pairs, None, num_workers)
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order}")
        self.pairs, self.order = pairs, order

    def find_pairs(self) -> tuple[list[PairFiles], list[str]]:
        """Return the files of the pairs, and a line for each warning about them."""
        return find_image_pairs(self.base_dir, self.order)


def find_image_pairs(pairs: str | Path, order: str = "all") -> tuple[list[PairFiles], list[str]]:
    """Find the pairs of any of the sources of ``PicturePairs``.

    Returns:
        The pairs, at least one, and a line for each warning.

    Raises:
        InputError: If there are none, or a file is missing.
    """
    path = Path(pairs)
    if path.is_dir():
        if has_table(path) or any((path / name).is_dir() for name in FOLDERS):
            return find_pairs(path)
        if is_benchmark(path):
            return _pairs_of_benchmark(path), []
        return _pairs_of_images(FolderSequence(path).paths, order, path), []
    if path.is_file():
        match path.suffix.lower():
            case ".csv" | ".tsv":
                return pairs_of_table(path), []
            case ".txt":
                return _pairs_of_list(path, order), []
        raise InputError(
            f"{path}: a pair must have two images; give {path},OTHER, a folder, or a csv file"
        )
    images = two_files(str(pairs))
    return [PairFiles(name=_pair_name(*images, set()), images=images)], []


def _pairs_of_benchmark(root: Path) -> list[PairFiles]:
    """Return the pairs of a benchmark."""
    taken: set[str] = set()
    found = []
    for pair in read_benchmark(root):
        image0, image1 = root / pair.image0, root / pair.image1
        scene = f"{Path(pair.image0).parts[0]}-" if "/" in pair.image0 else ""
        name = f"{scene}{image0.stem}-{image1.stem}"
        name = unique_name(safe_name(name), taken)
        found.append(PairFiles(name=name, images=(image0, image1)))
    return found


def _pairs_of_images(images: Sequence[Path], order: str, source: Path) -> list[PairFiles]:
    """Pair each image with all that follow, or with the next one."""
    if len(images) < 2:
        raise InputError(
            f"{source}: a pair must have two images, got {len(images)}; add images, or create the "
            f"folders {' and '.join(FOLDERS)} or a {TABLE}"
        )
    taken: set[str] = set()
    pairs = itertools.combinations(images, 2) if order == "all" else itertools.pairwise(images)
    return [PairFiles(name=_pair_name(*pair, taken), images=pair) for pair in pairs]


def _pairs_of_list(path: Path, order: str) -> list[PairFiles]:
    """Return the pairs of a list: of its lines, or by ``order`` if each line names one image."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; save the list as UTF-8") from error
    lines = [line.strip() for line in lines]
    entries = [_images_of_line(path, line) for line in lines if line]
    pairs = [(entry[0], entry[1]) for entry in entries if len(entry) == 2]
    if not pairs:
        return _pairs_of_images([entry[0] for entry in entries], order, path)
    if len(pairs) < len(entries):
        image = next(entry[0] for entry in entries if len(entry) == 1)
        raise InputError(
            f"{path}: each line must name one image or each line two, but only some lines name "
            f"two; complete or remove the line of {image.name}"
        )
    taken: set[str] = set()
    return [PairFiles(name=_pair_name(*pair, taken), images=pair) for pair in pairs]


def _images_of_line(path: Path, line: str) -> tuple[Path, ...]:
    """Return the one or two images that a line of a list names; names may contain blanks."""
    if _is_file(path.parent / line):
        return (path.parent / line,)
    splits = [
        (path.parent / line[: gap.start()], path.parent / line[gap.end() :])
        for gap in re.finditer(r"\s*[\s,;]\s*", line)
    ]
    for images in splits:
        if all(map(_is_file, images)):
            return images
    # the image that is missing beside one that exists
    missing = [b if _is_file(a) else a for a, b in splits if _is_file(a) or _is_file(b)]
    raise InputError(
        f"{missing[0] if missing else path.parent / line}: no such file, but {path} names it; "
        "paths are relative to the list"
    )


def _is_file(path: Path) -> bool:
    """Return whether a file exists; a line of another text may be too long for a name."""
    try:
        return path.is_file()
    except OSError:
        return False


def _pair_name(image0: Path, image1: Path, taken: set[str]) -> str:
    return unique_name(safe_name(f"{image0.stem}-{image1.stem}"), taken)
