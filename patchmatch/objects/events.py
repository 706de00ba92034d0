"""Events: when something moved."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from patchmatch.writing.annotated_video import DEFAULT_FPS
from patchmatch.writing.chunks import Row
from patchmatch.writing.rows import number

EVENT_COLUMNS = (
    *("source", "event", "frame0", "frame1", "time0", "time1", "seconds", "frames", "tracks"),
)


@dataclass
class _Event:
    frame0: str
    time0: float
    frame1: str
    time1: float
    timed: bool  # whether the times are known
    frames: int = 0
    tracks: set[int] = field(default_factory=set)


def event_rows(
    frames: Iterable[Mapping[str, object]],
    tracks: Mapping[tuple[str, str], set[int]],
    min_seconds: float,
    bridge_seconds: float,
) -> Iterator[Row]:
    """Yield a row for each event of a run, numbered from 1 in each sequence.

    An event is the time from the first to the last frame with an object. Pauses are bridged. Where
    the times of the frames are unknown, ``DEFAULT_FPS`` is assumed, and those of the events are
    None.

    Args:
        frames: Rows of frames.csv, in order.
        tracks: Numbers of the objects in a frame, by the names of its sequence and the frame.
        min_seconds: Duration of the shortest event.
        bridge_seconds: Longest pause without an object inside an event.
    """
    for source, rows in groupby(frames, key=lambda row: str(row["source"])):
        events: list[_Event] = []
        for index, row in enumerate(rows):
            time = index / DEFAULT_FPS if row["time"] is None else float(str(row["time"]))
            if not (found := tracks.get((source, str(row["frame"])))):
                continue
            frame = str(row["frame"])
            if not events or time - events[-1].time1 > bridge_seconds:
                events.append(_Event(frame, time, frame, time, row["time"] is not None))
            event = events[-1]
            event.frame1, event.time1 = frame, time
            event.frames += 1
            event.tracks |= found
        events = [event for event in events if event.time1 - event.time0 >= min_seconds]
        for number_, event in enumerate(events, start=1):
            yield {
                "source": source,
                "event": number_,
                "frame0": event.frame0,
                "frame1": event.frame1,
                "time0": number(event.time0, 6) if event.timed else None,
                "time1": number(event.time1, 6) if event.timed else None,
                "seconds": number(event.time1 - event.time0, 6) if event.timed else None,
                "frames": event.frames,
                "tracks": len(event.tracks),
            }
