"""Which frames a video file holds and when each is shown, whatever the file says about itself."""

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
from patchmatch.io.containers import is_cut_off
from patchmatch.io.video_decoding import good_frames, open_video

_SAMPLE = 16  # frames that are decoded to see whether the container's time stamps can be trusted
_SLACK = 0.5  # seconds by which a container may overstate its length


@dataclasses.dataclass(frozen=True)
class VideoIndex:
    """The frames of a video in the order of display.

    Attributes:
        count: Number of frames N.
        times: (N,) float64, seconds from the first frame; None where they are not known.
        stamps: (N,) int64, strictly increasing, by which a decoded frame is recognised; None
            where the container has no time stamps worth the name and frames must be counted.
        keys: (K,) int64, the frames from which decoding can start, increasing.
        note: A sentence about what is missing at the end; empty where nothing is.
        strict: Whether a decoder is to refuse what is faulty: not where the encoder itself was
            sloppy, which shows from the first frames on.
    """

    count: int
    times: np.ndarray | None
    stamps: np.ndarray | None
    keys: np.ndarray
    note: str = ""
    strict: bool = True


@dataclasses.dataclass
class _Packets:
    """The packets of the video stream, in the order of the file."""

    rows: list[tuple[int | None, int | None, bool]]  #: pts, dts, whether a keyframe
    last: int | None  #: dts of the last one, also where that one is incomplete and left out
    end: float  #: seconds at which the last packet of any stream ends
    broken: bool  #: whether the file could not be read to its end


def index_video(path: Path) -> VideoIndex:
    """Find the frames of a video by reading its packets, and decode them only where it must be.

    Args:
        path: The video.

    Returns:
        The index, of at least one frame.

    Raises:
        InputError: If the file cannot be read or has no readable frame.
    """
    container, stream = open_video(path)
    with container:
        packets = _read_packets(container, stream)
        start = (container.start_time or 0) / 1e6
        stated = (container.duration or 0) / 1e6
        cut = packets.broken or is_cut_off(path) or packets.end + _SLACK < start + stated
        index = _from_packets(packets, stream.time_base or Fraction(0), cut)
    strict = _first_stamps(path, True)
    mended = strict if len(strict) == _SAMPLE else _first_stamps(path, False)
    is_strict = len(mended) == len(strict) or len(mended) < min(_SAMPLE, len(packets.rows))
    if index is None or not _is_confirmed(index, strict if is_strict else mended):
        index = _from_frames(path, packets.rows, is_strict)
    index = dataclasses.replace(index, strict=is_strict)
    if index.count == 0:
        raise InputError(f"{path}: the video holds no readable frame; copy it again or convert it")
    note = ""
    if cut:
        note = (
            f"{path}: the video is cut off or damaged: {index.count} frames could be read; "
            "copy it again if there should be more"
        )
    return dataclasses.replace(index, note=note)


def _read_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    """Read a container to its end, without decoding."""
    rows, end, broken, last_is_whole = [], 0.0, False, True
    try:
        for packet in container.demux():
            if not packet.size:  # the mark at the end of each stream
                continue
            stamp = packet.dts if packet.pts is None else packet.pts
            picture = packet.stream.disposition & Disposition.attached_pic
            if stamp is not None and not picture:
                ends = float((stamp + (packet.duration or 0)) * packet.time_base)
                end = max(end, ends)
            if packet.stream.index == stream.index:
                last_is_whole = not packet.is_corrupt
                if not _is_hidden(packet):
                    rows.append((packet.pts, packet.dts, packet.is_keyframe))
    except (FFmpegError, OSError):
        broken = True
    last = rows[-1][1] if rows else None
    if rows and not last_is_whole:
        rows.pop()
        broken = True
    return _Packets(rows, last, end, broken)


def _is_hidden(packet: Packet) -> bool:
    """Tell whether a packet is there for others to build on and never shown itself."""
    if packet.is_discard:  # an edit list leaves it out
        return True
    # RFC 6386, section 9.1: the fifth bit of a VP8 frame is show_frame.
    return packet.stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10


def _from_packets(packets: _Packets, tick: Fraction, cut: bool) -> VideoIndex | None:
    """Make the index from time stamps, or return None where they are missing or not unique."""
    stamps = [pts for pts, _, _ in packets.rows if pts is not None]
    if not stamps or len(set(stamps)) < len(packets.rows):
        return None
    if cut and packets.last is not None:
        # What is missing comes later in the file, so it is shown after the dts of what is there.
        # Frames beyond that may lack a neighbour: without them, pairs stay consecutive.
        stamps = [stamp for stamp in stamps if stamp <= packets.last] or [min(stamps)]
    shown = np.array(sorted(stamps), np.int64)
    keys = np.array([pts for pts, _, is_key in packets.rows if is_key], np.int64)
    keys = np.flatnonzero(np.isin(shown, keys))
    return VideoIndex(len(shown), _seconds(shown, tick), shown, keys)


def _first_stamps(path: Path, strict: bool) -> list[int | None]:
    """Decode the first frames and return their time stamps, None for those that tell none."""
    container, stream = open_video(path, strict)
    with container:
        frames = itertools.islice(good_frames(container, stream), _SAMPLE)
        stamps = [frame.pts for frame in frames]
        # AVI has no time stamps of display: FFmpeg makes them up, wrongly where frames come in
        # another order than they are stored.
        made_up = container.format.name == "avi" and stream.codec_context.has_b_frames
    return [None] * len(stamps) if made_up else stamps


def _is_confirmed(index: VideoIndex, found: list[int | None]) -> bool:
    """Tell whether the first frames have the time stamps of the index, in order.

    Frames that are damaged may be missing among them: they stay in the index, so that no pair
    reaches over them.
    """
    assert index.stamps is not None
    known = set(index.stamps.tolist())
    last = int(index.stamps[-1])  # frames after it are left out where the file is cut off
    found = [stamp for stamp in found if stamp is None or stamp <= last]
    return found != [] and found == sorted(known.intersection(found))


def _from_frames(
    path: Path, rows: list[tuple[int | None, int | None, bool]], strict: bool
) -> VideoIndex:
    """Make the index by decoding the whole video."""
    container, stream = open_video(path, strict)
    with container:
        tick = stream.time_base or Fraction(0)
        found = [(frame.pts, frame.key_frame) for frame in good_frames(container, stream)]
    stamps = [pts for pts, _ in found if pts is not None]
    if len(stamps) == len(found) and all(a < b for a, b in itertools.pairwise(stamps)):
        shown = np.array(stamps, np.int64)
        keys = np.flatnonzero([is_key for _, is_key in found])
        return VideoIndex(len(shown), _seconds(shown, tick), shown, keys)
    # A decoder gives one frame a packet after a constant delay, so the k-th frame is shown as long
    # after the first one as the k-th packet is decoded after the first.
    decoded = sorted(dts for _, dts, _ in rows if dts is not None)
    times = None
    if len(decoded) == len(found):
        times = _seconds(np.array(decoded, np.int64), tick)
    return VideoIndex(len(found), times, None, np.zeros(0, np.int64))


def _seconds(stamps: np.ndarray, tick: Fraction) -> np.ndarray:
    """Return the time of each stamp after the first one; 3 of 1/25 s are 0.12 to the last bit."""
    return (stamps - stamps[:1]) * tick.numerator / tick.denominator
