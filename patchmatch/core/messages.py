"""What the program prints on the terminal: lines without control characters, and warnings."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text as one line in which control characters are escaped, line breaks as \n.

    Names of files and messages of libraries may contain codes that change the terminal.

    Args:
        text: Any text.
    """
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def joined(text: str) -> str:
    """Return the lines of a message of a library as one line."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 box`` or ``2 boxes``.

    Args:
        count: Any number.
        noun: The plural; a word without a final s has no singular.
    """
    if count == 1 and noun.endswith("s"):
        noun = re.sub(r"(?<=x|h)es$|s$", "", noun)
    return f"{count} {noun}"


def warn(text: str) -> None:
    """Issue a warning of the program: a ``UserWarning``, which the command line prints as a line.

    Args:
        text: What is wrong and what to do, in one line.
    """
    warnings.warn(printable(text), UserWarning, stacklevel=3)


class Warner:
    """Issues warnings of the program, each text once."""

    def __init__(self) -> None:
        self._issued: set[str] = set()

    def __call__(self, text: str) -> None:
        """Issue a warning; see ``warn``."""
        if text not in self._issued:
            self._issued.add(text)
            warnings.warn(printable(text), UserWarning, stacklevel=3)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print all warnings as ``warning: TEXT`` on stderr, without the file and line of the code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        from rich.console import Console  # prints above a progress bar

        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
        console.print(printable(f"warning: {joined(str(message))}"), style="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def inform(text: str) -> None:
    """Write a line to stderr: what the program does, where that is not obvious."""
    sys.stderr.write(printable(text) + "\n")


def write_error(program: str, error: Exception) -> None:
    """Write an error of the user to stderr, in one line.

    Args:
        program: Name of the program.
        error: The error.
    """
    sys.stderr.write(printable(f"{program}: error: {error}") + "\n")


def write_any_text() -> None:
    """Let stdout and stderr escape the characters that their encoding does not have.

    Otherwise the name of a file could end a run on a terminal or in a log that is not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
