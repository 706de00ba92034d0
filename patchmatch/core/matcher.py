"""Base class of matchers and helpers of their steps."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from patchmatch.core.clips import Clip
from patchmatch.core.data import data_modules_for
from patchmatch.core.errors import InputError

Features = TypeVar("Features")

#: ``Matcher.predict_source`` of matchers of frames.
FRAMES_OPTION = "--data.predict_dir FOLDER_OR_VIDEO"

#: Method and purpose of each stage of a run.
STEPS = {
    "fit": ("training_step", "train on"),
    "validate": ("validation_step", "be validated on"),
    "test": ("test_step", "be tested on"),
    "predict": ("predict_step", "match"),
}


class Matcher(LightningModule):
    """Base of every matcher.

    A subclass calls ``self.save_hyperparameters()`` first, and takes only plain values (numbers,
    strings, tuples, None), so that its checkpoints open with ``torch.load(weights_only=True)``.
    Settings that only matter for prediction are not saved (``ignore=``), because the settings of a
    checkpoint override the command line.

    Attributes:
        lr: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
    """

    lr: float
    weight_decay: float

    #: File in ``patchmatch/weights`` with the pretrained weights of the class.
    shipped_weights: ClassVar[str | None] = None
    #: File in ``configs`` for prediction with the class, if there is one.
    predict_config: ClassVar[str | None] = None
    #: Option that sets the checkpoint in that configuration.
    predict_checkpoint: ClassVar[str] = "--ckpt_path"
    #: Whether coordinates need float32, so that ``--trainer.precision 16-true`` is an error.
    needs_float32: ClassVar[bool] = False
    #: Whether a batch depends on those before: a run is then resumed from its first batch.
    is_sequential: ClassVar[bool] = False
    #: Option that sets the input in that configuration.
    predict_source: ClassVar[str] = ""

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Check the type of the batches; this hook runs first, before any data are prepared."""
        if (stage := self.trainer.state.fn) is not None:
            require_data_fits(self, getattr(self.trainer, "datamodule", None), stage.value)
        return super().configure_callbacks()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the class path, so that the CLI accepts checkpoints trained from Python."""
        hyper_parameters = checkpoint.get("hyper_parameters")
        if hyper_parameters is not None:
            path = f"{type(self).__module__}.{type(self).__qualname__}"
            hyper_parameters.setdefault("_class_path", path)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a one-cycle learning rate schedule, updated every step."""
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        steps = max(2, int(self.trainer.estimated_stepping_batches))  # OneCycleLR needs two
        # A tenth is warm-up. With ten steps that is one step, and torch would divide by zero.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, steps, pct_start=0.09 if steps == 10 else 0.1
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def require_data_fits(matcher: LightningModule, data: object, stage: str) -> None:
    """Raise InputError unless the batches of a data module have the type that a matcher expects.

    The type is the annotation of ``batch`` in the step of the matcher, and the ``batch_type`` of
    the data module. Nothing is checked where one of them is missing, or where no data module of
    the package has batches of that type.

    Args:
        matcher: Any matcher.
        data: Any data module, or None.
        stage: ``fit``, ``validate``, ``test`` or ``predict``; the matcher must have its step.
    """
    step, purpose = STEPS[stage]
    name = type(matcher).__name__
    if stage != "predict" and getattr(type(matcher), step) is getattr(LightningModule, step):
        raise InputError(
            f"{name} cannot {purpose} any data: it has no {step}; give another --model"
        )
    expected = inspect.get_annotations(getattr(type(matcher), step)).get("batch")
    given = vars(type(data)).get("batch_type")
    if expected is None or given in (None, expected) or not (fitting := data_modules_for(expected)):
        return
    raise InputError(
        f"{name} cannot {purpose} {type(data).__name__}: expected batches of {expected.__name__}, "
        f"got {given.__name__}; give --data {' or '.join(fitting)}"
    )


def drop_small_pairs(batch: Clip, block: int) -> None:
    """Remove the pairs of a clip whose frames are smaller than a block, with a note in the clip.

    Args:
        batch: The clip; its pairs and notes are modified.
        block: Side of a block in pixels.
    """
    pairs = []
    for first, second in batch["pairs"]:
        height, width = batch["frames"][first].shape[-2:]
        if min(height, width) >= block:
            pairs.append((first, second))
            continue
        batch["notes"].append(
            f"{batch['source']}: frames of {width}x{height} pixels are smaller than a block of "
            f"{block}x{block} and were skipped; give larger frames or a smaller --model.block"
        )
    batch["pairs"], batch["notes"] = pairs, list(dict.fromkeys(batch["notes"]))


def pairs_of_features(
    pairs: Sequence[tuple[int, int]], extract_features: Callable[[int], Features]
) -> Iterator[tuple[Features, Features]]:
    """Yield the features of both frames of each pair.

    They are extracted once per frame and released after its last pair.

    Args:
        pairs: Indices of the earlier and the later frame.
        extract_features: Returns the features of a frame, by its index.
    """
    last_use = {index: i for i, pair in enumerate(pairs) for index in pair}
    features: dict[int, Features] = {}
    for i, pair in enumerate(pairs):
        for index in pair:
            if index not in features:
                features[index] = extract_features(index)
        yield features[pair[0]], features[pair[1]]
        features = {index: kept for index, kept in features.items() if last_use[index] > i}
