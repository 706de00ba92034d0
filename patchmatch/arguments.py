"""The arguments of the command line, checked and put in order before torch is imported."""

import os
from collections.abc import Iterator, Sequence, Set
from difflib import get_close_matches
from pathlib import Path

import yaml

from patchmatch.core.configs import config_names, find_config, read_config
from patchmatch.core.errors import InputError, first_line

SUBCOMMANDS = ("fit", "validate", "test", "predict")
SYNONYMS = {"train": "fit", "eval": "test", "evaluate": "test", "match": "predict"}

#: Values of --ckpt_path that are not paths.
CHECKPOINT_NAMES = ("best", "last", "hpc", "registry", "null")

_COMMON = ("config", "model", "data", "trainer", "seed_everything", "print_config")
_STAGE = ("ckpt_path", "weights_only")
#: First part of every option of a subcommand, and top level of its configurations.
OPTIONS = {
    "fit": (*_COMMON, *_STAGE),
    "validate": (*_COMMON, *_STAGE, "verbose"),
    "test": (*_COMMON, *_STAGE, "verbose"),
    "predict": (*_COMMON, *_STAGE, "writer", "return_predictions"),
}
_CONFIG = ("-c", "--config")
_CLASSES = ("--model", "--data", "--writer")
_HELP = ("-h", "--help")


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Check the arguments of a command, and return them in the order in which they are parsed.

    Names of configurations become paths. Configurations come first, then the classes, then their
    options, so that an option has its effect wherever it stands. Prepared arguments are not
    changed when they are prepared again.

    Args:
        arguments: The arguments without the name of the program.

    Raises:
        InputError: If the subcommand, an option or a configuration is missing or unknown.
    """
    if not arguments:
        raise InputError(f"no subcommand given; use one of {', '.join(SUBCOMMANDS)}")
    subcommand, *rest = arguments
    _require_subcommand(subcommand, rest)
    groups = list(_options(rest))
    if any(words[0] in _HELP for words in groups):
        return [subcommand, "--help"]
    if any(words[0].partition("=")[0].endswith(".help") for words in groups):
        return list(arguments)
    for words in groups:
        _require_option(words, subcommand)
        _require_text(words)
        if len(words) == 1 and "=" not in words[0] and words[0] != "--print_config":
            raise InputError(f"{words[0]}: no value given; add it, as in {words[0]} VALUE")
        if _name(words) == "--ckpt_path":
            _require_checkpoint(words)
    configs = [words for words in groups if _name(words) in _CONFIG]
    classes = [words for words in groups if _name(words) in _CLASSES]
    others = [words for words in groups if words not in configs and words not in classes]
    found = [find_config(_value(words), subcommand) for words in configs]
    given = {key for path in found for key in _keys(path, subcommand)}
    given |= {_name(words).removeprefix("--") for words in (*configs, *classes)}
    _require_classes(subcommand, given)
    resolved = [["--config", str(path)] for path in found]
    return [subcommand, *(word for words in (*resolved, *classes, *others) for word in words)]


def _options(words: Sequence[str]) -> Iterator[list[str]]:
    """Split arguments into options, each with the value that follows it.

    Raises:
        InputError: If a value has no option.
    """
    group: list[str] = []
    for word in words:
        is_option = word.startswith(("--", "-c=")) or word in (*_HELP, "-c")
        if is_option:
            if group:
                yield group
            group = [word]
        elif group and len(group) == 1 and "=" not in group[0]:
            group.append(word)
        else:
            raise InputError(
                f"{word}: has no option; give its name, for example --data.predict_dir {word}"
            )
    if group:
        yield group


def _name(words: Sequence[str]) -> str:
    return words[0].partition("=")[0]


def _value(words: Sequence[str]) -> str:
    value = words[1] if len(words) > 1 else words[0].partition("=")[2]
    if not value:
        raise InputError(f"{words[0]}: no configuration given; give a file or a name")
    return value


def _require_subcommand(word: str, rest: Sequence[str]) -> None:
    if word in SUBCOMMANDS:
        return
    if word.startswith("-"):
        found = next((other for other in rest if other in SUBCOMMANDS), "predict")
        example = f"patchmatch {found} {word} ..."
        raise InputError(f"{word}: options follow the subcommand; use {example}")
    near = SYNONYMS.get(word) or next(iter(get_close_matches(word, SUBCOMMANDS)), None)
    guess = f"did you mean {near}?" if near else f"use one of {', '.join(SUBCOMMANDS)}"
    raise InputError(f"{word}: no such subcommand; {guess}")


def _require_option(words: Sequence[str], subcommand: str) -> None:
    name = _name(words)
    root = name.lstrip("-").partition(".")[0].removesuffix("+")
    if name in _CONFIG or root in OPTIONS[subcommand]:
        return
    raise InputError(
        _unknown(name, f"--{root}", [f"--{o}" for o in OPTIONS[subcommand]], subcommand)
    )


def _require_text(words: Sequence[str]) -> None:
    """Raise InputError if another option than a path of data or writer is not UTF-8."""
    if _name(words).startswith(("--data.", "--writer.")):
        return
    for word in words:
        if any("\udc80" <= character <= "\udcff" for character in word):  # bytes
            raise InputError(
                f"{word}: is not UTF-8 text, as this option must be; rename it, or change to that "
                "folder and give a relative path"
            )


def _unknown(name: str, root: str, options: Sequence[str], subcommand: str) -> str:
    near = get_close_matches(root, options, n=1)
    rest = name.removeprefix(root)
    guess = f"did you mean {near[0]}{rest}?" if near else f"it has {', '.join(options)}"
    return f"{name}: {subcommand} has no such option; {guess}"


def _require_checkpoint(words: Sequence[str]) -> None:
    path = words[1] if len(words) > 1 else words[0].partition("=")[2]
    # Not Path.exists, which raises an error for a name that is too long.
    if path not in CHECKPOINT_NAMES and not os.path.exists(path):  # noqa: PTH110
        raise InputError(f"{path}: no such checkpoint; look under data/output/lightning_logs")


def _require_classes(subcommand: str, given: Set[str]) -> None:
    """Raise InputError unless both a matcher and data are given, by options or configurations."""
    missing = [name for name in ("model", "data") if name not in given]
    if not missing:
        return
    names = ", ".join(config_names(subcommand))
    if given & {"-c", "config"}:
        raise InputError(
            f"--{missing[0]}: no class given; add it to the configuration or to the command"
        )
    if len(missing) == 1:
        raise InputError(
            f"--{missing[0]}: no class given; give it, or a configuration: -c FILE or -c NAME, "
            f"one of {names}"
        )
    raise InputError(
        f"no configuration given, nor --model and --data; give -c FILE or -c NAME, one of {names}"
    )


def _keys(path: Path, subcommand: str) -> list[str]:
    """Return the options in a configuration.

    Raises:
        InputError: If it is not a YAML mapping of options of the subcommand.
    """
    text = read_config(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"{path}{line}: is not valid YAML ({problem}); correct it") from error
    if node is None:
        raise InputError(f"{path}: is empty; give a configuration")
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}: expected options such as model: and data:; correct it")
    options = OPTIONS[subcommand]
    names = []
    for key, _ in node.value:
        name = str(key.value).partition(".")[0]
        names.append(name)
        if name not in options:
            problem = _unknown(name, name, options, subcommand)
            raise InputError(f"{path} line {key.start_mark.line + 1}: {problem}")
    return names
