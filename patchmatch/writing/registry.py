"""Compatibility of matchers and writers.

The result type of a matcher is the return annotation of ``predict_step``; that of a writer is the
annotation of ``prediction`` in ``write_batch``.
"""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from patchmatch.core.configs import short_name
from patchmatch.core.errors import InputError
from patchmatch.core.registration import subclasses


def matchers_of(result: type) -> list[str]:
    """Return the names of the matchers of this package that predict ``result``."""
    kinds = _concrete(pl.LightningModule)
    return sorted(k.__name__ for k in kinds if _result_type(k, "predict_step", "return") is result)


def writers_of(result: type) -> list[str]:
    """Return the names of the writers of this package for predictions of type ``result``."""
    kinds = _concrete(BasePredictionWriter)
    return sorted(
        k.__name__ for k in kinds if _result_type(k, "write_batch", "prediction") is result
    )


def require_writer_fits(writer: object, matcher: pl.LightningModule) -> None:
    """Raise InputError unless the writer can write the predictions of the matcher.

    Classes whose methods are not annotated are accepted.

    Args:
        writer: Any writer.
        matcher: Any matcher; without a ``predict_step`` of its own it cannot predict.
    """
    written = _result_type(type(writer), "write_batch", "prediction")
    predicted = _result_type(type(matcher), "predict_step", "return")
    predicts = type(matcher).predict_step is not pl.LightningModule.predict_step
    if written is None or predicted is written or (predicted is None and predicts):
        return
    name = type(matcher).__name__
    models = f"--model {_either(matchers_of(written))}"
    if predicted is None:
        raise InputError(
            f"{type(writer).__name__} has nothing to write: {name} can only be trained and has no "
            f"predict_step; use {models}"
        )
    # The run may combine the configuration of the matcher with another --writer.
    config = getattr(matcher, "predict_config", None)
    example = f" as in -c {short_name(config)}" if config else ""
    writers = (
        f"--writer {_either(writers_of(predicted))}{example}, or " if writers_of(predicted) else ""
    )
    raise InputError(
        f"{type(writer).__name__} cannot write the predictions of {name}; use {writers}{models}"
    )


def _either(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _concrete(base: type) -> Iterator[type]:
    """Yield the concrete subclasses of ``base`` in this package."""
    for kind in subclasses(base):
        if kind.__module__.startswith("patchmatch.") and not inspect.isabstract(kind):
            yield kind


def _result_type(owner: type, method: str, name: str) -> type | None:
    """Return the type in an annotation, for a list the type of its items; None if missing."""
    function = getattr(owner, method, None)
    hint: Any = inspect.get_annotations(function).get(name) if function else None
    if get_origin(hint) is list:
        (hint,) = get_args(hint)
    return hint if isinstance(hint, type) and hint is not Any else None
