"""Reading checkpoints so that a wrong file is told in one line."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from patchmatch.core.errors import InputError

SHIPPED = Path(__file__).parents[1] / "weights"


def shipped_checkpoint(name: str) -> Path:
    """Return the path of weights that the package ships."""
    return SHIPPED / name


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return a checkpoint of one of our matchers, on the CPU.

    Only numbers and plain values are unpickled: a checkpoint from a stranger can be wrong, not
    harmful.

    Raises:
        InputError: If there is no such file, or it is no checkpoint of a Lightning matcher.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; look under data/output/lightning_logs")
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except Exception as error:  # torch.load has no common error for what is no checkpoint
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(
            f"{path}: is no checkpoint, or a damaged one ({reason}); give a .ckpt that fit wrote"
        ) from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters"} <= set(
        checkpoint
    ):
        raise InputError(
            f"{path}: holds no matcher (no state_dict and hyper_parameters); give a .ckpt that "
            "fit wrote"
        )
    weights, settings = checkpoint["state_dict"], checkpoint["hyper_parameters"]
    if not isinstance(settings, dict) or not isinstance(weights, dict):
        raise InputError(f"{path}: holds no matcher, but lists; give a .ckpt that fit wrote")
    for key, value in weights.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {key} is no tensor; give a .ckpt that fit wrote")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(
                f"{path}: {key} holds values that are no numbers (NaN or infinite); its training "
                "went astray: give an earlier checkpoint, or train with a smaller --model.lr"
            )
    return checkpoint


def trained_settings(
    path: str | Path, checkpoint: dict[str, Any], kind: type[nn.Module]
) -> dict[str, Any]:
    """Return the settings that a checkpoint was trained with, or refuse those ``kind`` lacks."""
    settings = {
        str(k): v for k, v in checkpoint["hyper_parameters"].items() if not str(k).startswith("_")
    }
    known = inspect.signature(kind).parameters
    for key, value in settings.items():
        if key not in known or (value is None and known[key].default is not None):
            reason = f"is {value}" if key in known else f"is no setting of {kind.__name__}"
            raise InputError(
                f"{path}: its setting {key} {reason}; give a checkpoint of this version"
            )
    try:
        kind(**settings)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: its settings make no {kind.__name__} ({reason}); give another checkpoint"
        ) from error
    return settings


def check_class(path: str | Path, checkpoint: dict[str, Any], wanted: str) -> None:
    """Refuse a checkpoint of another class than ``wanted``, a bare class name."""
    found = str(checkpoint["hyper_parameters"].get("_class_path", "")).rpartition(".")[2]
    if found != wanted:
        raise InputError(
            f"{path}: holds a {found or 'model of unknown class'}, not a {wanted}; give a "
            f"checkpoint of {wanted}, or a configuration for {found or 'that class'}"
        )


def check_weights(path: str | Path, checkpoint: dict[str, Any], model: nn.Module) -> None:
    """Refuse a checkpoint whose tensors do not fit the model that its settings describe."""
    have = {k: tuple(v.shape) for k, v in checkpoint["state_dict"].items()}
    need = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    wrong = sorted(k for k in have.keys() | need.keys() if have.get(k) != need.get(k))
    if wrong:
        key = wrong[0]
        raise InputError(
            f"{path}: is of another architecture: {len(wrong)} tensors do not fit, the first is "
            f"{key} with {have.get(key, 'nothing')} in the file and {need.get(key, 'nothing')} in "
            "the model; give a checkpoint of this version"
        )
