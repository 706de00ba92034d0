"""The parser of the command line: texts that YAML would convert, and errors of one line."""

import inspect
import json
import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser

from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.core.registration import constructor_options, subclasses
from patchmatch.writing.writer import PredictionWriter

#: The options that give a class, and the base of the classes.
GROUPS: dict[str, type] = {"model": Matcher, "data": MatchingData, "writer": PredictionWriter}

LONGEST_VALUE = 80  # characters of a value in a message
_UNKNOWN_OPTION = re.compile(
    r'Parser key "(data|model|writer)".*class_path \'([\w.]+)\':\s+Option \'(\w+)\' is not',
    re.DOTALL,
)
_BYTES = range(0xDC80, 0xDD00)  # for the bytes of a path that is not UTF-8, see os.fsdecode
_IN_YAML = 0x10FE80  # private characters, which YAML allows, in their place
_UNRECOGNIZED = "unrecognized arguments: "
_KEY = re.compile(r'^( *)(?:- )?Parser key "([^"]+)"')
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value.*)?$")
_GOT = re.compile(r"(?:Got|Given) value: (.*)")
_NESTED = re.compile(r"NestedArg\(key='[^']*', val=(.*)\)")
_NO_CLASS = re.compile(r"Expected a dot import path|Problem with given class_path|valid subclass")
_NO_HELP = re.compile(r"(--\w+)\.help: Expected a dot import path string: (.*)")
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
    "list": "a list",
    "tuple": "a list",
    "Sequence": "a list",
}


class MatchingParser(LightningArgumentParser):
    """A parser that reports each error as an ``InputError`` of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise InputError with a message of one line."""
        # Parsers of the options of a class raise errors that the outer parser collects.
        if not self.exit_on_error or "JSONARGPARSE_DEBUG" in os.environ:
            super().error(message, ex)
        if message.startswith(_UNRECOGNIZED):
            option = message.removeprefix(_UNRECOGNIZED).split()[0].partition("=")[0]
            known = [name for name in self._option_string_actions if name.startswith("--")]
            near = get_close_matches(option, known, n=3)
            guess = f"did you mean {' or '.join(near)}?" if near else "see --help all"
            raise InputError(f"{option}: no such option; {guess}") from ex
        raise InputError(one_line(message)) from ex


def one_line(message: str) -> str:
    """Return an error message of jsonargparse as one line: the option, what is wrong, what to do.

    Its own messages list, in a dozen lines, every type that does not fit.
    """
    if found := _UNKNOWN_OPTION.search(message):
        group, path, option = found.groups()
        return _unknown_option(group, _class(path), option)
    if found := _NO_HELP.fullmatch(message.strip()):
        return _unknown_class(*found.groups())
    lines = message.splitlines()
    keys = [(number, match) for number, line in enumerate(lines) if (match := _KEY.match(line))]
    if not keys:
        return " ".join(message.split())
    option = "--" + ".".join(dict.fromkeys(match[2] for _, match in keys))
    option = option.replace(".init_args.", ".")
    number, match = keys[-1]
    inner = [line for line in lines[number + 1 :] if len(line) - len(line.lstrip()) > len(match[1])]
    value = _value("\n".join(inner))
    if _NO_CLASS.search("\n".join(inner)):
        return _unknown_class(option, value)
    expected = [found[1] for line in inner if (found := _EXPECTED.search(line))]
    if not expected:
        return f"{option}: {' '.join(' '.join(inner).split()) or ' '.join(message.split())}"
    types = list(dict.fromkeys(_type(text) for text in expected if "subclass" not in text))
    advice = ""
    if "text" in types:
        advice = f"; put it in quotes, as YAML reads it otherwise: '{value}'"
    elif "a list" in types and not value.startswith("["):
        advice = f"; write it in brackets: '[{value}]'"
    return f"{option}: expected {' or '.join(types)}, got {value}{advice}"


