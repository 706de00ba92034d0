"""What every matcher shares."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from patchmatch.core.clips import Clip
from patchmatch.core.data import data_modules_for
from patchmatch.core.errors import InputError

Described = TypeVar("Described")

#: What takes the batches in each stage of a run, and what it does with them.
STEPS = {
    "fit": ("training_step", "learn from"),
    "validate": ("validation_step", "be measured on"),
    "test": ("test_step", "be measured on"),
    "predict": ("predict_step", "match"),
}


class Matcher(LightningModule):
    """Base of every matcher.

    A subclass calls ``self.save_hyperparameters()`` first, and takes only plain values (numbers,
    strings, tuples, None), so that its checkpoints open with ``torch.load(weights_only=True)``.
    Settings of prediction that say nothing of how the matcher was trained are left out of it
    (``ignore=``), because a checkpoint overrules the command line.

    Attributes:
        lr: Highest learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
    """

    lr: float
    weight_decay: float

    #: Weights that the package ships for the class, a file in ``patchmatch/weights``.
    shipped_weights: ClassVar[str | None] = None
    #: Configuration that predicts with it, a file in ``configs``.
    predict_config: ClassVar[str] = "config_patch_match_predict.yaml"
    #: Option that gives that configuration a checkpoint of the class.
    predict_checkpoint: ClassVar[str] = "--ckpt_path"
    #: Whether half precision of all weights would spoil its places between pixels.
    needs_float32: ClassVar[bool] = False
    #: Option that tells that configuration what to predict.
    predict_source: ClassVar[str] = "--data.predict_dir FOLDER_OR_VIDEO"

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Refuse data of another kind; it is the first hook, before any data are prepared."""
        if (stage := self.trainer.state.fn) is not None:
            require_data_fits(self, getattr(self.trainer, "datamodule", None), stage.value)
        return super().configure_callbacks()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the class, so that the CLI opens a checkpoint that was trained from Python."""
        hyper_parameters = checkpoint.get("hyper_parameters")
        if hyper_parameters is not None:
            path = f"{type(self).__module__}.{type(self).__qualname__}"
            hyper_parameters.setdefault("_class_path", path)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a learning rate that warms up and decays, step by step."""
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        steps = max(2, int(self.trainer.estimated_stepping_batches))  # one step would only end it
        # a tenth warms up; of ten steps that is the first alone, by whose length torch divides
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, steps, pct_start=0.09 if steps == 10 else 0.1
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def require_data_fits(matcher: LightningModule, data: object, stage: str) -> None:
    """Raise InputError if a data module gives other batches than a matcher takes.

    The matcher tells by the annotation ``batch`` of its step, the data module by ``gives``. Data
    that say nothing, and batches that none of our data give, are their author's business.

    Args:
        matcher: Any matcher.
        data: Any data module, or None.
        stage: ``fit``, ``validate``, ``test`` or ``predict``; a matcher that does not know how is
            refused as well.
    """
    step, does = STEPS[stage]
    name = type(matcher).__name__
    if stage != "predict" and getattr(type(matcher), step) is getattr(LightningModule, step):
        raise InputError(f"{name} cannot {does} any data: it has no {step}; give another --model")
    taken = inspect.get_annotations(getattr(type(matcher), step)).get("batch")
    given = vars(type(data)).get("batch_type")
    if taken is None or given in (None, taken) or not (fitting := data_modules_for(taken)):
        return
    raise InputError(
        f"{name} cannot {does} what {type(data).__name__} gives: batches of {given.__name__}, "
        f"where it takes {taken.__name__}; give --data {' or '.join(fitting)}"
    )


def require_block_fits(batch: Clip, block: int) -> None:
    """Raise InputError unless the frames of every pair of a clip are as large as a block."""
    for first, _ in batch["pairs"]:
        height, width = batch["frames"][first].shape[-2:]
        if min(height, width) < block:
            raise InputError(
                f"{batch['source']}: its frames of {width}x{height} pixels are smaller than a "
                f"block of {block}; give larger frames or a smaller --model.block"
            )


def pairs_of_features(
    pairs: Sequence[tuple[int, int]], describe: Callable[[int], Described]
) -> Iterator[tuple[Described, Described]]:
    """Yield what is known of both frames of each pair.

    A frame is described once, though it belongs to several pairs, and let go after the last one.

    Args:
        pairs: Indices of the earlier and the later frame.
        describe: What is known of a frame, by its index.
    """
    last_use = {time: i for i, pair in enumerate(pairs) for time in pair}
    described: dict[int, Described] = {}
    for i, pair in enumerate(pairs):
        for time in pair:
            if time not in described:
                described[time] = describe(time)
        yield described[pair[0]], described[pair[1]]
        described = {time: one for time, one in described.items() if last_use[time] > i}
