import random
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from synthetic_videos import CODECS, COUNT, numbered_frame, read_all, write_h264

from patchmatch.io import VideoSequence


@pytest.mark.parametrize(
    "options",
    [
        {"g": "10", "x264-params": "open-gop=1:scenecut=0"},
        {"x264-params": "intra-refresh=1:keyint=10"},
        {"g": "10", "bf": "0"},
        {"g": "1"},
    ],
)
def test_random_access_with_any_type_of_keyframe(tmp_path, options):
    path = tmp_path / "a.mkv"
    write_h264(path, [40 * index for index in range(60)], options=options)
    frames, video = read_all(path), VideoSequence(path)
    for index in random.Random(3).choices(range(60), k=60):
        np.testing.assert_array_equal(video.read(index), frames[index])


def test_avi_with_b_frames_is_in_display_order(tmp_path):
    path = tmp_path / "b-frames.avi"
    write_h264(path, list(range(COUNT)), rate=25, tick=Fraction(1, 25), options={"bf": "3"})
    frames, video = read_all(path), VideoSequence(path)
    assert len(video) == COUNT
    for index, image in enumerate(frames):
        assert abs(int(image[30, 70, 0]) - int(numbered_frame(index)[30, 70, 2])) < 4
    assert [video.time(index) for index in (0, 1, 39)] == pytest.approx([0, 0.04, 39 * 0.04])
    for index in (39, 7, 8, 0, 22):
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.mark.parametrize("suffix", CODECS)
def test_times_of_constant_frame_rate_are_multiples_of_the_frame_time(videos, suffix):
    video = VideoSequence(videos[suffix])
    times = [video.time(index) for index in range(COUNT)]
    np.testing.assert_allclose(times, np.arange(COUNT) / 25, atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_of_variable_frame_rate_are_the_time_stamps(tmp_path, suffix):
    # the first frame is not at 0, one lasts two seconds, the last two are 10 ms apart
    stamps = [500, 533, 567, 2567, 2600, 2800, 2810]
    path = tmp_path / f"phone{suffix}"
    write_h264(path, stamps)
    video = VideoSequence(path)
    times = [video.time(index) for index in range(len(video))]
    np.testing.assert_allclose(times, [0, 0.033, 0.067, 2.067, 2.1, 2.3, 2.31], atol=1e-4)
    for index in (6, 3, 0):
        assert abs(int(video.read(index)[30, 70, 0]) - int(numbered_frame(index)[30, 70, 2])) < 4
    with pytest.raises(IndexError, match="got 7"):
        video.time(7)


@pytest.mark.parametrize("first", [1, 5, 13])
def test_frames_excluded_by_an_edit_list_are_not_counted(tmp_path, first):
    complete = tmp_path / "complete.mp4"
    write_h264(complete, [40 * index for index in range(COUNT)], options={"g": "20"})
    path = tmp_path / "trimmed.mp4"
    with (
        av.open(str(complete)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts -= 640 * first  # ticks of 1/16000 s
                packet.dts -= 640 * first
                packet.stream = stream
                target.mux(packet)
    assert b"elst" in path.read_bytes()
    frames, video = read_all(complete), VideoSequence(path)
    assert len(video) == COUNT - first
    assert video.time(0) == 0
    assert video.time(1) == pytest.approx(0.04)
    for index in (0, 1, COUNT - first - 1, 12, 3):
        np.testing.assert_array_equal(video.read(index), frames[first + index])


def test_hidden_vp8_frame_is_not_counted(videos, tmp_path):
    path = tmp_path / "hidden.webm"
    with av.open(str(videos[".webm"])) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                data = bytearray(bytes(packet))
                data[0] &= 0xFF if number != 6 else ~0x10  # the bit show_frame
                copy = av.Packet(bytes(data))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                target.mux(copy)
    frames, video = read_all(videos[".webm"]), VideoSequence(path)
    assert len(video) == COUNT - 1
    assert [video.time(index) for index in (5, 6)] == pytest.approx([0.2, 0.28])
    np.testing.assert_array_equal(video.read(6), frames[7])


@pytest.mark.parametrize(
    ("matrix", "transform"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # a quarter turn clockwise
        ((0, -1, 1, 0), lambda image: np.rot90(image)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), np.fliplr),  # front camera
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_applied(videos, tmp_path, matrix, transform):
    data = bytearray(videos[".mp4"].read_bytes())
    offset = data.index(b"tkhd") + 4 + 40  # of the matrix in version 0 of the box
    a, b, c, d = (part << 16 for part in matrix)  # in 16.16 fixed point
    struct.pack_into(">iiiiiiiii", data, offset, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "phone.mp4"
    path.write_bytes(data)
    image = VideoSequence(path).read(4)
    np.testing.assert_array_equal(image, transform(read_all(videos[".mp4"])[4]))
    assert image.flags.c_contiguous
