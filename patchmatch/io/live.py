"""Frames that come once and in order: a camera, or a stream from an address."""

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
from patchmatch.io.video_decoding import Upright, good_frames, main_stream

_CAMERA = re.compile(r"(?:camera:)?(\d{1,3})")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.+", re.IGNORECASE)
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "tcp", "srt")
_PATIENCE = 15.0  # seconds without an answer or a frame before a stream counts as gone


def is_live(source: str | Path) -> bool:
    """Tell whether a source is a camera or an address, and no file or folder.

    Args:
        source: ``"camera:0"``, ``"0"`` unless something of that name lies here, or an address
            such as ``"rtsp://host/stream"``.

    Returns:
        True for what ``LiveSequence`` opens, False for what ``find_sequences`` does.
    """
    source = str(source)
    if _ADDRESS.fullmatch(source) or source.startswith("camera:"):
        return True
    return bool(_CAMERA.fullmatch(source)) and not Path(source).exists()


class LiveSequence:
    """Frames of a camera or a stream, upright, ``(H, W, 3)`` RGB of uint8, in order and once.

    How many there will be is not known. Frames that were damaged on their way are left out.

    Args:
        source: A camera (``"camera:0"``, ``"0"``) or an address (``"rtsp://host/stream"``).
        name: The name of the sequence, by default made of the source without any password.

    Attributes:
        name: Safe in file names; the ``source`` column of tables.

    Raises:
        InputError: If the source is neither.
    """

    def __init__(self, source: str, name: str | None = None) -> None:
        self._source = source
        camera = _CAMERA.fullmatch(source)
        self._camera = int(camera[1]) if camera else None
        if camera:
            self._shown = f"camera {self._camera}"
        elif source.startswith("camera:"):
            raise InputError(f"{source}: a camera has a number, camera:0 for the first one")
        else:
            parts = urlsplit(source)
            if parts.scheme.lower() not in _SCHEMES:
                raise InputError(
                    f"{parts.scheme}://: no address of a stream; give one that begins with one of "
                    f"{' '.join(_SCHEMES)}, or the path of a file or folder"
                )
            # Neither messages nor tables shall hold a password or a token.
            host = parts.netloc.rpartition("@")[2]
            self._shown = f"{parts.scheme}://{host}{parts.path}"
        self.name = name or safe_name(re.sub(r"\W+", "_", self._shown).strip("_"))
        self._capture: cv2.VideoCapture | None = None
        self._container: InputContainer | None = None

    def frame_name(self, index: int) -> str:
        """Return the index, zero-padded to six digits."""
        return f"{index:06d}"

    def open(self) -> None:
        """Connect, unless that was done.

        Raises:
            InputError: If there is no such camera or no answer.
        """
        if self._capture is not None or self._container is not None:
            return
        if self._camera is not None:
            self._capture = _open_camera(self._camera)
            return
        # Over TCP, no part of a picture is lost on the way.
        options = {"rtsp_transport": "tcp"} if self._source.lower().startswith("rtsp") else {}
        try:
            self._container = av.open(
                self._source,
                container_options=options,
                metadata_errors="replace",
                timeout=_PATIENCE,
            )
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{self._shown}: the stream cannot be opened ({_reason(error)}); check the "
                "address, and that a player such as VLC plays it"
            ) from error

    def frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Open the source where that is still to be done, and close it in the end.

        Yields:
            When the frame was taken, in seconds after the first one, and the frame.

        Raises:
            InputError: If the source cannot be opened, or breaks off.
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
        """Yield frames with the time at which they arrived, for cameras seldom tell their own."""
        start = None
        while True:
            ok, image = capture.read()
            if not ok:
                raise InputError(f"{self._shown}: gives no more frames; plug it in again")
            now = time.monotonic()
            start = now if start is None else start
            yield now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _stream_frames(
        self, container: InputContainer
    ) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yield frames with the time at which the sender wants them shown."""
        stream = main_stream(container, self._shown)
        upright, start = Upright(), None
        try:
            for frame in good_frames(container, stream, may_break=False):
                start = frame.time if start is None else start
                known = start is not None and frame.time is not None
                yield frame.time - start if known else None, upright(frame)
        except (FFmpegError, OSError) as error:
            raise InputError(
                f"{self._shown}: the stream broke off ({_reason(error)}); check the connection"
            ) from error

    def close(self) -> None:
        """Let go of the source."""
        if self._capture is not None:
            self._capture.release()
        if self._container is not None:
            self._container.close()
        self._capture = self._container = None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _open_camera(number: int) -> cv2.VideoCapture:
    """Open a camera with OpenCV, which knows how on Linux, macOS and Windows."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)  # what it prints is said below
    try:
        capture = cv2.VideoCapture(number)
    finally:
        log.setLogLevel(level)
    if not capture.isOpened():
        raise InputError(
            f"camera {number}: there is no such camera, or it is in use; plug it in, close other "
            "programs that use it, or choose another number"
        )
    return capture
