"""The exception for errors that the user can fix."""


class InputError(ValueError):
    """An input of the user cannot be used: a file, a folder, a checkpoint or an option.

    The message is one line, ``SUBJECT: what is wrong; what to do``. The command line prints it
    without a traceback and exits with code 2.
    """
