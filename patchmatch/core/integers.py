"""Conversion of numpy and torch integers to ``int``."""

import functools
import operator
from collections.abc import Callable
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
Result = TypeVar("Result")


def coerce_integers(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function so that it gets numpy and torch integers as ``int``.

    Sequences are converted as well. Otherwise such integers could overflow
    (``np.uint8(17) ** 2`` is 33) or fail a check for ``int``.
    """
    run: Callable[..., Result] = function

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        named = {name: _as_int(value) for name, value in kwargs.items()}
        return run(*map(_as_int, args), **named)

    return call


def _as_int(value: Any) -> Any:
    """Convert integers, alone or in a sequence; return any other value unchanged."""
    if isinstance(value, list | tuple):
        items = [_as_int(item) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return tuple(items) if changed else value
    return operator.index(value) if _is_foreign_integer(value) else value


def _is_foreign_integer(value: object) -> bool:
    """Return whether a value is an integer but not an ``int``."""
    if isinstance(value, Tensor):
        kind = value.dtype
        is_integer = not (kind.is_floating_point or kind.is_complex or kind == torch.bool)
        return is_integer and value.ndim == 0
    return isinstance(value, Integral) and not isinstance(value, int)
