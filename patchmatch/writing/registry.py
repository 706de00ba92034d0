"""Which matchers predict what a writer writes.

Classes register themselves by their annotations: what ``predict_step`` of a matcher returns, and
what ``write_batch`` of a writer takes as its prediction.
"""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter

from patchmatch.core.errors import InputError
from patchmatch.core.registration import subclasses


def matchers_of(result: type) -> list[str]:
    """Return the names of the package's matchers whose predictions are of type ``result``."""
    kinds = _concrete(pl.LightningModule)
    return sorted(k.__name__ for k in kinds if _result(k, "predict_step", "return") is result)


def writers_of(result: type) -> list[str]:
    """Return the names of the package's writers of predictions of type ``result``."""
    kinds = _concrete(BasePredictionWriter)
    return sorted(k.__name__ for k in kinds if _result(k, "write_batch", "prediction") is result)


def require_writer_fits(writer: object, matcher: pl.LightningModule) -> None:
    """Raise InputError unless the writer takes what the matcher predicts.

    Classes whose methods are not annotated are accepted.

    Args:
        writer: Any writer.
        matcher: Any matcher; one without its own ``predict_step`` predicts nothing.
    """
    written = _result(type(writer), "write_batch", "prediction")
    predicted = _result(type(matcher), "predict_step", "return")
    predicts = type(matcher).predict_step is not pl.LightningModule.predict_step
    if written is None or predicted is written or (predicted is None and predicts):
        return
    name = type(matcher).__name__
    models = f"--model {_either(matchers_of(written))}"
    if predicted is None:
        raise InputError(
            f"{type(writer).__name__} has nothing to write: {name} is for training only and "
            f"predicts nothing; use {models}"
        )
    # The run may use the configuration of the matcher with another --writer.
    config = getattr(matcher, "predict_config", None)
    example = f" as in configs/{config}" if config else ""
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


def _result(owner: type, method: str, name: str) -> type | None:
    """Return the result type that an annotation names, by itself or in a list."""
    hint: Any = inspect.get_annotations(getattr(owner, method, None) or _nothing).get(name)
    if get_origin(hint) is list:
        (hint,) = get_args(hint)
    return hint if isinstance(hint, type) and hint is not Any else None


def _nothing() -> None:
    """Stand for a method that a class does not have."""
