"""What matchers of two pictures share that are trained by pairs made automatically."""

from typing import Any, ClassVar

from patchmatch.core.matcher import Matcher


class TrainedPairs(Matcher):
    """Base of what is trained, in front of a ``PairMatcher``, which is not.

    Only what the weights depend on goes into a checkpoint; how pictures are matched stays the
    choice of the command line.
    """

    #: Settings that a checkpoint keeps.
    trained: ClassVar[frozenset[str]] = frozenset()

    configure_optimizers = Matcher.configure_optimizers

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out how pictures are matched, and name the class."""
        super().on_save_checkpoint(checkpoint)
        settings = checkpoint.get("hyper_parameters", {})
        for name in [key for key in settings if key[0] != "_" and key not in self.trained]:
            del settings[name]
        # with it load_from_checkpoint makes what the class path names; without it, options that a
        # constructor hands on would be given the class path as well
        settings.setdefault("_instantiator", "pytorch_lightning.cli.instantiate_module")
