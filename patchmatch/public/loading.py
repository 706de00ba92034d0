"""Loading of matchers from checkpoints."""

from pathlib import Path
from typing import Any, TypeVar

import torch

from patchmatch.core.checkpoints import load_trained, shipped_checkpoint
from patchmatch.core.matcher import Matcher
from patchmatch.public.options import resolve_device

AnyMatcher = TypeVar("AnyMatcher", bound=Matcher)


def load_matcher(
    kind: type[AnyMatcher],
    path: str | Path | None,
    settings: dict[str, Any],
    device: str | torch.device | None,
) -> AnyMatcher:
    """Load a matcher with the weights of a checkpoint, in evaluation mode.

    Args:
        kind: Class of the matcher.
        path: A checkpoint written by ``patchmatch fit``; None for the shipped weights.
        settings: Options that the checkpoint does not store.
        device: Device to compute on; by default CUDA if available.

    Raises:
        InputError: If the checkpoint is missing, damaged or of another class.
    """
    if path is None:
        path = shipped_checkpoint(str(kind.shipped_weights))
    return load_trained(kind, path, settings).to(resolve_device(device))
