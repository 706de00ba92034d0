import functools
import http.server
import socket
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import LiveSequence, VideoSequence, is_live, write_video

COUNT = 30


def paint(index: int) -> np.ndarray:
    image = np.full((48, 80, 3), (200, 90, 5 * index), np.uint8)
    image[:10, index : index + 20] = 250
    return image


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Return host and port of a server, and the folder that it serves, with a video."""
    folder = tmp_path_factory.mktemp("served")
    write_video(folder / "clip.mp4", (paint(index) for index in range(COUNT)), 25)
    (folder / "text.txt").write_text("no video")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            """Print nothing."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", True),
        ("camera:12", True),
        ("camera:front", True),  # an invalid camera, not a file
        ("rtsp://user:secret@host:554/stream", True),
        ("https://host/a.m3u8", True),
        ("frames", False),
        ("a.mp4", False),
        ("/data/2024", False),
        ("C:/frames", False),
        ("0001", False),
    ],
)
def test_cameras_and_urls_are_live_and_paths_are_not(tmp_path, monkeypatch, source, expected):
    monkeypatch.chdir(tmp_path)
    assert is_live(source) is expected


def test_folder_named_like_a_camera_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("0").mkdir()
    assert not is_live("0")
    assert is_live("camera:0")


def test_frames_of_a_url_agree_with_the_file(address):
    host, folder = address
    video = VideoSequence(folder / "clip.mp4")
    found = list(LiveSequence(f"http://{host}/clip.mp4").frames())
    assert len(found) == COUNT
    for index, (time, image) in enumerate(found):
        assert time == pytest.approx(video.time(index))
        np.testing.assert_array_equal(image, video.read(index))


def test_names_and_messages_do_not_contain_passwords(address):
    host, _ = address
    stream = LiveSequence(f"http://anna:geheim@{host}/missing.mp4?token=geheim")
    with pytest.raises(InputError, match=r"missing\.mp4: the stream cannot be opened") as caught:
        stream.open()
    assert "\n" not in str(caught.value)
    for text in (str(caught.value), stream.name):
        assert "geheim" not in text
        assert "anna" not in text
    assert stream.name == f"http_{host.replace('.', '_').replace(':', '_')}_missing_mp4"
    assert stream.frame_name(7) == "000007"


def test_url_without_a_video_raises(address):
    host, _ = address
    for name in ("text.txt", "absent.mp4"):
        with pytest.raises(InputError, match=rf"{name}: the stream cannot be opened"):
            LiveSequence(f"http://{host}/{name}").open()
    with pytest.raises(InputError, match=r"cannot be opened \(Connection refused\)"):
        LiveSequence("rtsp://127.0.0.1:1/x").open()


def test_server_that_never_answers_times_out(monkeypatch):
    monkeypatch.setattr("patchmatch.io.live._TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(InputError, match="the stream cannot be opened"):
            LiveSequence(f"http://127.0.0.1:{port}/a.mp4").open()


@pytest.mark.parametrize("source", ["file:///etc/passwd", "concat://a|b"])
def test_other_protocols_raise(source):
    with pytest.raises(InputError, match=r"unknown protocol; .* rtsp"):
        LiveSequence(source)


def test_missing_camera_raises_in_one_line(capfd):
    with pytest.raises(InputError, match="camera 97: there is no such camera") as caught:
        LiveSequence("camera:97").open()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    with pytest.raises(InputError, match="camera:front: expected a camera number"):
        LiveSequence("camera:front")


class Camera:
    """A camera that is disconnected after three frames."""

    def __init__(self, number: int) -> None:
        self.number, self.remaining, self.released = number, 3, False

    def isOpened(self) -> bool:  # noqa: N802
        return self.number == 2

    def read(self):
        self.remaining -= 1
        return self.remaining >= 0, np.full((4, 6, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.released = True


def test_camera_yields_rgb_frames_and_raises_when_it_stops(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    sequence = LiveSequence("2")
    assert sequence.name == "camera_2"
    sequence.open()
    camera, found = sequence._capture, []
    with pytest.raises(InputError, match="camera 2: the camera sends no more frames"):
        found.extend(sequence.frames())
    found = []
    frames = LiveSequence("2").frames()
    found = [next(frames) for _ in range(3)]
    times = [time for time, _ in found]
    assert times[0] == 0
    assert times == sorted(times)
    assert found[0][1][0, 0].tolist() == [3, 2, 1]
    assert isinstance(camera, Camera)
    assert camera.released
