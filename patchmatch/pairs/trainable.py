"""Bases of the pair matchers that are trained."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from patchmatch.core.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    shipped_checkpoint,
)
from patchmatch.core.matcher import Matcher
from patchmatch.pairs.correspondences import CorrespondenceMatcher


class TrainablePairMatcher(CorrespondenceMatcher, abc.ABC):
    """Base of the pair matchers that ``fit`` can train.

    A checkpoint keeps only the settings that the weights depend on. The settings of matching stay
    those of the command line.
    """

    #: Names of the settings that a checkpoint keeps.
    checkpoint_settings: ClassVar[frozenset[str]] = frozenset()

    configure_optimizers = Matcher.configure_optimizers

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove the settings of matching, and add the name of the class."""
        super().on_save_checkpoint(checkpoint)
        settings = checkpoint.get("hyper_parameters", {})
        for name in list(settings):
            if not name.startswith("_") and name not in self.checkpoint_settings:
                del settings[name]
        # without it, load_from_checkpoint passes the class path to constructors with **options
        settings.setdefault("_instantiator", "pytorch_lightning.cli.instantiate_module")


class PretrainedPairMatcher(TrainablePairMatcher, abc.ABC):
    """Base of the trainable matchers whose weights may also come from a published file.

    Before the first match, the weights are loaded that the options give: those of a published file
    or of the package. A checkpoint replaces both.

    Attributes:
        is_loaded: Whether there are weights to match with.
    """

    #: Checkpoint in ``patchmatch/weights``.
    shipped: ClassVar[str]

    is_loaded: bool = False

    @abc.abstractmethod
    def load_pretrained(self) -> None:
        """Load the weights that the options give; without any, call ``load_shipped``."""

    @abc.abstractmethod
    def initialize(self) -> None:
        """Load what a training from nothing starts with, such as a pretrained backbone."""

    def load_shipped(self) -> None:
        """Load the weights of the package.

        Raises:
            InputError: If they are missing, damaged or of other settings.
        """
        path = shipped_checkpoint(self.shipped)
        checkpoint = read_checkpoint(path)
        check_class(path, checkpoint, type(self).__name__)
        check_weights(path, checkpoint, self)
        self.load_state_dict(checkpoint["state_dict"])

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the weights of a checkpoint, with those of the backbone."""
        self.is_loaded = True
        return super().load_state_dict(state_dict, *args, **kwargs)

    def prepare(self) -> None:
        """Load the weights that the options give, unless there are others."""
        if not self.is_loaded:
            self.load_pretrained()
            self.is_loaded = True

    def setup(self, stage: str) -> None:
        """Load the initial weights of a training from nothing; a checkpoint is loaded later."""
        if stage == "fit" and not self.is_loaded:
            self.initialize()

    def on_fit_start(self) -> None:
        """Keep the weights that are about to be trained."""
        self.is_loaded = True

    def on_predict_start(self) -> None:
        """Load the weights before the first pair, after those of a checkpoint."""
        self.prepare()

    on_validation_start = on_test_start = on_predict_start
