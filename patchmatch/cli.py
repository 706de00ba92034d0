"""Command line of every system, fit, validate, test and predict, built on LightningCLI."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from pytorch_lightning.trainer.states import TrainerFn

import patchmatch.systems  # noqa: F401  registers every class that --model, --data and --writer name
from patchmatch.arguments import prepare_arguments
from patchmatch.core.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    require_writable_logs,
    shipped_checkpoint,
    trained_settings,
)
from patchmatch.core.configs import short_name
from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError, first_line
from patchmatch.core.matcher import Matcher
from patchmatch.core.messages import inform, warn, warnings_as_lines, write_error
from patchmatch.parser import (
    MatchingParser,
    has_bytes,
    instantiate,
    protect_texts,
    require_texts,
)
from patchmatch.writing.registry import require_writer_fits
from patchmatch.writing.writer import PredictionWriter

# The usage that argparse generates lists a hundred lines of Trainer options before each error.
USAGE = "patchmatch {} [-c CONFIG] [--model CLASS] [--data CLASS] [--KEY VALUE ...]"


# Warnings of Lightning about itself, or about what is intended here.
LIGHTNING_NOTES = (
    ".*isinstance\\(treespec, LeafSpec\\)",  # a deprecated call in Lightning itself
    "Found .* in eval mode",
    "LightningCLI's args parameter is intended",
    "The dirpath has changed from",
    ".* does not have many workers",
    "The number of training batches .* is smaller than the logging interval",
)


class SaveFitConfig(SaveConfigCallback):
    """Save the configuration of training runs, which predict never overwrites.

    If a run is interrupted, print how to continue it.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save ``config.yaml`` when a training run starts."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print how to continue a training run that Ctrl+C or SIGTERM interrupts."""
        if trainer.state.fn != TrainerFn.FITTING or not isinstance(exception, KeyboardInterrupt):
            return
        next_step = "no checkpoint was saved"
        if last := getattr(trainer.checkpoint_callback, "last_model_path", ""):
            next_step = f"continue with --ckpt_path {os.path.relpath(last)}"
        rank_zero_only(warn)(f"interrupted in epoch {trainer.current_epoch + 1}; {next_step}")


