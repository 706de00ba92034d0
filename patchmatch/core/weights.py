"""Reading the weights of networks from other libraries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from patchmatch.core.errors import InputError, first_line


def read_state_dict(path: str | Path, advice: str) -> Mapping[str, Any]:
    """Read a state_dict from a file that contains it directly or under the key ``state_dict``.

    Args:
        path: A file that ``torch.save`` wrote.
        advice: What to do about a wrong file; the end of the error message.

    Raises:
        InputError: If the file is missing or damaged, or contains no state_dict.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; {advice}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the errors of torch.load have no common base
        raise InputError(
            f"{path}: cannot be read as weights ({first_line(error)}); {advice}"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: contains no state_dict; {advice}")
    return content
