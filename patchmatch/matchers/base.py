"""What every matcher shares."""

from typing import Any, ClassVar

from pytorch_lightning import LightningModule


class Matcher(LightningModule):
    """Base of every matcher.

    A subclass calls ``self.save_hyperparameters()`` first, and takes only plain values (numbers,
    strings, tuples, None), so that its checkpoints open with ``torch.load(weights_only=True)``.
    Settings of prediction that say nothing of how the matcher was trained are left out of it
    (``ignore=``), because a checkpoint overrules the command line.
    """

    #: Weights that the package ships for the class, a file in ``patchmatch/weights``.
    shipped_weights: ClassVar[str | None] = None
    #: Configuration that predicts with it, a file in ``configs``.
    predict_config: ClassVar[str] = "config_patch_match_predict.yaml"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the class, so that the CLI opens a checkpoint that was trained from Python."""
        hyper_parameters = checkpoint.get("hyper_parameters")
        if hyper_parameters is not None:
            path = f"{type(self).__module__}.{type(self).__qualname__}"
            hyper_parameters.setdefault("_class_path", path)
