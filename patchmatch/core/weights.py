"""Reading files that ``torch.save`` wrote, and the weights of networks from other libraries."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from patchmatch.core.errors import InputError

_FOREIGN_CLASS = re.compile(r"GLOBAL ([\w.]+)")


def reason(error: Exception) -> str:
    """Return why ``torch.load`` failed, in parentheses; nothing for a file of another format.

    Its own messages are a page of advice about code, or a number.

    Args:
        error: The error of ``torch.load(weights_only=True)``.
    """
    if isinstance(error, PermissionError):
        return " (permission denied)"
    if found := _FOREIGN_CLASS.search(str(error)):
        return f" (contains {found[1]}; only tensors and plain values are loaded)"
    return ""


def read_state_dict(path: str | Path, advice: str) -> Mapping[str, Any]:
    """Read a state_dict from a file that contains it directly or under the key ``state_dict``.

    Args:
        path: A file that ``torch.save`` wrote.
        advice: What to do about a wrong file; the end of the error message.

    Raises:
        InputError: If the file is missing or damaged, or contains no state_dict.
    """
    content = read_weights_file(path, advice)
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: contains no state_dict; {advice}")
    return content


def read_weights_file(path: str | Path, advice: str, allowed: Sequence[Any] = ()) -> Any:
    """Read a file that ``torch.save`` wrote; only tensors and plain values are unpickled.

    Args:
        path: The file.
        advice: What to do about a wrong file; the end of the error message.
        allowed: Further classes and functions that it may contain, which must not run code, as
            ``torch.serialization.safe_globals`` takes them.

    Raises:
        InputError: If the file is missing or damaged, or contains other objects.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the path, or {advice}")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the errors of torch.load have no common base
        raise InputError(f"{path}: cannot be read as weights{reason(error)}; {advice}") from error
