"""Index of the frames of a video and their times, from its packets rather than its header."""

import dataclasses
import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from patchmatch.core.errors import InputError
from patchmatch.io.containers import is_truncated
from patchmatch.io.video_decoding import intact_frames, open_video

_SAMPLE = 16  # frames decoded to verify the time stamps of the container
_DURATION_TOLERANCE = 0.5  # seconds by which a container may overstate its duration


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoIndex:
    """The frames of a video in display order.

    Attributes:
        count: Number of frames N.
        times: (N,) float64, seconds after the first frame; None if unknown.
        stamps: (N,) int64, strictly increasing time stamps that identify decoded frames; None if
            the container has no usable time stamps and frames must be counted.
        keys: (K,) int64, increasing indices of the keyframes.
        note: Warning about frames missing at the end; empty if none are missing.
        strict: Whether the decoder should raise errors for damaged frames. False if even the first
            frames have errors, because then the encoder produced them.
    """

    count: int
    times: np.ndarray | None
    stamps: np.ndarray | None
    keys: np.ndarray
    note: str = ""
    strict: bool = True


@dataclasses.dataclass(kw_only=True)
class _Packets:
    """The packets of the video stream, in file order."""

    rows: list[tuple[int | None, int | None, bool]]  #: pts, dts, whether a keyframe
    last: int | None  #: dts of the last packet, even if it is incomplete and not in ``rows``
    end: float  #: end of the last packet of any stream in seconds
    broken: bool  #: whether reading stopped before the end of the file


def index_video(path: Path) -> VideoIndex:
    """Index the frames of a video from its packets; decode them only if the packets do not suffice.

    Args:
        path: The video.

    Returns:
        The index, with at least one frame.

    Raises:
        InputError: If the file cannot be read or no frame can be decoded.
    """
    container, stream = open_video(path)
    with container:
        packets = _read_packets(container, stream)
        start = (container.start_time or 0) / 1e6
        stated = (container.duration or 0) / 1e6
        ends_early = packets.end + _DURATION_TOLERANCE < start + stated
        truncated = packets.broken or is_truncated(path) or ends_early
        index = _from_packets(packets, stream.time_base or Fraction(0), truncated)
    strict = _first_stamps(path, True)
    lenient = strict if len(strict) == _SAMPLE else _first_stamps(path, False)
    is_strict = len(lenient) == len(strict) or len(lenient) < min(_SAMPLE, len(packets.rows))
    if index is None or not _is_confirmed(index, strict if is_strict else lenient):
        index = _from_frames(path, packets.rows, is_strict)
    index = dataclasses.replace(index, strict=is_strict)
    if index.count == 0:
        raise InputError(f"{path}: no frame can be decoded; copy it again or convert it")
    note = ""
    if truncated:
        note = (
            f"{path}: the video is truncated or damaged: {index.count} frames can be read; copy it "
            "again if there should be more"
        )
    return dataclasses.replace(index, note=note)


def _read_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    """Read all packets of a container without decoding."""
    rows, end, broken, last_is_complete = [], 0.0, False, True
    try:
        for packet in container.demux():
            if not packet.size:  # end of a stream
                continue
            stamp = packet.dts if packet.pts is None else packet.pts
            is_cover = packet.stream.disposition & Disposition.attached_pic
            if stamp is not None and not is_cover:
                end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index == stream.index:
                last_is_complete = not packet.is_corrupt
                if not _is_hidden(packet):
                    rows.append((packet.pts, packet.dts, packet.is_keyframe))
    except (FFmpegError, OSError):
        broken = True
    last = rows[-1][1] if rows else None
    if rows and not last_is_complete:
        rows.pop()
        broken = True
    return _Packets(rows=rows, last=last, end=end, broken=broken)


def _is_hidden(packet: Packet) -> bool:
    """Return whether the frame of a packet is a reference for others and never displayed."""
    if packet.is_discard:  # excluded by an edit list
        return True
    # RFC 6386, section 9.1: the fifth bit of a VP8 frame is show_frame.
    return packet.stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10


def _from_packets(packets: _Packets, tick: Fraction, truncated: bool) -> VideoIndex | None:
    """Build the index from time stamps; return None if they are missing or not unique."""
    stamps = [pts for pts, _, _ in packets.rows if pts is not None]
    if not stamps or len(set(stamps)) < len(packets.rows):
        return None
    if truncated and packets.last is not None:
        # Missing packets have later dts, so their frames are displayed after the last dts present.
        # Frames after it may lack a neighbour; without them, all frames are consecutive.
        stamps = [stamp for stamp in stamps if stamp <= packets.last] or [min(stamps)]
    displayed = np.array(sorted(stamps), np.int64)
    keys = np.array([pts for pts, _, is_key in packets.rows if is_key], np.int64)
    keys = np.flatnonzero(np.isin(displayed, keys))
    return VideoIndex(
        count=len(displayed), times=_seconds(displayed, tick), stamps=displayed, keys=keys
    )


def _first_stamps(path: Path, strict: bool) -> list[int | None]:
    """Decode the first frames and return their time stamps, None where missing."""
    container, stream = open_video(path, strict)
    with container:
        frames = itertools.islice(intact_frames(container, stream), _SAMPLE)
        stamps = [frame.pts for frame in frames]
        # AVI has no presentation time stamps. FFmpeg generates them, wrongly if the frames are
        # displayed in another order than they are stored.
        unreliable = container.format.name == "avi" and stream.codec_context.has_b_frames
    return [None] * len(stamps) if unreliable else stamps


def _is_confirmed(index: VideoIndex, found: list[int | None]) -> bool:
    """Return whether the decoded time stamps of the first frames are those of the index.

    Damaged frames may be missing from ``found``. They stay in the index, so that frames on both
    sides of them are not treated as consecutive.
    """
    assert index.stamps is not None
    known = set(index.stamps.tolist())
    last = int(index.stamps[-1])  # a truncated file may have frames after it
    found = [stamp for stamp in found if stamp is None or stamp <= last]
    return found != [] and found == sorted(known.intersection(found))


def _from_frames(
    path: Path, rows: list[tuple[int | None, int | None, bool]], strict: bool
) -> VideoIndex:
    """Build the index by decoding the whole video."""
    container, stream = open_video(path, strict)
    with container:
        tick = stream.time_base or Fraction(0)
        found = [(frame.pts, frame.key_frame) for frame in intact_frames(container, stream)]
    stamps = [pts for pts, _ in found if pts is not None]
    if len(stamps) == len(found) and all(a < b for a, b in itertools.pairwise(stamps)):
        displayed = np.array(stamps, np.int64)
        keys = np.flatnonzero([is_key for _, is_key in found])
        return VideoIndex(
            count=len(displayed), times=_seconds(displayed, tick), stamps=displayed, keys=keys
        )
    # A decoder outputs one frame per packet after a constant delay, so the display times of the
    # frames have the same differences as the decoding times of the packets.
    decoded = sorted(dts for _, dts, _ in rows if dts is not None)
    times = None
    if len(decoded) == len(found):
        times = _seconds(np.array(decoded, np.int64), tick)
    keys = np.zeros(0, np.int64)
    return VideoIndex(count=len(found), times=times, stamps=None, keys=keys)


def _seconds(stamps: np.ndarray, tick: Fraction) -> np.ndarray:
    """Return the seconds of each stamp after the first; exact: 3 ticks of 1/25 s are 0.12."""
    return (stamps - stamps[:1]) * tick.numerator / tick.denominator
