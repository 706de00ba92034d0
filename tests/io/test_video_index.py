import random
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from made_videos import CODECS, COUNT, encode, paint, read_all

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
def test_kinds_of_keyframes_make_no_difference(tmp_path, options):
    path = tmp_path / "a.mkv"
    encode(path, [40 * index for index in range(60)], options=options)
    frames, video = read_all(path), VideoSequence(path)
    for index in random.Random(3).choices(range(60), k=60):
        np.testing.assert_array_equal(video.read(index), frames[index])


def test_an_avi_whose_frames_are_stored_in_another_order_comes_in_order(tmp_path):
    path = tmp_path / "b-frames.avi"
    encode(path, list(range(COUNT)), rate=25, tick=Fraction(1, 25), options={"bf": "3"})
    frames, video = read_all(path), VideoSequence(path)
    assert len(video) == COUNT
    for index, image in enumerate(frames):
        assert abs(int(image[30, 70, 0]) - int(paint(index)[30, 70, 2])) < 4
    assert [video.time(index) for index in (0, 1, 39)] == pytest.approx([0, 0.04, 39 * 0.04])
    for index in (39, 7, 8, 0, 22):
        np.testing.assert_array_equal(video.read(index), frames[index])


@pytest.mark.parametrize("suffix", CODECS)
def test_the_times_of_a_steady_video_are_multiples_of_its_frame_time(videos, suffix):
    video = VideoSequence(videos[suffix])
    times = [video.time(index) for index in range(COUNT)]
    np.testing.assert_allclose(times, np.arange(COUNT) / 25, atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_times_of_an_unsteady_video_are_its_own(tmp_path, suffix):
    # the first frame is not at zero, one stands for two seconds, the last two are 10 ms apart
    stamps = [500, 533, 567, 2567, 2600, 2800, 2810]
    path = tmp_path / f"phone{suffix}"
    encode(path, stamps)
    video = VideoSequence(path)
    times = [video.time(index) for index in range(len(video))]
    np.testing.assert_allclose(times, [0, 0.033, 0.067, 2.067, 2.1, 2.3, 2.31], atol=1e-4)
    for index in (6, 3, 0):
        assert abs(int(video.read(index)[30, 70, 0]) - int(paint(index)[30, 70, 2])) < 4
    with pytest.raises(IndexError, match="got 7"):
        video.time(7)


@pytest.mark.parametrize("first", [1, 5, 13])
def test_what_an_edit_list_leaves_out_is_no_frame(tmp_path, first):
    whole = tmp_path / "whole.mp4"
    encode(whole, [40 * index for index in range(COUNT)], options={"g": "20"})
    path = tmp_path / "trimmed.mp4"
    with (
        av.open(str(whole)) as source,
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
    frames, video = read_all(whole), VideoSequence(path)
    assert len(video) == COUNT - first
    assert video.time(0) == 0
    assert video.time(1) == pytest.approx(0.04)
    for index in (0, 1, COUNT - first - 1, 12, 3):
        np.testing.assert_array_equal(video.read(index), frames[first + index])


def test_a_packet_of_vp8_that_is_never_shown_is_no_frame(videos, tmp_path):
    path = tmp_path / "hidden.webm"
    with av.open(str(videos[".webm"])) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                data = bytearray(bytes(packet))
                data[0] &= 0xFF if number != 6 else ~0x10  # its bit show_frame
                copy = av.Packet(bytes(data))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                target.mux(copy)
    frames, video = read_all(videos[".webm"]), VideoSequence(path)
    assert len(video) == COUNT - 1
    assert [video.time(index) for index in (5, 6)] == pytest.approx([0.2, 0.28])
    np.testing.assert_array_equal(video.read(6), frames[7])


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # a quarter turn clockwise
        ((0, -1, 1, 0), lambda image: np.rot90(image)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), np.fliplr),  # a front camera
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_a_rotated_or_mirrored_video_comes_upright(videos, tmp_path, matrix, upright):
    data = bytearray(videos[".mp4"].read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # in version 0 of the box
    a, b, c, d = (part << 16 for part in matrix)  # in 16.16 fixed point
    struct.pack_into(">iiiiiiiii", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "phone.mp4"
    path.write_bytes(data)
    image = VideoSequence(path).read(4)
    np.testing.assert_array_equal(image, upright(read_all(videos[".mp4"])[4]))
    assert image.flags.c_contiguous
