"""Matchers with the weights of a checkpoint."""

from pathlib import Path
from typing import Any, TypeVar

import torch

from patchmatch.core.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    shipped_checkpoint,
    trained_settings,
)
from patchmatch.core.matcher import Matcher

AnyMatcher = TypeVar("AnyMatcher", bound=Matcher)


def load_matcher(
    kind: type[AnyMatcher],
    path: str | Path | None,
    settings: dict[str, Any],
    device: str | torch.device | None,
) -> AnyMatcher:
    """Return a matcher with the weights of a checkpoint, ready to match.

    Args:
        kind: Its class.
        path: A checkpoint that ``patchmatch fit`` wrote; None for the one the package ships.
        settings: Beside those that the checkpoint was trained with.
        device: Where to compute; CUDA where there is one, by default.

    Raises:
        InputError: If the checkpoint is missing, damaged or of another class.
    """
    if path is None:
        path = shipped_checkpoint(str(kind.shipped_weights))
    checkpoint = read_checkpoint(path)
    check_class(path, checkpoint, kind.__name__)
    matcher = kind(**(trained_settings(path, checkpoint, kind) | settings))
    check_weights(path, checkpoint, matcher)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
