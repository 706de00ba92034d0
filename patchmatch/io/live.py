"""Live frames: cameras and network streams."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from patchmatch.core.errors import InputError
from patchmatch.io.frames import safe_name
from patchmatch.io.video_decoding import RGBConverter, intact_frames, main_stream

_CAMERA = re.compile(r"(?:camera:)?(\d{1,3})")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.+", re.IGNORECASE)
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "tcp", "srt")
_TIMEOUT = 15.0  # seconds to wait for an answer or a frame


def is_live(source: str | Path) -> bool:
    """Return whether a source is a camera or a URL rather than a file or folder.

    Args:
        source: ``"camera:0"``, ``"0"`` (unless a file or folder has that name), or a URL such as
            ``"rtsp://host/stream"``.

    Returns:
        True for sources of ``LiveSequence``, False for those of ``find_sequences``.
    """
    source = str(source)
    if _ADDRESS.fullmatch(source) or source.startswith("camera:"):
        return True
    return bool(_CAMERA.fullmatch(source)) and not Path(source).exists()


class LiveSequence:
    """Frames of a camera or a network stream, ``(H, W, 3)`` RGB uint8, readable once and in order.

    The number of frames is unknown. Frames damaged in transmission are skipped.

    Args:
        source: A camera (``"camera:0"``, ``"0"``) or a URL (``"rtsp://host/stream"``).
        name: Name of the sequence; by default derived from the source, without passwords.

    Attributes:
        name: Valid in file names; the ``source`` column of tables.

    Raises:
        InputError: If the source is neither a camera nor a URL.
    """

    def __init__(self, source: str, name: str | None = None) -> None:
        self._source = source
        camera = _CAMERA.fullmatch(source)
        self._camera = int(camera[1]) if camera else None
        if camera:
            self._label = f"camera {self._camera}"
        elif source.startswith("camera:"):
            raise InputError(
                f"{source}: expected a camera number; give camera:0 for the first camera"
            )
        else:
            parts = urlsplit(source)
            if parts.scheme.lower() not in _SCHEMES:
                raise InputError(
                    f"{parts.scheme}://: unknown protocol; give a URL with one of "
                    f"{' '.join(_SCHEMES)}, or the path of a file or folder"
                )
            # Messages and tables must not contain passwords or tokens.
            host = parts.netloc.rpartition("@")[2]
            self._label = f"{parts.scheme}://{host}{parts.path}"
        self.name = name or safe_name(re.sub(r"\W+", "_", self._label).strip("_"))
        self._capture: cv2.VideoCapture | None = None
        self._container: InputContainer | None = None

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to six digits."""
        return f"{index:06d}"

    def open(self) -> None:
        """Connect to the source if not yet connected.

        Raises:
            InputError: If the camera does not exist or the stream does not answer.
        """
        if self._capture is not None or self._container is not None:
            return
        if self._camera is not None:
            self._capture = _open_camera(self._camera)
            return
        # TCP loses no packets.
        options = {"rtsp_transport": "tcp"} if self._source.lower().startswith("rtsp") else {}
        try:
            self._container = av.open(
                self._source,
                container_options=options,
                metadata_errors="replace",
                timeout=_TIMEOUT,
            )
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{self._label}: the stream cannot be opened ({_reason(error)}); check that a "
                "player such as VLC can play the URL"
            ) from error

    def frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Open the source, yield its frames and close it.

        Yields:
            The time of a frame in seconds after the first one (None if unknown), and the frame.

        Raises:
            InputError: If the source cannot be opened, or the connection is lost.
        """
        self.open()
        try:
            if self._capture is not None:
                yield from self._camera_frames(self._capture)
            elif self._container is not None:
                yield from self._stream_frames(self._container)
        finally:
            self.close()

    def _camera_frames(self, capture: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray]]:
        """Yield frames with their time of arrival, because few cameras send time stamps."""
        start = None
        while True:
            ok, image = capture.read()
            if not ok:
                raise InputError(f"{self._label}: the camera sends no more frames; reconnect it")
            now = time.monotonic()
            start = now if start is None else start
            yield now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _stream_frames(
        self, container: InputContainer
    ) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yield frames with their presentation time."""
        stream = main_stream(container, self._label)
        to_rgb, start = RGBConverter(), None
        try:
            for frame in intact_frames(container, stream, end_on_error=False):
                start = frame.time if start is None else start
                known = start is not None and frame.time is not None
                yield frame.time - start if known else None, to_rgb(frame)
        except (FFmpegError, OSError) as error:
            raise InputError(
                f"{self._label}: the stream broke off ({_reason(error)}); check the connection"
            ) from error

    def close(self) -> None:
        """Close the source."""
        if self._capture is not None:
            self._capture.release()
        if self._container is not None:
            self._container.close()
        self._capture = self._container = None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _open_camera(number: int) -> cv2.VideoCapture:
    """Open a camera with OpenCV."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)  # the error below replaces its output
    try:
        capture = cv2.VideoCapture(number)
    finally:
        log.setLogLevel(level)
    if not capture.isOpened():
        raise InputError(
            f"camera {number}: there is no such camera, or it is in use; connect it, close other "
            "programs that use it, or choose another number"
        )
    return capture
