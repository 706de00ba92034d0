import gc
import tracemalloc

import av
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import VideoSequence, write_video


def gradient(index: int, height: int = 36, width: int = 52) -> np.ndarray:
    """Return a smooth RGB image that depends on the index."""
    y, x = np.mgrid[:height, :width]
    channels = [(2 * x + 9 * index) % 256, 3 * y + 20, 0 * x + (40 * index) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_round_trip(tmp_path):
    images = [gradient(index) for index in range(7)]
    assert write_video(tmp_path / "höhe.mp4", images, fps=24, quality=4) == 7
    video = VideoSequence(tmp_path / "höhe.mp4")
    assert len(video) == 7
    for index, image in enumerate(images):
        assert video.time(index) == pytest.approx(index / 24, abs=1e-4)
        # chroma is stored for blocks of 2x2 pixels, so some pixels differ
        assert np.abs(video.read(index).astype(int) - image).mean() < 2


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (130, 60, 200)])
def test_colours_are_kept(tmp_path, colour):
    image = np.full((48, 64, 3), colour, np.uint8)
    write_video(tmp_path / "a.mp4", [image] * 2)
    found = VideoSequence(tmp_path / "a.mp4").read(1)
    assert np.abs(found.astype(int) - image).max() <= 3


def test_odd_size_is_padded_by_repeating_the_edge(tmp_path):
    image = np.zeros((33, 47), np.uint8)
    image[:, -1], image[-1] = 200, 120
    write_video(tmp_path / "a.mp4", iter([image]), quality=0)
    found = VideoSequence(tmp_path / "a.mp4").read(0)
    assert found.shape == (34, 48, 3)
    np.testing.assert_allclose(found[:32, 46:], 200, atol=3)
    np.testing.assert_allclose(found[32:, :40], 120, atol=3)
    np.testing.assert_allclose(found[:30, :40], 0, atol=3)


def test_video_is_playable_in_browsers(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, (gradient(index) for index in range(5)), fps=29.97)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
        assert float(stream.average_rate or 0) == pytest.approx(29.97, abs=0.01)
        assert (container.duration or 0) / 1e6 == pytest.approx(5 / 29.97, abs=0.01)


def test_frames_have_the_given_times(tmp_path):
    times = [3, 3.1, 3.5, 3.51, 8]
    write_video(tmp_path / "a.mp4", [gradient(i) for i in range(5)], fps=10, times=times)
    video = VideoSequence(tmp_path / "a.mp4")
    found = [video.time(index) for index in range(5)]
    np.testing.assert_allclose(found, [0, 0.1, 0.5, 0.51, 5], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": []}, "at least one frame, got none for a.mp4"),
        ({"fps": 0}, r"fps must be in \(0, 1000\], got 0"),
        ({"quality": 52}, r"quality must be in \[0, 51\], got 52"),
        ({"times": [0, 0]}, "times must increase"),
        ({"times": [0]}, "got fewer times than frames"),
        ({"frames": [gradient(0), gradient(1, 20)]}, "52x36 pixels .* got 52x20 for frame 1"),
    ],
)
def test_invalid_video_raises_and_nothing_is_written(tmp_path, options, message):
    options = {"frames": [gradient(0), gradient(1)]} | options
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", **options)
    assert list(tmp_path.iterdir()) == []


def test_other_suffix_raises(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.mp4, got a\.avi"):
        write_video(tmp_path / "a.avi", [gradient(0)])


def test_error_while_writing_keeps_the_old_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def frames():
        yield gradient(0)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_video(path, frames())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_is_not_writable_raises(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"a\.mp4: cannot be written: \S*out is a file"):
        write_video(tmp_path / "out" / "a.mp4", [gradient(0)])


def test_frames_are_not_kept_in_memory(tmp_path):
    size = gradient(0, 120, 160).nbytes
    tracemalloc.start()
    try:
        write_video(tmp_path / "a.mp4", (gradient(i, 120, 160) for i in range(300)))
        gc.collect()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * size
