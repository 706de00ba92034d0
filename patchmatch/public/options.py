"""The check of the arguments of public functions: one message that says what is allowed."""

import functools
import inspect
import numbers
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
import PIL.Image
import torch

from patchmatch.core.integers import coerce_integers

P = ParamSpec("P")
Result = TypeVar("Result")

_NAMES = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "True or False",
    Path: "a path",
    types.NoneType: "None",
    torch.Tensor: "a tensor",
    torch.device: "a torch.device",
    np.ndarray: "an array",
}
_PLURALS = {int: "integers", float: "numbers", str: "texts"}
_LONGEST = 60  # characters of a value in a message


def check_options(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a public function so that a wrong argument raises a ValueError that names it.

    Arguments are checked against the annotations, and a ``device`` must be available. Images are
    left to ``public.images``, options of other functions (``**options``) to ``require_options``.
    Integers of numpy and torch become ``int``.
    """
    signature = inspect.signature(function)
    hints = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
        and parameter.annotation is not parameter.empty  # self
    }

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints:
                _require_type(name, value, hints[name])
                if name == "device":
                    resolve_device(value)
        return function(*args, **kwargs)

    return coerce_integers(call)


def require_options(owner: str, options: Mapping[str, Any], functions: Iterable[Any]) -> None:
    """Check options that a public function passes on.

    Args:
        owner: What has the options, for messages.
        options: The options by name.
        functions: The functions or classes that take them.

    Raises:
        ValueError: If a name is unknown, or a value does not have the annotated type.
    """
    hints = {
        name: parameter.annotation
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    if unknown := sorted(set(options) - set(hints)):
        raise ValueError(f"{owner} has no option {', '.join(unknown)}; it has {', '.join(hints)}")
    for name, value in options.items():
        _require_type(name, value, hints[name])


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return a device; by default CUDA if available, else the CPU.

    Raises:
        ValueError: If there is no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (AssertionError, RuntimeError) as error:
        available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ValueError(f"device must be {' or '.join(available)}, got {str(device)!r}") from error
    return found


def _require_type(name: str, value: object, hint: Any) -> None:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if PIL.Image.Image in kinds or any(_fits(value, kind) for kind in kinds):
        return
    shown = repr(value)
    if len(shown) > _LONGEST or "object at 0x" in shown:
        shown = f"a {type(value).__name__}"
    raise ValueError(f"{name} must be {' or '.join(map(_describe, kinds))}, got {shown}")


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) in (list, tuple, Sequence):
        (item, *_) = get_args(kind)
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            return False
        return all(_fits(element, item) for element in value)
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is Path:
        return isinstance(value, os.PathLike)
    return not isinstance(kind, type) or isinstance(value, kind)


def _describe(kind: Any) -> str:
    if get_origin(kind) in (list, tuple, Sequence):
        item = get_args(kind)[0]
        return f"a sequence of {_PLURALS.get(item, 'values')}"
    return _NAMES.get(kind, f"a {kind.__name__}")
