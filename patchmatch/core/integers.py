"""Whole numbers of numpy and torch, where Python's are meant."""

import functools
import operator
from collections.abc import Callable
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
Answer = TypeVar("Answer")


def coerce_integers(function: Callable[P, Answer]) -> Callable[P, Answer]:
    """Let a function have whole numbers of numpy or torch, alone or in a sequence, as ``int``.

    They would be refused, or overflow: ``np.uint8(17) ** 2`` is 33.
    """
    run: Callable[..., Answer] = function

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Answer:
        named = {name: _plain(value) for name, value in kwargs.items()}
        return run(*map(_plain, args), **named)

    return call


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        numbers = [_plain(one) for one in value]
        changed = any(number is not one for number, one in zip(numbers, value, strict=True))
        return tuple(numbers) if changed else value
    return operator.index(value) if _is_foreign(value) else value


def _is_foreign(value: object) -> bool:
    """Return whether a value is a whole number, and not Python's own."""
    if isinstance(value, Tensor):
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        return whole and value.ndim == 0
    return isinstance(value, Integral) and not isinstance(value, int)
