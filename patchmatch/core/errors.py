"""The one exception for mistakes that the user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used: a file, a folder, a checkpoint.

    The message is one line that says what is wrong, in which file, and what to do. The command
    line prints it without a traceback and ends with exit code 2.
    """
