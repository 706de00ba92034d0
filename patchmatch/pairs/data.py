"""Pairs of pictures that are to be matched: of two folders, a table, a list, or two files."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair, ImagePairs, ImagePairSet
from patchmatch.core.pair_files import FOLDERS, TABLE, PairFiles, find_pairs, listed_pairs
from patchmatch.io import FolderSequence, read_bytes
from patchmatch.io.frames import safe_name, unique_name
from patchmatch.pairs.benchmarks import is_benchmark, read_benchmark

ORDERS = ("all", "sequential")


class PicturePairs(ImagePairs):
    """Pairs of pictures, of any sizes, to be matched.

    Args:
        pairs: Two pictures as image0,image1; or a folder that holds image_1 and image_2, whose
            pictures are paired in order, or a pairs.csv; or a csv file with the columns image0 and
            image1, paths from where it lies (mask0 and mask1 may follow, and intrinsics0 and
            intrinsics1, each fx fy cx cy with spaces between); or a folder of pictures, or a txt
            file with a path in each line, which are paired among each other by ``order``; or
            HPatches, MegaDepth-1500 or ScanNet-1500 in their own layouts.
        order: How the pictures of one folder or list are paired: all with all, or sequential, each
            with the next one.
        num_workers: Processes that read pictures ahead; 0 reads in the main process.
    """

    batch_type = ImagePair

    def __init__(self, pairs: str = "data/pairs", order: str = "all", num_workers: int = 0) -> None:
        super().__init__(pairs, None, num_workers)
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order}")
        self.pairs, self.order = pairs, order

    def setup(self, stage: str) -> None:
        """Find the pairs, and refuse what could only fail later."""
        if stage != "predict":
            raise InputError(
                "PicturePairs have no ground truth: they can be predicted, not used to "
                f"{stage}; choose other data"
            )
        files, notes = find_picture_pairs(self.pairs, self.order)
        for note in notes:
            rank_zero_warn(note)
        self.dataset = ImagePairSet(files, self.pairs, None, warn_large=False)


def find_picture_pairs(pairs: str | Path, order: str = "all") -> tuple[list[PairFiles], list[str]]:
    """Find the pairs that ``pairs`` speaks of, see ``PicturePairs``.

    Returns:
        The pairs, at least one; and what the user should know of them, a sentence each.

    Raises:
        InputError: If there are none, or a file or a partner is missing.
    """
    path = Path(pairs)
    if path.is_dir():
        if (path / TABLE).is_file() or any((path / name).is_dir() for name in FOLDERS):
            return find_pairs(path)
        if is_benchmark(path):
            return _of_benchmark(path), []
        sequence = FolderSequence(path)
        return _among_each_other(sequence.paths, order, path), []
    if path.is_file():
        match path.suffix.lower():
            case ".csv":
                return listed_pairs(path), []
            case ".txt":
                return _among_each_other(_lines(path), order, path), []
        raise InputError(
            f"{path}: a pair must have two pictures; give {path},OTHER, a folder, or a csv file"
        )
    return [_two_files(str(pairs))], []


def _of_benchmark(root: Path) -> list[PairFiles]:
    """Return the pairs of HPatches, MegaDepth-1500 or ScanNet-1500."""
    taken: set[str] = set()
    found = []
    for pair in read_benchmark(root):
        image0, image1 = root / pair.image0, root / pair.image1
        name = f"{Path(pair.image0).parts[0]}-{image0.stem}-{image1.stem}"
        found.append(PairFiles(unique_name(safe_name(name), taken), (image0, image1)))
    return found


def _two_files(text: str) -> PairFiles:
    """Return the pair of ``image0,image1``, whose names may have commas of their own."""
    parts = text.split(",")
    if len(parts) < 2:
        raise InputError(
            f"{text}: no such file or folder; check the spelling of --data.pairs, or name two "
            "pictures as image0,image1"
        )
    splits = [
        (Path(",".join(parts[:i]).strip()), Path(",".join(parts[i:]).strip()))
        for i in range(1, len(parts))
    ]
    for image0, image1 in splits:
        if image0.is_file() and image1.is_file():
            return PairFiles(_name(image0, image1, set()), (image0, image1))
    missing = next((path for path in splits[0] if not path.is_file()), splits[0][1])
    raise InputError(f"{missing}: no such file, but --data.pairs names it; check the spelling")


def _among_each_other(images: Sequence[Path], order: str, place: Path) -> list[PairFiles]:
    """Pair pictures with all that follow, or with the next one."""
    if len(images) < 2:
        raise InputError(
            f"{place}: a pair must have two pictures, found {len(images)}; add some, or make the "
            f"folders {' and '.join(FOLDERS)} or a {TABLE}"
        )
    taken: set[str] = set()
    couples = itertools.combinations(images, 2) if order == "all" else itertools.pairwise(images)
    return [PairFiles(_name(*couple, taken), couple) for couple in couples]


def _lines(path: Path) -> list[Path]:
    """Return the pictures that a list names, paths from where it lies."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is no UTF-8 text; save the list as UTF-8") from error
    found = [path.parent / line.strip() for line in lines if line.strip()]
    missing = [image for image in found if not image.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such file, but {path} names it; check the spelling")
    return found


def _name(image0: Path, image1: Path, taken: set[str]) -> str:
    return unique_name(safe_name(f"{image0.stem}-{image1.stem}"), taken)
