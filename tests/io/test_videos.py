import multiprocessing
import pickle
import random
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.errors import InputError
from patchmatch.io import VideoSequence
from patchmatch.io.videos import _INHERITED

COUNT, HEIGHT, WIDTH = 40, 48, 80
CODECS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".m4v": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
    ".mpg": "PIM1",
    ".mpeg": "MPG2",
}


def paint(index: int) -> np.ndarray:
    """Return a frame whose colour and bar tell its index, as BGR."""
    image = np.full((HEIGHT, WIDTH, 3), (20, 60, 40 + 5 * index), np.uint8)
    image[:10, index : index + 20] = 250
    return image


def write_video(path: Path, count: int = COUNT) -> Path:
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), codec, 25, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(count):
        writer.write(paint(index))
    writer.release()
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("Vidéos mit Lücke")
    return {suffix: write_video(folder / f"clip ü{suffix}") for suffix in CODECS}


def read_all(path: Path) -> list[np.ndarray]:
    video = VideoSequence(path)
    return [video.read(index) for index in range(len(video))]


def read_frames(video: VideoSequence, indices: list[int]) -> list[np.ndarray]:
    return [video.read(index) for index in indices]


@pytest.mark.parametrize("suffix", CODECS)
def test_all_frames_come_in_order_as_rgb(videos, suffix):
    frames = read_all(videos[suffix])
    assert len(frames) == COUNT
    for index, image in enumerate(frames):
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.dtype == np.uint8
        expected = paint(index)[..., ::-1].astype(int)
        assert np.abs(image[20:].astype(int) - expected[20:]).mean() < 4


@pytest.mark.parametrize("suffix", CODECS)
def test_a_frame_is_the_same_however_it_is_reached(videos, suffix):
    frames = read_all(videos[suffix])
    video = VideoSequence(videos[suffix])
    steps = random.Random(5).choices(range(COUNT), k=30)
    for index in [39, 0, 1, 30, 29, 31, 12, 11, 12, 13, 12, 39, *steps]:
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.mark.parametrize("suffix", CODECS)
def test_pairs_with_a_gap_are_exact(videos, suffix):
    frames = read_all(videos[suffix])
    video = VideoSequence(videos[suffix])
    for index in range(COUNT - 5):
        np.testing.assert_array_equal(video.read(index), frames[index])
        np.testing.assert_array_equal(video.read(index + 5), frames[index + 5])


class Counting:
    """A capture that counts what is asked of it, and can lie about its seeks and its length.

    It holds a capture and does not inherit from it: Python subclasses of OpenCV's classes corrupt
    the memory when they are collected.
    """

    opened = grabbed = seeks = wrong_by = 0
    stated: float | None = None
    stopped_clock = False
    open_real = cv2.VideoCapture

    def __init__(self, *args):
        type(self).opened += 1
        self.real = Counting.open_real(*args)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def grab(self):
        type(self).grabbed += 1
        return self.real.grab()

    def set(self, prop, value):
        type(self).seeks += 1
        return self.real.set(prop, value + self.wrong_by)

    def get(self, prop):
        if prop == cv2.CAP_PROP_FRAME_COUNT and self.stated is not None:
            return self.stated
        if prop == cv2.CAP_PROP_POS_MSEC and self.stopped_clock:
            return 0.0
        return self.real.get(prop)


@pytest.fixture
def counting(monkeypatch):
    class Fresh(Counting):
        """Counts from zero."""

    monkeypatch.setattr(cv2, "VideoCapture", Fresh)
    return Fresh


def test_reading_in_order_decodes_each_frame_once_and_never_seeks(videos, counting):
    video = VideoSequence(videos[".mp4"])
    for index in range(COUNT):
        video.read(index)
        video.read(index)
    # One more of each for looking at the first frame at the start.
    assert (counting.opened, counting.grabbed, counting.seeks) == (2, COUNT + 1, 0)


def test_a_step_back_seeks_and_does_not_start_again(videos, counting):
    video = VideoSequence(videos[".mp4"])
    read_frames(video, [30, 25, 30, 25])
    assert (counting.opened, counting.seeks) == (2, 2)


def test_a_seek_that_lands_elsewhere_is_noticed(videos, counting):
    frames = read_all(videos[".mp4"])
    counting.wrong_by = 2
    video = VideoSequence(videos[".mp4"])
    for index in (30, 25, 26, 7):
        np.testing.assert_array_equal(video.read(index), frames[index])
    assert counting.seeks == 2


