"""What the chunks of a run contain, when it is known which tracks have moved."""

from collections.abc import Iterator
from functools import cached_property

from patchmatch.objects.events import event_rows
from patchmatch.objects.rows import FRAME_COLUMNS, Key, key_of, track_rows
from patchmatch.writing.chunks import Row, RunChunks

MOVED, PICTURES = "moved", "pictures"  # chunk rows that belong to no table


class RunObjects:
    """The objects of a run: those that have moved, also in the frames before they did.

    Numbers of the tracks in each frame are kept in memory; all other rows are read from the chunks.

    Args:
        chunks: The chunks of the run.
        min_event: Seconds of the shortest event.
        bridge: Seconds of the longest pause inside an event.
    """

    def __init__(self, chunks: RunChunks, min_event: float, bridge: float) -> None:
        self.chunks, self._min_event, self._bridge = chunks, min_event, bridge

    @cached_property
    def moved(self) -> set[Key]:
        """Source and number of the tracks that have moved."""
        return {key_of(row) for row in self.chunks.rows(MOVED)}

    def objects(self) -> Iterator[Row]:
        """Yield the rows of objects.csv."""
        return (row for row in self.chunks.rows("objects") if key_of(row) in self.moved)

    @cached_property
    def _tracks(self) -> tuple[list[Row], dict[tuple[str, str], set[int]]]:
        """The rows of tracks.csv, and the tracks in each frame, from one pass."""
        found: dict[tuple[str, str], set[int]] = {}

        def observed() -> Iterator[Row]:
            for row in self.objects():
                frame = str(row["source"]), str(row["frame"])
                found.setdefault(frame, set()).add(key_of(row)[1])
                yield row

        return list(track_rows(observed())), found

    @property
    def tracks(self) -> list[Row]:
        """The rows of tracks.csv."""
        return self._tracks[0]

    @property
    def boxes(self) -> int:
        """Number of rows of objects.csv."""
        return sum(map(len, self._tracks[1].values()))

    @cached_property
    def events(self) -> list[Row]:
        """The rows of events.csv."""
        frames, found = self.chunks.rows("frames"), self._tracks[1]
        return list(event_rows(frames, found, self._min_event, self._bridge))

    def frames(self) -> Iterator[Row]:
        """Yield the rows of frames.csv."""
        for row in self.chunks.rows("frames"):
            tracks = self._tracks[1].get((str(row["source"]), str(row["frame"])), set())
            pixels = sum(count for track, count in row["pixels"] if track in tracks)
            row = {name: row[name] for name in FRAME_COLUMNS if name in row}
            yield row | {"objects": len(tracks), "moving_pixels": pixels}

    @cached_property
    def several(self) -> bool:
        """Whether the data set has several sequences, also if only one has frames."""
        return any(row["several"] for row in self.chunks.rows(PICTURES))
