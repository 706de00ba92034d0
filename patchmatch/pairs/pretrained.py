"""Networks of other people with their weights, never with random ones."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from patchmatch.core.errors import InputError


def download_weights(
    name: str, build: Callable[[], nn.Module], option: str, address: str
) -> nn.Module:
    """Return a network whose constructor downloads its weights.

    Args:
        name: What errors call it.
        build: Makes it.
        option: Which option names a file instead.
        address: Where the file is to be had.

    Raises:
        InputError: If nothing can be downloaded.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # of one address that fails before the next
            return build().eval()
    except Exception as error:  # every library on the way to the network has its own
        text = str(error).strip() or type(error).__name__
        reason = text.rpartition("Last error: ")[2].partition(". Cache path")[0]
        raise InputError(
            f"the weights of {name} cannot be downloaded ({reason}); fetch {address} on "
            f"another machine and give the file as {option}"
        ) from error


def read_weights(
    name: str, net: nn.Module, path: str, option: str, strict: bool = True
) -> nn.Module:
    """Return a network with the weights of a file: a state_dict, bare or under that name.

    Args:
        name: What errors call it.
        net: With any weights.
        path: The file.
        option: Which option names it.
        strict: Whether the file may hold nothing that the network has no use for.

    Raises:
        InputError: If there is no such file, or it holds other weights.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; {option} must name the weights of {name}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, Mapping):
            content = content.get("state_dict", content)
        missing = net.load_state_dict(content, strict=strict).missing_keys
    except Exception as error:  # damaged in any way, or of another network
        raise InputError(
            f"{path}: these are not the weights of {name}; give the right file as {option}"
        ) from error
    if missing:
        raise InputError(
            f"{path}: these are not the weights of {name}: {missing[0]} is missing; give the right "
            f"file as {option}"
        )
    return net.eval()


def half_precision(like: torch.Tensor, wanted: bool) -> torch.autocast:
    """Return what computes in half precision, if wanted, where it is faster: on CUDA."""
    return torch.autocast(like.device.type, enabled=wanted and like.is_cuda)
