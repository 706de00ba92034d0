"""Finding the frames that a path means: a folder, a folder of folders, videos, one video."""

import dataclasses
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.files import require_file
from patchmatch.io.frames import FolderSequence, FrameSequence, list_folder, safe_name, unique_name
from patchmatch.io.images import IMAGE_SUFFIXES
from patchmatch.io.videos import VIDEO_SUFFIXES, VideoSequence

_READABLE = f"images ({' '.join(IMAGE_SUFFIXES)}) and videos ({' '.join(VIDEO_SUFFIXES)})"
_TOO_SHORT = "has one frame; at least two are needed"


@dataclasses.dataclass(frozen=True)
class FoundSequences:
    """What ``find_sequences`` found.

    Attributes:
        sequences: At least one, of at least two frames each, with unique names.
        notes: A sentence for each thing that was left out, for the user to read.
    """

    sequences: tuple[FrameSequence, ...]
    notes: tuple[str, ...] = ()


def find_sequences(source: str | Path) -> FoundSequences:
    """Find the frame sequences of a source.

    A video file is one sequence. Of a folder, the images directly in it are one, each subfolder
    with images in it is one, and each video is one, in this order; hidden ones are skipped.

    Args:
        source: A folder or a video file.

    Returns:
        The sequences, and what was left out.

    Raises:
        InputError: If the source is missing, cannot be read, or no sequence has two frames.
    """
    source = Path(source)
    if source.is_dir():
        return _found_in_folder(source)
    require_file(source)
    suffix = source.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise InputError(
            f"{source}: one frame is not enough, at least two are needed; "
            f"give the folder that holds them, such as {source.parent}"
        )
    if suffix not in VIDEO_SUFFIXES:
        raise InputError(
            f"{source}: neither a folder nor a video; give a folder of frames or one of "
            f"{' '.join(VIDEO_SUFFIXES)}"
        )
    video = VideoSequence(source, safe_name(source.stem))
    if len(video) < 2:
        raise InputError(f"{source}: {_TOO_SHORT}; give a longer video")
    return FoundSequences((video,))


def _found_in_folder(source: Path) -> FoundSequences:
    """Collect the frames, the subfolders and the videos of a folder."""
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
        things = ", ".join(entry.name for entry in entries[:3]) or "nothing"
        more = f" and {len(entries) - 3} more" if len(entries) > 3 else ""
        raise InputError(
            f"{source}: no frames in the folder or directly in its subfolders; {_READABLE} are "
            f"read, but it holds {things}{more}"
        )
    sequences = tuple(sequence for _, sequence in candidates if len(sequence) > 1)
    short = [f"{path}: {_TOO_SHORT}" for path, sequence in candidates if len(sequence) < 2]
    if not sequences:
        others = f" (and {len(short) - 1} more like it)" if len(short) > 1 else ""
        raise InputError(f"{short[0]}{others}; add frames, or give the folder that holds them")
    return FoundSequences(sequences, (*notes, *(f"{note}; left out" for note in short)))


def _ignored_note(folder: Path, frames: FolderSequence, videos_too: bool) -> list[str]:
    """Say which files of a folder are no part of any sequence."""
    names = [
        name
        for name in frames.ignored
        if videos_too or Path(name).suffix.lower() not in VIDEO_SUFFIXES
    ]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{folder}: ignored {', '.join(names[:3])}{more}"]
