import contextlib
import random
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import VideoSequence
from patchmatch.io.containers import is_truncated

COUNT, HEIGHT, WIDTH = 60, 96, 160
KEYFRAME_INTERVAL = 20


def paint(index: int) -> np.ndarray:
    image = np.random.default_rng(index).integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:20, 2 * index : 2 * index + 20] = 250
    return image


def encode(path: Path, options: dict[str, str] | None = None, **codec: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"g": str(KEYFRAME_INTERVAL), "sc_threshold": "0", **codec}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(paint(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("complete")
    avi = folder / "a.avi"
    writer = cv2.VideoWriter(str(avi), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for index in range(COUNT):
        writer.write(paint(index))
    writer.release()
    return {
        "mp4": encode(folder / "a.mp4"),
        "faststart mp4": encode(folder / "fast.mp4", {"movflags": "+faststart"}),
        "no B-frames": encode(folder / "plain.mp4", {"movflags": "+faststart"}, bf="0"),
        "fragmented mp4": encode(folder / "f.mp4", {"movflags": "+frag_keyframe+empty_moov"}),
        "mkv": encode(folder / "a.mkv"),
        "avi": avi,
    }


def read_all(path: Path) -> dict[int, np.ndarray]:
    """Return the readable frames by index."""
    video, frames = VideoSequence(path), {}
    for index in range(len(video)):
        with contextlib.suppress(InputError):
            frames[index] = video.read(index)
    return frames


def truncate(path: Path, folder: Path, share: float) -> Path:
    data = path.read_bytes()
    short = folder / f"kurz é{path.suffix}"
    short.write_bytes(data[: int(share * len(data))])
    return short


@pytest.mark.parametrize("share", [0.3, 0.62, 0.9])
@pytest.mark.parametrize("kind", ["faststart mp4", "no B-frames", "fragmented mp4", "mkv", "avi"])
def test_truncated_video_has_the_frames_before_the_cut_and_a_note(videos, tmp_path, kind, share):
    expected, path = read_all(videos[kind]), truncate(videos[kind], tmp_path, share)
    video = VideoSequence(path)
    assert share * COUNT - 8 < len(video) < share * COUNT + 8
    (note,) = video.notes
    assert note.startswith(f"{path}: the video is truncated or damaged: {len(video)} frames")
    frames = read_all(path)
    assert list(frames) == list(range(len(video)))
    for index, image in frames.items():
        np.testing.assert_array_equal(image, expected[index])
        assert video.time(index) == pytest.approx(index / 25, abs=1e-3)


@pytest.mark.parametrize("kind", ["mp4", "faststart mp4", "fragmented mp4", "mkv", "avi"])
def test_complete_video_has_no_notes(videos, kind):
    assert VideoSequence(videos[kind]).notes == ()
    assert len(read_all(videos[kind])) == COUNT


def test_truncation_after_the_last_frame_loses_few_frames(videos, tmp_path):
    data = videos["mkv"].read_bytes()
    path = tmp_path / "a.mkv"
    path.write_bytes(data[:-20])  # the index of keyframes is at the end
    assert len(VideoSequence(path)) >= COUNT - 3
    assert VideoSequence(path).notes


def damage(path: Path, folder: Path, frame: int) -> Path:
    """Overwrite the middle of the packet of a frame."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = next(p for p in packets if round(float(p.pts * p.time_base) * 25) == frame)
        start = data.index(bytes(packet)) + 40
        length = packet.size - 80
    data[start : start + length] = random.Random(4).randbytes(length)
    broken = folder / f"broken{path.suffix}"
    broken.write_bytes(data)
    return broken


@pytest.mark.parametrize("frame", [0, 2, 20, 27, 33])
def test_frames_from_damage_to_the_next_keyframe_are_skipped(videos, tmp_path, frame):
    expected = read_all(videos["no B-frames"])
    path = damage(videos["no B-frames"], tmp_path, frame)
    frames = read_all(path)
    resumes = KEYFRAME_INTERVAL * (frame // KEYFRAME_INTERVAL + 1)
    assert set(range(frame)) | set(range(resumes, COUNT)) <= set(frames)
    assert set(frames).isdisjoint(range(frame + 1, resumes))
    assert len(VideoSequence(path)) == COUNT
    for index in set(frames) - {frame}:
        np.testing.assert_array_equal(frames[index], expected[index])


def test_damage_message_is_the_same_for_all_frames(videos, tmp_path):
    path = damage(videos["no B-frames"], tmp_path, 27)
    frames, video = read_all(path), VideoSequence(path)
    messages = set()
    for index in random.Random(2).choices(range(COUNT), k=100):
        try:
            np.testing.assert_array_equal(video.read(index), frames[index])
        except InputError as error:
            assert index not in frames
            messages.add(str(error))
    assert messages == {
        f"{path}: the video is damaged and some frames cannot be decoded; copy it again, or "
        "convert it with ffmpeg"
    }


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_video_without_its_start_raises(videos, tmp_path, kind):
    path = tmp_path / f"tail{videos[kind].suffix}"
    path.write_bytes(videos[kind].read_bytes()[-2000:])
    with pytest.raises(InputError, match=r"tail\.m.*: cannot be read as a video: it is damaged"):
        VideoSequence(path)


def test_mp4_without_its_index_raises(videos, tmp_path):
    path = truncate(videos["mp4"], tmp_path, 0.5)
    with pytest.raises(InputError, match=r"kurz é\.mp4: cannot be read as a video.*truncated"):
        VideoSequence(path)


def test_video_without_a_readable_frame_raises(videos, tmp_path):
    data = bytearray(videos["no B-frames"].read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"zeros\.mp4: no frame can be decoded"):
        VideoSequence(path)


def test_file_with_audio_only_raises(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"song\.mp4: expected a video stream, got audio"):
        VideoSequence(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty"),
        (b"a text, not a video\n", r"cannot be read as a video.*convert it with ffmpeg"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", r"cannot be read as a video"),
        (b"ffconcat version 1.0\nfile /dev/zero\n", r"cannot be read as a video"),
    ],
)
def test_file_that_is_not_a_video_raises_in_one_line(tmp_path, capfd, content, message):
    path = tmp_path / "no video %02d.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        VideoSequence(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"RIFF\x06\x00\x00\x00AVI ab", False),
        (b"RIFF\x07\x00\x00\x00AVI ab", True),
        (b"RIFF\x00\x00\x00\x00AVI ab", False),  # not finished: no length stated
        (b"RIFF\xff\xff\xff\xffAVI ab", False),
        (b"\x00\x00\x00\x10ftypisom0000\x00\x00\x00\x0cmdat1234", False),
        (b"\x00\x00\x00\x10ftypisom0000\x00\x00\x00\x0cmdat123", True),
        (b"\x00\x00\x00\x10ftypisom0000\x00\x00\x00\x00mdat123", False),  # to the end of the file
        (b"\x00\x00\x00\x10ftypisom0000\x00\x00\x00\x01mdat" + bytes(7) + b"\x18abcdefgh", False),
        (b"\x00\x00\x00\x10ftypisom0000\x00\x00\x00\x01mdat" + bytes(7) + b"\x19abcdefgh", True),
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x83abc", False),
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x40\x04abc", True),
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x01" + 7 * b"\xff" + b"abc", False),
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53", False),
        (b"", False),
        (b"GIF89a and so on", False),
    ],
)
def test_file_shorter_than_its_header_states_is_truncated(tmp_path, data, expected):
    path = tmp_path / "a"
    path.write_bytes(data)
    assert is_truncated(path) is expected
