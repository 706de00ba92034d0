"""Calls that run in a thread while the next batch is predicted."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch


class Background:
    """Runs calls in one thread, in order; at most one at a time is unfinished.

    The thread overlaps with the main thread where libraries release the lock of the interpreter:
    encoding of images and videos, OpenCV, torch and compiled loops do. An error of a call is raised
    by the next ``run`` or ``wait``.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None  # created when needed: it cannot be pickled
        self._unfinished: Future[None] | None = None

    def run(self, function: Callable[..., None], *arguments: object) -> None:
        """Wait for the call before, then start this one."""
        self.wait()
        self._pool = self._pool or ThreadPoolExecutor(1, "writer")
        # as in the main thread of a prediction; the mode is one of each thread
        self._unfinished = self._pool.submit(torch.inference_mode()(function), *arguments)

    def wait(self) -> None:
        """Wait for the call that is unfinished; raise its error."""
        call = self._unfinished
        try:
            if call is not None:
                call.result()
        finally:
            if call is not None and call.done():  # Ctrl+C may have interrupted the wait
                self._unfinished = None

    def close(self) -> None:
        """Wait for the call that is unfinished, without its error, and end the thread."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool, self._unfinished = None, None