class MatchingCLI(LightningCLI):
    """LightningCLI with a prediction writer, shipped weights and one-line errors."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--writer`` to ``predict``."""
        if parser.usage == USAGE.format("predict"):
            parser.add_lightning_class_args(PredictionWriter, "writer", subclass_mode=True)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, find the checkpoint, and keep the settings from before its merge."""
        super().parse_arguments(parser, protect_texts(args) if isinstance(args, list) else args)
        self.has_bytes = isinstance(args, list) and has_bytes(args)
        self.checkpoint: dict[str, Any] | None = None
        config = self.config.get(self.config.get("subcommand"))
        if config is not None:
            require_texts(config)
            self._find_checkpoint(config)
            if config.get("return_predictions", 0) is None:  # the default of predict
                config.return_predictions = False  # else all predictions stay in memory
        self.requested: Namespace = deepcopy(self.config)

    def _find_checkpoint(self, config: Namespace) -> None:
        module, _, name = config.model.class_path.rpartition(".")
        kind = getattr(import_module(module), name)
        shipped = kind.shipped_weights
        if config.ckpt_path is None and self.config.subcommand != "fit" and shipped:
            config.ckpt_path = str(shipped_checkpoint(shipped))
            rank_zero_only(inform)(f"no --ckpt_path given: using the shipped weights of {name}")
        if config.ckpt_path in ("best", "last", "hpc", "registry"):
            if self.config.subcommand == "fit" and config.ckpt_path != "best":
                return
            raise InputError(
                f"--ckpt_path {config.ckpt_path}: this run has no training; give the path of a "
                ".ckpt file, which fit prints when it ends"
            )
        if config.ckpt_path is None:
            return
        self.checkpoint = read_checkpoint(config.ckpt_path)
        check_class(config.ckpt_path, self.checkpoint, name)
        trained_settings(config.ckpt_path, self.checkpoint, kind)

    def before_instantiate_classes(self) -> None:
        """Let the loggers share a folder, and warn about settings that the checkpoint overrides."""
        self._share_version()
        self._warn_overridden()
        if self.has_bytes:
            with warnings.catch_warnings():  # deprecated, as Lightning's own calls of it
                warnings.simplefilter("ignore")
                for kind in (MatchingData, PredictionWriter):
                    self.parser.add_instantiator(instantiate, kind, prepend=True)

    def _share_version(self) -> None:
        """Give all loggers of a folder the same version; each counts by itself by default."""
        loggers = self._get(self.config, "trainer.logger")
        for logger in loggers if isinstance(loggers, list) else []:
            options = logger.get("init_args", Namespace())
            if "version" in options and options.version is None:
                folder = Path(options.save_dir or ".", options.name or "")
                used = [p.name.removeprefix("version_") for p in folder.glob("version_*")]
                options.version = max((int(n) for n in used if n.isdigit()), default=-1) + 1

    def _warn_overridden(self) -> None:
        requested = vars(self._get(self.requested, "model").as_flat())
        used = vars(self._get(self.config, "model").as_flat())
        changed = [
            f"{key.removeprefix('init_args.')}: {requested.get(key)} -> {value}"
            for key, value in used.items()
            if key.startswith("init_args.") and value != requested.get(key)
        ]
        if changed and self._get(self.config, "ckpt_path") is not None:
            text = f"the checkpoint overrides settings of the model: {', '.join(changed)}"
            rank_zero_only(warn)(text)

    def instantiate_classes(self) -> None:
        """Instantiate all classes; raise InputError instead of a constructor's ValueError."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse wraps every exception; only a ValueError is a mistake of the user.
            if not isinstance(error.__cause__, ValueError) or "JSONARGPARSE_DEBUG" in os.environ:
                raise
            raise InputError(str(error.__cause__)) from error
        precision = str(self.trainer.precision)
        if type(self.model).needs_float32 and precision.endswith("-true") and precision[:2] != "32":
            raise InputError(
                f"--trainer.precision {precision}: {type(self.model).__name__} computes positions "
                "in float32; use 32-true or a mixed precision"
            )
        if (writer := self._get(self.config_init, "writer")) is not None:
            require_writer_fits(writer, self.model)  # before Lightning reports a missing method
        if self.checkpoint is not None:
            check_weights(self._get(self.config, "ckpt_path"), self.checkpoint, self.model)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Instantiate the trainer; raise InputError for settings that Lightning does not accept."""
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError, ValueError) as error:
            if "JSONARGPARSE_DEBUG" in os.environ:
                raise
            text = first_line(error, None)
            raise InputError(f"--trainer: {text}") from error

    def before_fit(self) -> None:
        """Raise InputError, before the training, if its folder cannot be written."""
        require_writable_logs(self.trainer)

    def after_fit(self) -> None:
        """Print the best checkpoint and the command that predicts with it."""
        saver = self.trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.best_model_path:
            best = os.path.relpath(saver.best_model_path)
            score = "" if saver.best_model_score is None else f" ({saver.best_model_score:.4f})"
            print_result(f"best checkpoint: {best}{score}")
            kind = type(self.model)
            if kind.predict_config is not None:
                print_result(
                    f"next: patchmatch predict -c {short_name(kind.predict_config)} "
                    f"{kind.predict_checkpoint} {best} {kind.predict_source}"
                )


def _cli_of(subcommand: str) -> type[MatchingCLI]:
    """Return the command line with one subcommand: a parser takes 0.1 s to build."""
    chosen = {subcommand: LightningCLI.subcommands()[subcommand]}
    return type("SubcommandCLI", (MatchingCLI,), {"subcommands": staticmethod(lambda: chosen)})


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM, which docker, systemd and Slurm send, like Ctrl+C.

    Lightning only remembers it by default, and the run continues to its end.
    """

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide what Lightning prints about itself; its warnings about the run are kept."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for pattern in LIGHTNING_NOTES:
            warnings.filterwarnings("ignore", pattern)
        # Lightning calls functions that jsonargparse will remove.
        for library in ("jsonargparse", "pytorch_lightning"):
            warnings.filterwarnings("ignore", "", DeprecationWarning, library)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@rank_zero_only
def print_result(text: str) -> None:
    """Print a text on stdout, on the first process only."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(args: Sequence[str] | None = None) -> None:
    """Run one subcommand. A mistake of the user ends in one line and exit code 2.

    Args:
        args: Command line arguments; ``sys.argv[1:]`` if None.
    """
    with stop_on_sigterm(), warnings_as_lines(), _quiet_lightning():
        try:
            words = prepare_arguments(sys.argv[1:] if args is None else args)
            _cli_of(words[0])(
                Matcher,
                MatchingData,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                save_config_callback=SaveFitConfig,
                seed_everything_default=0,
                trainer_defaults={"enable_model_summary": False},
                parser_kwargs={
                    "prog": "patchmatch",
                    words[0]: {"prog": "patchmatch", "usage": USAGE.format(words[0])},
                },
                parser_class=MatchingParser,
                args=words,
            )
        except InputError as error:
            if "JSONARGPARSE_DEBUG" in os.environ:
                raise
            write_error("patchmatch", error)
            sys.exit(2)