def protect_texts(arguments: Sequence[str]) -> list[str]:
    """Protect the values of text options that YAML would read as null, a comment or a list.

    Args:
        arguments: The arguments as ``prepare_arguments`` returns them.

    Returns:
        The same arguments, where such an option is given as ``--data.init_args={"KEY": "TEXT"}``,
        and bytes that are not UTF-8, which YAML does not allow, are as in ``restore_bytes``.
    """
    to_yaml = {byte: _IN_YAML + i for i, byte in enumerate(_BYTES)}
    words = iter([word.translate(to_yaml) for word in arguments])
    options, protected = _text_options(), []
    for word in words:
        name, equals, value = word.partition("=")
        name = name.replace(".init_args.", ".")
        if name not in options:
            protected.append(word)
            continue
        value = value if equals else next(words, "")
        group, _, key = name.lstrip("-").partition(".")
        if _is_text_in_yaml(value):
            protected.append(f"{name}={value}")
        elif not options[name]:
            protected.append(f"--{group}.init_args={json.dumps({key: value}, ensure_ascii=False)}")
        elif value in ("null", ""):
            protected.append(f"{name}={value}")
        else:  # jsonargparse reads a text that may be null once more; these are paths
            protected.append(f"{name}=./{value}")
    return protected


def restore_bytes(value: Any) -> Any:
    """Return the value of an option with bytes that are not UTF-8 as ``os.fsencode`` takes them."""
    if isinstance(value, str):
        return value.translate({_IN_YAML + i: byte for i, byte in enumerate(_BYTES)})
    return [restore_bytes(part) for part in value] if isinstance(value, list) else value


def has_bytes(arguments: Sequence[str]) -> bool:
    """Return whether an argument is not UTF-8."""
    return any(ord(character) in _BYTES for word in arguments for character in word)


def instantiate(kind: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return an instance of a class whose options came through ``protect_texts``."""
    return kind(*args, **{name: restore_bytes(value) for name, value in options.items()})


def require_texts(config: Namespace) -> None:
    """Raise InputError if a text option of a class is empty or null, which YAML makes of ``#x``.

    Args:
        config: The parsed options of a subcommand.
    """
    for group in GROUPS:
        chosen = config.get(group)
        if not chosen or "class_path" not in chosen:
            continue
        values = chosen.get("init_args") or Namespace()
        for name, option in constructor_options(_class(chosen.class_path)).items():
            if option.annotation is not str or name not in values or values[name] == option.default:
                continue
            if values[name] is None or not values[name].strip():
                found = "null" if values[name] is None else "nothing"
                raise InputError(
                    f"--{group}.{name}: expected text, got {found}; give a value, in quotes if it "
                    "is a name such as '#1' or 'null'"
                )


def _text_options() -> dict[str, bool]:
    """Return the options that every class takes as text, and whether null is allowed."""
    types: dict[str, set[Any]] = {"--ckpt_path": {str | None}}
    for group, base in GROUPS.items():
        for kind in subclasses(base):
            for name, option in constructor_options(kind).items():
                types.setdefault(f"--{group}.{name}", set()).add(option.annotation)
    return {
        name: str | None in found for name, found in types.items() if found <= {str, str | None}
    }


def _is_text_in_yaml(value: str) -> bool:
    """Return whether YAML reads a value as the same text, or not at all."""
    if re.fullmatch(r"[-+.\d]+e[-+]?\d+", value, re.IGNORECASE):  # a number in YAML 1.2
        return False
    try:
        return yaml.safe_load(value) == value
    except (yaml.YAMLError, ValueError):
        return True


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _unknown_option(group: str, kind: type, option: str) -> str:
    valid = list(constructor_options(kind))
    near = get_close_matches(option, valid, n=3, cutoff=0.5) or valid
    names = ", ".join(f"--{group}.{key}" for key in near)
    return f"--{group}.{option}: {kind.__name__} has no such option; did you mean {names}?"


def _unknown_class(option: str, value: str) -> str:
    base = GROUPS.get(option.lstrip("-"))
    if base is None:
        return f"{option}: no class {value}; give the name or the import path of a class"
    concrete = (kind for kind in subclasses(base) if not inspect.isabstract(kind))
    names = sorted({kind.__name__ for kind in concrete if kind.__module__ != base.__module__})
    names = [name for name in names if not name.startswith("_")]
    near = get_close_matches(value.rpartition(".")[2], names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(near)}?" if near else f"use one of {', '.join(names)}"
    return f"{option}: no class {value}; {guess}"


def _type(text: str) -> str:
    if text.startswith("typing.Literal["):
        return text.removeprefix("typing.Literal[").rstrip("]").replace("'", "")
    name = text.removeprefix("<class '").removesuffix("'>").rpartition(".")[2]
    return _TYPES.get(name, name)


def _value(text: str) -> str:
    found = _GOT.findall(text)
    value = found[-1] if found else "nothing"
    nested = _NESTED.fullmatch(value)
    value = (nested[1] if nested else value).strip("'")
    return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "..."
