"""The exception for errors that the user can fix, and the reason in errors of libraries."""

from patchmatch.core.messages import printable


class InputError(ValueError):
    """An input of the user cannot be used: a file, a folder, a checkpoint or an option.

    The message is one line, ``SUBJECT: what is wrong; what to do``. The command line prints it
    without a traceback and exits with code 2. Control characters, which names may contain, are
    escaped, see ``printable``.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


def first_line(error: Exception, length: int | None = 100) -> str:
    """Return the first line of an error message, or the name of the error if it is empty.

    Args:
        error: Any exception.
        length: Largest number of characters; None for no limit.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0][:length]
