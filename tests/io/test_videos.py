import dataclasses
import multiprocessing
import os
import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_videos import CODECS, COUNT, HEIGHT, WIDTH, numbered_frame, read_all, write_h264

from patchmatch.core.errors import InputError
from patchmatch.io import VideoSequence, write_video
from patchmatch.io.video_decoding import intact_frames, open_video


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_are_rgb_and_in_order(videos, suffix):
    frames = read_all(videos[suffix])
    assert len(frames) == COUNT
    for index, image in enumerate(frames):
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.dtype == np.uint8
        expected = numbered_frame(index)[..., ::-1].astype(int)
        assert np.abs(image[20:].astype(int) - expected[20:]).mean() < 4


@pytest.mark.parametrize("suffix", CODECS)
def test_random_access_agrees_with_sequential_reading(videos, suffix):
    frames = read_all(videos[suffix])
    video = VideoSequence(videos[suffix])
    steps = random.Random(5).choices(range(COUNT), k=30)
    pairs = [time for index in range(COUNT - 5) for time in (index, index + 5)]
    for index in [39, 0, 1, 30, 29, 31, 12, 11, 12, 13, 12, 39, *steps, *pairs]:
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.fixture
def counting(monkeypatch):
    """Count opens, decoded frames and seeks; ``wrong_by`` offsets every seek."""

    class Counts:
        opened = decoded = seeks = 0
        wrong_by = 0

    counts = Counts()

    class Container:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def seek(self, offset, **options):
            counts.seeks += 1
            self.real.seek(offset + counts.wrong_by, **options)

    def open_and_count(*arguments):
        counts.opened += 1
        container, stream = open_video(*arguments)
        return Container(container), stream

    def decode_and_count(*arguments, **options):
        for frame in intact_frames(*arguments, **options):
            counts.decoded += 1
            yield frame

    monkeypatch.setattr("patchmatch.io.videos.open_video", open_and_count)
    monkeypatch.setattr("patchmatch.io.videos.intact_frames", decode_and_count)
    return counts


def test_sequential_reading_decodes_each_frame_once_without_seeks(videos, counting):
    video = VideoSequence(videos[".mp4"])
    for index in range(COUNT):
        video.read(index)
        video.read(index)
    assert (counting.opened, counting.decoded, counting.seeks) == (1, COUNT, 0)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """Return a video of 120 frames with a keyframe at every tenth, and its frames."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_h264(path, [40 * index for index in range(120)], options={"g": "10"})
    return path, read_all(path)


def test_distant_frame_is_decoded_from_its_keyframe(long_video, counting):
    path, frames = long_video
    video = VideoSequence(path)
    for index in (95, 15, 111, 3):
        np.testing.assert_array_equal(video.read(index), frames[index])
    assert (counting.opened, counting.seeks) == (2, 3)  # opening replaces a seek to the start
    assert counting.decoded <= 4 * 10


def test_reading_pairs_with_a_gap_decodes_few_frames(long_video, counting):
    path, frames = long_video
    video = VideoSequence(path)
    for index in range(60, 70):
        for number in (index, index + 4):
            np.testing.assert_array_equal(video.read(number), frames[number])
    assert counting.decoded < 20 * 12


@pytest.mark.parametrize("wrong_by", [25 * 640, -25 * 640, 10**9])
def test_wrong_seek_is_detected(long_video, counting, wrong_by):
    path, frames = long_video
    counting.wrong_by = wrong_by
    video = VideoSequence(path)
    for index in (95, 55, 56, 33, 119, 0):
        np.testing.assert_array_equal(video.read(index), frames[index])
    assert counting.seeks > 0


def test_caller_may_modify_a_frame(videos):
    video = VideoSequence(videos[".avi"])
    first = video.read(3)
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(video.read(3), expected)


def test_frame_names_are_indices_of_at_least_six_digits(videos):
    video = VideoSequence(videos[".mp4"], "front")
    assert (video.name, VideoSequence(videos[".mp4"]).name) == ("front", "clip ü")
    assert video.frame_name(12) == "000012"
    video._index = dataclasses.replace(video._index, count=1_234_567)
    assert video.frame_name(12) == "0000012"


@pytest.mark.parametrize("index", [-1, COUNT])
def test_index_out_of_range_raises(videos, index):
    with pytest.raises(IndexError, match=f"has frames 0 to 39, got {index}"):
        VideoSequence(videos[".mp4"]).read(index)


def test_open_video_can_be_pickled(videos):
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    copy = pickle.loads(pickle.dumps(video))
    for index in (21, 19, 20):
        np.testing.assert_array_equal(copy.read(index), frames[index])
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_read_the_same_frames(videos, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} cannot {method}")
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.apply_async(video.read, (21,)).get(timeout=60)
    np.testing.assert_array_equal(result, frames[21])


def test_decoder_of_the_parent_process_is_not_used(videos, monkeypatch, counting):
    frames = read_all(videos[".mp4"])
    video = VideoSequence(videos[".mp4"])
    video.read(20)
    before = counting.opened
    monkeypatch.setattr("os.getpid", lambda: -5)
    np.testing.assert_array_equal(video.read(21), frames[21])
    assert counting.opened == before + 1


def test_closed_video_is_reopened(videos):
    video = VideoSequence(videos[".avi"])
    third = video.read(3)
    video.close()
    video.read(2)
    np.testing.assert_array_equal(video.read(3), third)


def test_missing_video_raises(videos, tmp_path):
    with pytest.raises(InputError, match=r"absent\.mp4: no such file"):
        VideoSequence(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="expected a file, got a folder"):
        VideoSequence(tmp_path)
    path = tmp_path / "copy.mp4"
    path.write_bytes(videos[".mp4"].read_bytes())
    video = VideoSequence(path)
    path.unlink()
    with pytest.raises(InputError, match=r"copy\.mp4: no such file"):
        video.read(0)


def test_file_names_like_patterns_or_protocols_are_accepted(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("img_%02d.mp4", *([] if sys.platform == "win32" else ["http:x.mp4"])):
        Path(name).write_bytes(videos[".mp4"].read_bytes())
        assert len(VideoSequence(Path(name))) == COUNT


def resident_bytes() -> int:
    if not Path("/proc/self/statm").exists():
        pytest.skip(f"{sys.platform} does not report the memory of a process")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_constant_over_a_thousand_frames(tmp_path):
    path = tmp_path / "long.mp4"
    height, width = 240, 320

    def frames():
        for index in range(1000):
            image = np.full((height, width, 3), 30, np.uint8)
            image[50:90, index % 280 : index % 280 + 40] = 200
            yield image

    assert write_video(path, frames(), 30) == 1000
    video = VideoSequence(path)
    assert len(video) == 1000
    resident = []
    for index in range(1000):
        image = video.read(index)
        assert image[70, index % 280 + 20, 0] > 150  # the requested frame
        if index % 100 == 99:
            resident.append(resident_bytes())
    assert max(resident[4:]) - resident[4] < 40 * height * width * 3
    assert video.time(999) == pytest.approx(33.3)
