"""Finding frame sequences: a video, a folder of images, or a tree of folders and videos."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from patchmatch.core.errors import InputError
from patchmatch.io.files import is_folder, require_file
from patchmatch.io.frames import FolderSequence, FrameSequence, list_folder, safe_name, unique_name
from patchmatch.io.images import IMAGE_SUFFIXES
from patchmatch.io.manifest import outputs_in
from patchmatch.io.stacks import STACK_SUFFIXES, ImageStack, count_pages
from patchmatch.io.videos import VIDEO_SUFFIXES, VideoSequence

_VIDEOS = f"{' '.join(VIDEO_SUFFIXES[:8])} and others"
_READABLE = f"images ({' '.join(IMAGE_SUFFIXES)}) and videos ({_VIDEOS})"
_TOO_SHORT = "expected at least two frames, got one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSequences:
    """Result of ``find_sequences``.

    Attributes:
        sequences: At least one sequence, each of at least two frames, with unique names.
        notes: A warning for each folder with files of other types, which were ignored.
        skipped: A warning for each folder, video or sequence that cannot be used.
    """

    sequences: tuple[FrameSequence, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def find_sequences(source: str | Path) -> FoundSequences:
    """Find the frame sequences of a source.

    A video file is one sequence, and so is an image file of several pages or an animation. In a
    folder, the images directly in it, the images of each folder
    below it, and each video are one sequence each, in this order. Hidden files and those
    that a run lists as its outputs are ignored. What cannot be read is skipped as long as one
    sequence remains.

    Args:
        source: A folder or a video file.

    Returns:
        The sequences, and notes on what was skipped.

    Raises:
        InputError: If the source is missing or cannot be read, or if no sequence has two frames.
    """
    source = Path(source)
    if is_folder(source):
        return _find_in_folder(source)
    require_file(source)
    suffix = source.suffix.lower()
    if count_pages(source) > 1:
        return FoundSequences(sequences=(ImageStack(source, safe_name(source.stem)),))
    if suffix in IMAGE_SUFFIXES:
        raise InputError(
            f"{source}: {_TOO_SHORT}; give the folder with all frames, for example {source.parent}"
        )
    try:
        video = VideoSequence(source, safe_name(source.stem))
    except InputError as error:
        if suffix in VIDEO_SUFFIXES:
            raise
        raise InputError(
            f"{source}: expected a folder or a video; give a folder of frames or one of {_VIDEOS}"
        ) from error
    if len(video) < 2:
        raise InputError(f"{source}: {_TOO_SHORT}; give a longer video")
    return FoundSequences(sequences=(video,))


def _find_in_folder(source: Path) -> FoundSequences:
    """Find the sequences of a folder and of all folders below it."""
    search = _Search(source)
    content: list[str] = []
    videos: list[Path] = []
    doubts: list[str] = []
    for folder, entries in search.walk(source):
        content += [entry.name for entry in entries if folder == source]
        frames = FolderSequence(folder, entries=entries)
        stacks = [path for path in frames.paths if _is_stack(path)]
        if stacks and len(stacks) == len(frames):
            for path in stacks:
                search.add("file", path, ImageStack(path))
        elif len(frames) > 0:
            search.add("folder", folder, frames)
            if frames.order_note and len(frames) > 1:
                doubts.append(frames.order_note)
            if stacks:
                names = _listing([path.name for path in stacks])
                search.notes.append(
                    f"{folder}: only the first page is read of {names}; give such a file as source"
                )
        files = [folder / name for name in frames.ignored]
        videos += [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        others = [path.name for path in files if path.suffix.lower() not in VIDEO_SUFFIXES]
        if others:
            search.notes.append(f"{folder}: ignored {_listing(others)}")
    for path in videos:
        try:
            search.add("video", path, VideoSequence(path))
        except InputError as error:
            search.skip("video", str(error))
    if doubts:
        others = len(doubts) - 1
        more = f" (and {others} more folder{'s' * (others > 1)})" if others else ""
        search.notes.append(f"{doubts[0]}; rename the files{more}")
    if search.sequences:
        return FoundSequences(
            sequences=tuple(search.sequences),
            notes=tuple(search.notes),
            skipped=tuple(f"{kind} skipped: {problem}" for kind, problem in search.problems),
        )
    if search.problems:
        more = len(search.problems) - 1
        raise InputError(search.problems[0][1] + (f" (and {more} more)" if more else ""))
    raise InputError(
        f"{source}: no frames in the folder or below it; expected {_READABLE}, got "
        f"{_listing(content) or 'an empty folder'}"
    )


class _Search:
    """Sequences found so far below a folder, and what could not be used.

    Args:
        source: The folder.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.sequences: list[FrameSequence] = []
        self.notes: list[str] = []
        self.problems: list[tuple[str, str]] = []  # folder or video; the error
        self._taken: set[str] = set()  # names of sequences

    def walk(self, source: Path) -> Iterator[tuple[Path, list[Path]]]:
        """Yield every folder with its entries, without outputs; each before those below it."""
        waiting, visited, outputs = [source], set(), set()
        while waiting:
            folder = waiting.pop()
            if (real := folder.resolve()) in visited:  # a link to a folder above it
                continue
            visited.add(real)
            try:
                entries = list_folder(folder)
            except InputError as error:
                if folder == source:
                    raise
                self.skip("folder", str(error))
                continue
            outputs.update(outputs_in(folder))
            entries = [entry for entry in entries if entry not in outputs]
            yield folder, entries
            waiting += reversed([entry for entry in entries if is_folder(entry)])

    def add(self, kind: str, path: Path, sequence: FrameSequence) -> None:
        """Add a sequence of at least two frames, named by its path below the source."""
        name = sequence.name
        if self.source not in (path, path.parent):
            name = "_".join((*path.parent.relative_to(self.source).parts, name))
        sequence.name = unique_name(safe_name(name), self._taken)
        if len(sequence) < 2:
            advice = "add frames, or give the folder with all frames"
            self.skip(kind, f"{path}: {_TOO_SHORT}; {advice}")
        else:
            self.sequences.append(sequence)

    def skip(self, kind: str, problem: str) -> None:
        """Record why a folder or a video cannot be used."""
        self.problems.append((kind, problem))


def _is_stack(path: Path) -> bool:
    """Return whether an image file has several pages or animation frames."""
    return path.suffix.lower() in STACK_SUFFIXES and count_pages(path) > 1


def _listing(names: Sequence[str]) -> str:
    """Return the first three names and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
