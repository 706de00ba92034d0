"""Checkpoints of matchers, read and validated; every fault is a one-line ``InputError``."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning import Trainer
from torch import nn

from patchmatch.core.errors import InputError, first_line
from patchmatch.core.registration import constructor_options
from patchmatch.core.weights import reason
from patchmatch.io import require_writable_folder

AnyModel = TypeVar("AnyModel", bound=nn.Module)

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"


def shipped_checkpoint(name: str) -> Path:
    """Return the path of a checkpoint that is part of the package."""
    return WEIGHTS_FOLDER / name


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the checkpoint of a matcher onto the CPU.

    Only tensors and plain values are unpickled (``weights_only``), so a checkpoint from an unknown
    source cannot run code.

    Raises:
        InputError: If the file does not exist, cannot be read, or is not a checkpoint of a matcher.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; look under data/output/lightning_logs")
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    except PermissionError as error:
        raise InputError(
            f"{path}: permission denied; change the permissions of the file"
        ) from error
    except Exception as error:  # torch.load raises many classes for other files
        raise InputError(
            f"{path}: not a checkpoint, or a damaged one{reason(error)}; give a .ckpt that fit "
            "wrote"
        ) from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters"} <= set(
        checkpoint
    ):
        raise InputError(
            f"{path}: not a checkpoint of a matcher (it lacks state_dict or hyper_parameters); "
            "give a .ckpt that fit wrote"
        )
    weights, settings = checkpoint["state_dict"], checkpoint["hyper_parameters"]
    if not isinstance(settings, dict) or not isinstance(weights, dict):
        raise InputError(
            f"{path}: not a checkpoint of a matcher (state_dict and hyper_parameters must be "
            "dictionaries); give a .ckpt that fit wrote"
        )
    for key, value in weights.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {key} is not a tensor; give a .ckpt that fit wrote")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(
                f"{path}: {key} contains NaN or infinite values, because training diverged; give "
                "an earlier checkpoint, or train with a smaller --model.lr"
            )
    return checkpoint


def trained_settings(
    path: str | Path, checkpoint: dict[str, Any], kind: type[nn.Module]
) -> dict[str, Any]:
    """Return the hyperparameters that a checkpoint was trained with.

    Args:
        path: Path of the checkpoint, for messages.
        checkpoint: Its content.
        kind: Class of the matcher.

    Raises:
        InputError: If ``kind`` cannot be built from them.
    """
    settings = {
        str(k): v for k, v in checkpoint["hyper_parameters"].items() if not str(k).startswith("_")
    }
    known = constructor_options(kind)
    for key, value in settings.items():
        if key not in known or (value is None and known[key].default is not None):
            reason = f"is {value}" if key in known else f"is not a setting of {kind.__name__}"
            raise InputError(
                f"{path}: its setting {key} {reason}; give a checkpoint of this version"
            )
    try:
        kind(**settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: its settings do not fit {kind.__name__} ({first_line(error)}); give another "
            "checkpoint"
        ) from error
    return settings


def load_trained(kind: type[AnyModel], path: str | Path, settings: dict[str, Any]) -> AnyModel:
    """Return a matcher with the weights of a checkpoint, on the CPU and in evaluation mode.

    Args:
        kind: Class of the matcher.
        path: A checkpoint written by ``patchmatch fit``.
        settings: Options that the checkpoint does not store.

    Raises:
        InputError: If the checkpoint is missing, damaged or of another class.
    """
    checkpoint = read_checkpoint(path)
    check_class(path, checkpoint, kind.__name__)
    matcher = kind(**(trained_settings(path, checkpoint, kind) | settings))
    check_weights(path, checkpoint, matcher)
    matcher.load_state_dict(checkpoint["state_dict"])
    return matcher.eval()


def check_class(path: str | Path, checkpoint: dict[str, Any], expected: str) -> None:
    """Raise InputError unless a checkpoint is of the class named ``expected`` (no module path)."""
    found = str(checkpoint["hyper_parameters"].get("_class_path", "")).rpartition(".")[2]
    if found != expected:
        raise InputError(
            f"{path}: expected a checkpoint of {expected}, got one of "
            f"{found or 'an unknown class'}; give a checkpoint of {expected}, or a configuration "
            f"for {found or 'that class'}"
        )


def check_weights(path: str | Path, checkpoint: dict[str, Any], model: nn.Module) -> None:
    """Raise InputError unless names and shapes of the tensors are those of ``model``."""
    found = {k: tuple(v.shape) for k, v in checkpoint["state_dict"].items()}
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    names = found.keys() | expected.keys()
    wrong = sorted(name for name in names if found.get(name) != expected.get(name))
    if wrong:
        key = wrong[0]
        if key not in expected:
            difference = "the model has no such tensor"
        elif key not in found:
            difference = "missing"
        else:
            difference = f"expected shape {expected[key]}, got {found[key]}"
        raise InputError(
            f"{path}: {len(wrong)} tensors do not fit the model; {key}: {difference}; train again, "
            "or give a checkpoint of this version"
        )


def require_writable_logs(trainer: Trainer) -> None:
    """Raise InputError if a folder of checkpoints and metrics cannot be written.

    Args:
        trainer: The trainer, before it fits.
    """
    for logger in trainer.loggers:
        if logger.save_dir is not None:
            require_writable_folder(logger.save_dir)
