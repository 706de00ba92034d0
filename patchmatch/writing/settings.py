"""The settings that determine the output of a run; only a run with equal settings may resume."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from patchmatch.core.registration import constructor_options
from patchmatch.version import __version__

WEIGHTS = "matcher.state_dict"
_SECRETS = re.compile(r"(?<=:)//[^/@\s\"]+@")  # user and password in a URL
# These change where or how fast a run writes, not what it writes.
_IGNORED = frozenset({"output_path", "overwrite", "resume", "num_workers"})


def run_settings(trainer: pl.Trainer, matcher: object, writer: object) -> dict[str, Any]:
    """Return the settings that two runs must share to write the same files, as JSON values.

    The weights are added later as ``state_dict``, because they are loaded after ``setup``.

    Args:
        trainer: The trainer, which refers to the data module.
        matcher: The matcher.
        writer: The writer.
    """
    # A trainer that was given data loaders has no data module, contrary to its type.
    data: Any = getattr(trainer, "datamodule", None)
    settings: dict[str, Any] = {
        "version": __version__,
        "matcher": _constructor_settings(matcher),
        "data": {} if data is None else _constructor_settings(data),
        "writer": _constructor_settings(writer),
    }
    dataset = getattr(data, "dataset", None)
    if isinstance(dataset, Sized):
        settings["data"]["clips"] = len(dataset)
    return json.loads(_SECRETS.sub("//…@", json.dumps(settings, default=str, ensure_ascii=False)))


def input_files(trainer: pl.Trainer, matcher: object, writer: object) -> set[Path]:
    """Return the files that a run reads: those that its options name, and those of its data."""
    data: Any = getattr(trainer, "datamodule", None)
    found = set(data.input_files()) if hasattr(data, "input_files") else set()
    options = [trainer.ckpt_path]
    for instance in (matcher, writer, *([] if data is None else [data])):
        options += _constructor_settings(instance).values()
    for value in options:
        with contextlib.suppress(OSError, ValueError):  # a text that is not a path
            if isinstance(value, str | Path) and (path := Path(value)).is_file():
                found.add(path)
    return found


def fingerprint(matcher: torch.nn.Module) -> str:
    """Return a short hash of the weights."""
    digest = hashlib.sha256()
    for name, weights in sorted(matcher.state_dict().items()):
        digest.update(name.encode())
        if isinstance(weights, torch.Tensor):
            digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def differences(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a phrase such as ``data.batch_size was 8 and is 4`` for each setting that differs.

    Weights are compared only if both settings contain them.
    """
    before, after = dict(_flatten(previous)), dict(_flatten(current))
    if WEIGHTS not in before or WEIGHTS not in after:
        before[WEIGHTS] = after[WEIGHTS] = None
    return [
        f"{name} was {before.get(name, 'unknown')} and is {after.get(name, 'unknown')}"
        for name in {**before, **after}
        if before.get(name, "unknown") != after.get(name, "unknown")
    ]


def _constructor_settings(instance: object) -> dict[str, Any]:
    """Return the class name and those constructor arguments that the instance stores."""
    stored = dict(getattr(instance, "hparams", {}))
    for name in constructor_options(type(instance)):
        if hasattr(instance, name):
            stored[name] = getattr(instance, name)
    public = {name: value for name, value in stored.items() if not name.startswith("_")}
    return {"class": type(instance).__name__} | {
        name: value for name, value in public.items() if name not in _IGNORED
    }


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
