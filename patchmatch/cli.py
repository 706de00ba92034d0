"""The command line: fit, validate, test and predict for every system, on top of LightningCLI."""

import logging
import os
import re
import sys
import warnings
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

# Without it every mistake is preceded by a hundred lines of Trainer options.
USAGE = "patchmatch {} [-c CONFIG] [--model CLASS] [--data CLASS] [--KEY VALUE ...]"


# jsonargparse wraps this in a dozen lines about unions and their subtypes
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
    """A parser that answers a misspelt option in one line, with those that are near."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise InputError for an option that a class does not have."""
        told = UNKNOWN_OPTION.search(message)
        if told is None or "JSONARGPARSE_DEBUG" in os.environ:
            super().error(message, ex)
        room, path, option = told.groups()
        module, _, name = path.rpartition(".")
        valid = list(signature(getattr(import_module(module), name)).parameters)
        near = get_close_matches(option, valid, n=3, cutoff=0.5) or valid
        raise InputError(
            f"--{room}.{option}: {name} has no such option; near it: "
            + ", ".join(f"--{room}.{key}" for key in near)
        )


class MatchingCLI(LightningCLI):
    """LightningCLI with a writer for predictions, shipped weights and readable errors."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Give ``predict`` its ``--writer``."""
        if parser.usage == USAGE.format("predict"):
            parser.add_lightning_class_args(PredictionWriter, "writer", subclass_mode=True)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, find the weights, and remember what was asked for before they are merged in."""
        super().parse_arguments(parser, args)
        self.checkpoint: dict[str, Any] | None = None
        config = self.config.get(self.config.get("subcommand"))
        if config is not None:
            self._find_checkpoint(config)
        self.asked: Namespace = deepcopy(self.config)

    def _find_checkpoint(self, config: Namespace) -> None:
        module, _, name = config.model.class_path.rpartition(".")
        kind = getattr(import_module(module), name)
        shipped = kind.shipped_weights
        if config.ckpt_path is None and self.config.subcommand != "fit" and shipped:
            config.ckpt_path = str(shipped_checkpoint(shipped))
            rank_zero_info(f"no --ckpt_path given: using the weights that ship with {name}")
        if config.ckpt_path in ("best", "last", "hpc", "registry"):
            if self.config.subcommand == "fit" and config.ckpt_path != "best":
                return
            raise InputError(
                f"--ckpt_path {config.ckpt_path}: nothing was trained in this run; give the path "
                "of a .ckpt, which fit names when it ends"
            )
        if config.ckpt_path is None:
            return
        self.checkpoint = read_checkpoint(config.ckpt_path)
        check_class(config.ckpt_path, self.checkpoint, name)
        trained_settings(config.ckpt_path, self.checkpoint, kind)

    def before_instantiate_classes(self) -> None:
        """Let the loggers of a run share its folder, and tell what the checkpoint overrules."""
        self._share_version()
        self._tell_overruled()

    def _share_version(self) -> None:
        """Give loggers of the same folder the same version, which each would count by itself."""
        loggers = self._get(self.config, "trainer.logger")
        for logger in loggers if isinstance(loggers, list) else []:
            options = logger.get("init_args", Namespace())
            if "version" in options and options.version is None:
                folder = Path(options.save_dir or ".", options.name or "")
                taken = [p.name.removeprefix("version_") for p in folder.glob("version_*")]
                options.version = max((int(n) for n in taken if n.isdigit()), default=-1) + 1

    def _tell_overruled(self) -> None:
        asked = vars(self._get(self.asked, "model").as_flat())
        used = vars(self._get(self.config, "model").as_flat())
        changed = [
            f"{key.removeprefix('init_args.')}: {asked.get(key)} -> {value}"
            for key, value in used.items()
            if key.startswith("init_args.") and value != asked.get(key)
        ]
        if changed and self._get(self.config, "ckpt_path") is not None:
            rank_zero_warn(f"the checkpoint overrules the model's settings: {', '.join(changed)}")

    def instantiate_classes(self) -> None:
        """Build everything; a value that a constructor refuses ends in one line, not a trace."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse wraps whatever a constructor raised; only a ValueError is the user's
            if not isinstance(error.__cause__, ValueError) or "JSONARGPARSE_DEBUG" in os.environ:
                raise
            raise InputError(str(error.__cause__)) from error
        precision = str(self.trainer.precision)
        if type(self.model).needs_float32 and precision.endswith("-true") and precision[:2] != "32":
            raise InputError(
                f"--trainer.precision {precision}: a {type(self.model).__name__} computes places "
                "in float32; give 32-true, or a mixed precision"
            )
        if (writer := self._get(self.config_init, "writer")) is not None:
            require_writer_fits(
                writer, self.model
            )  # before Lightning misses a method of the matcher
        if self.checkpoint is not None:
            check_weights(self._get(self.config, "ckpt_path"), self.checkpoint, self.model)

    def after_fit(self) -> None:
        """Say where the best checkpoint is and what to run next."""
        saver = self.trainer.checkpoint_callback
        if isinstance(saver, ModelCheckpoint) and saver.best_model_path:
            best = os.path.relpath(saver.best_model_path)
            score = "" if saver.best_model_score is None else f" ({saver.best_model_score:.4f})"
            say(
                f"best checkpoint: {best}{score}\n"
                f"next: patchmatch predict -c configs/{type(self.model).predict_config} "
                f"{type(self.model).predict_checkpoint} {best} {type(self.model).predict_source}"
            )


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


@rank_zero_only
def say(text: str) -> None:
    """Print the last word of a run."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(args: ArgsType = None) -> None:
    """Run one subcommand; the user's mistakes end with one line and exit code 2.

    Args:
        args: The command line without the program's name; ``sys.argv[1:]`` if None.
    """
    # advertisements of Lightning's makers
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_no_tip)
    with warnings.catch_warnings():
        # Lightning's own use of torch, of no concern to its users
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\)")
        warnings.filterwarnings("ignore", "Found .* in eval mode")  # what is frozen has to be
        if args is not None:  # called from a script or a test, whose own arguments are no concern
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
