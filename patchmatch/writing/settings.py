"""The settings that decide what a run writes, to tell whether another run may continue it."""

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import pytorch_lightning as pl
import torch

from patchmatch.version import __version__

# They say where, how fast or whether a run goes on; what it writes is the same.
WEIGHTS = "matcher.state_dict"
_SECRETS = re.compile(r"(?<=:)//[^/@\s\"]+@")  # user and password of an address
_NO_MATTER = frozenset({"output_path", "overwrite", "resume", "num_workers"})


def run_settings(trainer: pl.Trainer, matcher: object, writer: object) -> dict[str, Any]:
    """Return what two runs must have in common to write the same files, fit for JSON.

    The weights are not yet loaded when a run is set up: they join under ``state_dict``.

    Args:
        trainer: It knows the data module.
        matcher: The network.
        writer: The writer.
    """
    # The trainer has no data module where it was given loaders; its type does not say so.
    data: Any = getattr(trainer, "datamodule", None)
    settings: dict[str, Any] = {
        "version": __version__,
        "matcher": _settings_of(matcher),
        "data": {} if data is None else _settings_of(data),
        "writer": _settings_of(writer),
    }
    dataset = getattr(data, "dataset", None)
    if isinstance(dataset, Sized):
        settings["data"]["clips"] = len(dataset)
    return json.loads(_SECRETS.sub("//…@", json.dumps(settings, default=str, ensure_ascii=False)))


def fingerprint(matcher: torch.nn.Module) -> str:
    """Return a short text that is another one for other weights."""
    digest = hashlib.sha256()
    for name, weights in sorted(matcher.state_dict().items()):
        digest.update(name.encode())
        if isinstance(weights, torch.Tensor):
            digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase such as ``data.batch_size was 8 and is 4`` for each setting that differs.

    The weights differ only where both know them.
    """
    before, after = dict(_flat(then)), dict(_flat(now))
    if WEIGHTS not in before or WEIGHTS not in after:
        before[WEIGHTS] = after[WEIGHTS] = None
    return [
        f"{name} was {before.get(name, 'unknown')} and is {after.get(name, 'unknown')}"
        for name in {**before, **after}
        if before.get(name, "unknown") != after.get(name, "unknown")
    ]


def _settings_of(thing: object) -> dict[str, Any]:
    """Return the class and the constructor's arguments, as far as the object kept them."""
    kept = dict(getattr(thing, "hparams", {}))
    for name in inspect.signature(type(thing)).parameters:
        if hasattr(thing, name):
            kept[name] = getattr(thing, name)
    plain = {name: value for name, value in kept.items() if not name.startswith("_")}
    return {"class": type(thing).__name__} | {
        name: value for name, value in plain.items() if name not in _NO_MATTER
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
