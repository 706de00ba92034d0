"""Finding frame sequences: a video, a folder of images, or a folder of folders and videos."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.files import require_file
from patchmatch.io.frames import FolderSequence, FrameSequence, list_folder, safe_name, unique_name
from patchmatch.io.images import IMAGE_SUFFIXES
from patchmatch.io.videos import VIDEO_SUFFIXES, VideoSequence

_READABLE = f"images ({' '.join(IMAGE_SUFFIXES)}) and videos ({' '.join(VIDEO_SUFFIXES)})"
_TOO_SHORT = "expected at least two frames, got one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSequences:
    """Result of ``find_sequences``.

    Attributes:
        sequences: At least one sequence, each of at least two frames, with unique names.
        notes: A warning for each file or sequence that was skipped.
    """

    sequences: tuple[FrameSequence, ...]
    notes: tuple[str, ...] = ()


def find_sequences(source: str | Path) -> FoundSequences:
    """Find the frame sequences of a source.

    A video file is one sequence. In a folder, the images directly in it, each subfolder with
    images, and each video are one sequence each, in this order. Hidden files are ignored.

    Args:
        source: A folder or a video file.

    Returns:
        The sequences, and notes on what was skipped.

    Raises:
        InputError: If the source is missing or cannot be read, or if no sequence has two frames.
    """
    source = Path(source)
    if source.is_dir():
        return _find_in_folder(source)
    require_file(source)
    suffix = source.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise InputError(
            f"{source}: {_TOO_SHORT}; give the folder with all frames, for example {source.parent}"
        )
    if suffix not in VIDEO_SUFFIXES:
        raise InputError(
            f"{source}: expected a folder or a video; give a folder of frames or one of "
            f"{' '.join(VIDEO_SUFFIXES)}"
        )
    video = VideoSequence(source, safe_name(source.stem))
    if len(video) < 2:
        raise InputError(f"{source}: {_TOO_SHORT}; give a longer video")
    return FoundSequences(sequences=(video,))


def _find_in_folder(source: Path) -> FoundSequences:
    """Find the sequences of a folder."""
    entries = list_folder(source)
    taken: set[str] = set()
    notes: list[str] = []
    candidates: list[tuple[Path, FrameSequence]] = []
    for folder in (source, *(entry for entry in entries if entry.is_dir())):
        frames = FolderSequence(folder)
        if len(frames) > 0:
            frames.name = unique_name(safe_name(frames.name), taken)
            candidates.append((folder, frames))
        notes.extend(_ignored_note(folder, frames, videos_too=folder != source))
    for path in entries:
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir():
            name = unique_name(safe_name(path.stem), taken)
            candidates.append((path, VideoSequence(path, name)))
    if not candidates:
        raise InputError(
            f"{source}: no frames in the folder or directly in its subfolders; expected "
            f"{_READABLE}, got {_listing([entry.name for entry in entries]) or 'an empty folder'}"
        )
    sequences = tuple(sequence for _, sequence in candidates if len(sequence) > 1)
    short = [f"{path}: {_TOO_SHORT}" for path, sequence in candidates if len(sequence) < 2]
    if not sequences:
        others = f" (and {len(short) - 1} more)" if len(short) > 1 else ""
        raise InputError(f"{short[0]}{others}; add frames, or give the folder with all frames")
    skipped = (f"{note}; skipped" for note in short)
    return FoundSequences(sequences=sequences, notes=(*notes, *skipped))


def _ignored_note(folder: Path, frames: FolderSequence, videos_too: bool) -> list[str]:
    """Return a note on the files of a folder that belong to no sequence, or none."""
    names = [
        name
        for name in frames.ignored
        if videos_too or Path(name).suffix.lower() not in VIDEO_SUFFIXES
    ]
    return [f"{folder}: ignored {_listing(names)}"] if names else []


def _listing(names: Sequence[str]) -> str:
    """Return the first three names and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