def test_without_time_stamps_a_step_back_decodes_from_the_start(videos, counting):
    frames = read_all(videos[".mp4"])
    counting.wrong_by, counting.stopped_clock = 2, True
    video = VideoSequence(videos[".mp4"])
    for index in (30, 25, 26, 7):
        np.testing.assert_array_equal(video.read(index), frames[index])
    assert counting.seeks == 0


@pytest.mark.parametrize("stated", [0.0, -1.0, -9.2e18, 9.2e18, float("nan"), float("inf")])
def test_frames_are_counted_where_the_file_states_no_credible_length(videos, counting, stated):
    counting.stated = stated
    assert len(VideoSequence(videos[".mp4"])) == COUNT


def test_the_caller_may_write_on_a_frame(videos):
    video = VideoSequence(videos[".avi"])
    first = video.read(3)
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(video.read(3), expected)


def test_frame_names_are_indices_of_six_digits(videos):
    video = VideoSequence(videos[".mp4"], "front")
    assert (video.name, VideoSequence(videos[".mp4"]).name) == ("front", "clip ü")
    assert video.frame_name(12) == "000012"
    video._length = 1_234_567
    assert video.frame_name(12) == "0000012"


@pytest.mark.parametrize("index", [-1, COUNT])
def test_an_index_beyond_the_frames_is_refused(videos, index):
    with pytest.raises(IndexError, match=f"has frames 0 to 39, got {index}"):
        VideoSequence(videos[".mp4"]).read(index)


def test_a_video_survives_pickling_in_the_middle_of_reading(videos):
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    copy = pickle.loads(pickle.dumps(video))
    for index in (21, 19, 20):
        np.testing.assert_array_equal(copy.read(index), frames[index])
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_read_what_this_one_reads(videos, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} cannot {method}")
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.apply_async(video.read, (21,)).get(timeout=60)
    np.testing.assert_array_equal(result, frames[21])


def test_an_inherited_capture_is_neither_used_nor_closed(videos, monkeypatch):
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    inherited = video._capture
    monkeypatch.setattr("os.getpid", lambda: -5)
    np.testing.assert_array_equal(video.read(21), frames[21])
    assert inherited is not None
    assert inherited.isOpened()
    assert any(kept is inherited for kept in _INHERITED)


def test_a_closed_video_opens_itself_again(videos):
    video = VideoSequence(videos[".avi"])
    third = video.read(3)
    video.close()
    video.read(2)
    np.testing.assert_array_equal(video.read(3), third)


def test_a_truncated_video_says_how_many_frames_could_be_read(videos, tmp_path):
    path = tmp_path / "kurz é.avi"
    data = videos[".avi"].read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = VideoSequence(path)
    whole = read_all(videos[".avi"])
    for _ in range(2):
        np.testing.assert_array_equal(video.read(5), whole[5])
        message = r"kurz é\.avi frame 39: only 1\d of 40 frames could be read; the video is cut off"
        with pytest.raises(InputError, match=message):
            video.read(39)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_video_without_its_table_of_frames_is_refused(videos, tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    data = videos[suffix].read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=f"half{suffix}: cannot be read as a video"):
        VideoSequence(path)


@pytest.mark.parametrize("content", [b"", b"a text, not a video\n"])
def test_a_file_that_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "no video %02d.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as a video.*convert it with ffmpeg"):
        VideoSequence(path)


def test_a_missing_video_is_refused_at_the_start_and_later(videos, tmp_path):
    with pytest.raises(InputError, match=r"absent\.mp4: no such file"):
        VideoSequence(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="this is a folder"):
        VideoSequence(tmp_path)
    path = tmp_path / "copy.mp4"
    path.write_bytes(videos[".mp4"].read_bytes())
    video = VideoSequence(path)
    path.unlink()
    with pytest.raises(InputError, match=r"copy\.mp4: no such file"):
        video.read(0)


def test_names_that_look_like_patterns_or_protocols_are_only_names(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("img_%02d.mp4", *([] if sys.platform == "win32" else ["http:x.mp4"])):
        Path(name).write_bytes(videos[".mp4"].read_bytes())
        assert len(VideoSequence(Path(name))) == COUNT


def test_a_rotated_video_comes_upright(videos, tmp_path):
    data = bytearray(videos[".mp4"].read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # in version 0 of the box
    a, b, c, d = 0, 1 << 16, -1 << 16, 0  # a quarter turn clockwise, in 16.16 fixed point
    struct.pack_into(">iiiiiiiii", data, matrix, a, b, 0, c, d, 0, HEIGHT << 16, 0, 1 << 30)
    path = tmp_path / "phone.mp4"
    path.write_bytes(data)
    upright = VideoSequence(path).read(4)
    np.testing.assert_array_equal(upright, np.rot90(read_all(videos[".mp4"])[4], -1))
