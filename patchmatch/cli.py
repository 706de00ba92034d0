"""Command line of every system, fit, validate, test and predict, built on LightningCLI."""

import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)

import patchmatch.systems  # noqa: F401  registers every class that --model, --data and --writer name
from patchmatch.core.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    shipped_checkpoint,
    trained_settings,
)
from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.writing.registry import require_writer_fits
from patchmatch.writing.writer import PredictionWriter

# The usage that argparse generates lists a hundred lines of Trainer options before each error.
USAGE = "patchmatch {} [-c CONFIG] [--model CLASS] [--data CLASS] [--KEY VALUE ...]"


# jsonargparse reports this inside a dozen lines about unions and their subtypes.
UNKNOWN_OPTION = re.compile(
    r'Parser key "(data|model|writer)".*class_path \'([\w.]+)\':\s+Option \'(\w+)\' is not',
    re.DOTALL,
)


class SaveFitConfig(SaveConfigCallback):
    """Save the configuration of training runs only, so that predict never overwrites it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save ``config.yaml`` when a training run starts."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class MatchingParser(LightningArgumentParser):
    """A parser that reports a misspelled option in one line, with the closest options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise InputError if a class has no option of the given name."""
        found = UNKNOWN_OPTION.search(message)
        if found is None or "JSONARGPARSE_DEBUG" in os.environ:
            super().error(message, ex)
        group, path, option = found.groups()
        module, _, name = path.rpartition(".")
        valid = list(signature(getattr(import_module(module), name)).parameters)
        near = get_close_matches(option, valid, n=3, cutoff=0.5) or valid
        raise InputError(
            f"--{group}.{option}: {name} has no such option; did you mean "
            + ", ".join(f"--{group}.{key}" for key in near)
            + "?"
        )


class MatchingCLI(LightningCLI):
    """LightningCLI with a prediction writer, shipped weights and one-line errors."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--writer`` to ``predict``."""
        if parser.usage == USAGE.format("predict"):
            parser.add_lightning_class_args(PredictionWriter, "writer", subclass_mode=True)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, find the checkpoint, and keep the settings from before its merge."""
        super().parse_arguments(parser, args)
        self.checkpoint: dict[str, Any] | None = None
        config = self.config.get(self.config.get("subcommand"))
        if config is not None:
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
            rank_zero_info(f"no --ckpt_path given: using the shipped weights of {name}")
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
            rank_zero_warn(f"the checkpoint overrides settings of the model: {', '.join(changed)}")

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

    def after_fit(self) -> None:
        """Print the best checkpoint and the command that predicts with it."""
        saver = self.trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.best_model_path:
            best = os.path.relpath(saver.best_model_path)
            score = "" if saver.best_model_score is None else f" ({saver.best_model_score:.4f})"
            print_once(
                f"best checkpoint: {best}{score}\n"
                f"next: patchmatch predict -c configs/{type(self.model).predict_config} "
                f"{type(self.model).predict_checkpoint} {best} {type(self.model).predict_source}"
            )


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


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


@rank_zero_only
def print_once(text: str) -> None:
    """Print a text on the first process only."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(args: ArgsType = None) -> None:
    """Run one subcommand. A mistake of the user ends in one line and exit code 2.

    Args:
        args: Command line arguments; ``sys.argv[1:]`` if None.
    """
    # hides the advertisements of Lightning
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_no_tip)
    with warnings.catch_warnings(), stop_on_sigterm():
        # a deprecated call in Lightning itself
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\)")
        warnings.filterwarnings("ignore", "Found .* in eval mode")  # by intent
        if args is not None:  # called from a script or a test
            warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
        try:
            MatchingCLI(
                Matcher,
                MatchingData,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                save_config_callback=SaveFitConfig,
                seed_everything_default=0,
                parser_kwargs={
                    name: {"usage": USAGE.format(name)} for name in LightningCLI.subcommands()
                },
                parser_class=MatchingParser,
                args=args,
            )
        except InputError as error:
            if "JSONARGPARSE_DEBUG" in os.environ:
                raise
            sys.stderr.write(f"patchmatch: error: {error}\n")
            sys.exit(2)
