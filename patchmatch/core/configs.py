"""The configurations of the package, their short names, and the text of any configuration."""

import codecs
import re
from difflib import get_close_matches
from pathlib import Path

from patchmatch.core.errors import InputError

_PACKAGE = Path(__file__).parents[1]
_PREFIX = "config_"
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_VERB = re.compile(r"_(predict|train)(?=_|$)")


def config_folder() -> Path:
    """Return the folder of the configurations: inside an installed package, beside a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def short_name(file_name: str) -> str:
    """Return the name for ``-c``: ``motion`` for ``config_motion_predict.yaml``."""
    return _VERB.sub("", _full_name(file_name))


def config_names(subcommand: str) -> dict[str, Path]:
    """Return the configurations of a subcommand by their short names, in alphabetical order.

    Args:
        subcommand: ``predict``; any other one uses the configurations of ``fit``.
    """
    return {
        short_name(path.name): path
        for path in sorted(config_folder().glob(f"{_PREFIX}*.yaml"))
        if _is_for(path, subcommand)
    }


def find_config(value: str, subcommand: str) -> Path:
    """Return the configuration file that ``-c`` gives as a path or as a name.

    Args:
        value: A file; or the name of a configuration of the package, ``motion_predict`` or short
            ``motion``, with or without ``config_`` and ``.yaml``.
        subcommand: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        InputError: If there is no such file or configuration, or it is for other subcommands.
    """
    path = Path(value)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError:  # too long for a name
        is_file = is_folder = False
    if is_file:
        return path
    if is_folder:
        raise InputError(f"-c {value}: expected a file, got a folder; give a YAML file in it")
    name, names = _full_name(path.name), config_names(subcommand)
    if path.name == value:
        for short, known in names.items():
            if name in (short, _full_name(known.name)):
                return known
        for other in ("predict", "fit"):
            for short, known in config_names(other).items():
                if name in (short, _full_name(known.name)):
                    raise InputError(
                        f"-c {value}: is a configuration of {other}, not of {subcommand}; give "
                        f"one of {', '.join(names)}"
                    )
    near = [short for short, known in names.items() if name == _full_name(known.name)]
    near = near or get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f"did you mean -c {' or -c '.join(near)}? Names" if near else "names"
    raise InputError(
        f"-c {value}: no such file or configuration; {guess} of configurations are "
        f"{', '.join(names)}"
    )


def read_config(path: Path) -> str:
    """Return the text of a configuration.

    Raises:
        InputError: If the file cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); check the file") from error
    for mark, name in _ENCODINGS.items():
        if content.startswith(mark):
            raise InputError(f"{path}: is {name} text; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line}: is not UTF-8 text, but Latin-1, Windows-1252 or another "
            f"encoding; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(
            f"{path}: contains zero bytes, as UTF-16 text without a byte order mark does; save it "
            "as UTF-8"
        )
    return text


def _full_name(file_name: str) -> str:
    return file_name.removesuffix(".yaml").removesuffix(".yml").removeprefix(_PREFIX)


def _is_for(path: Path, subcommand: str) -> bool:
    return ("_train" in path.stem) != (subcommand == "predict")
