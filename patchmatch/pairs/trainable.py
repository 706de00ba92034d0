"""Base of the pair matchers that are trained on generated pairs."""

import abc
from typing import Any, ClassVar

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
