"""The order of files whose names contain numbers."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePath
from typing import TypeVar

File = TypeVar("File", bound=PurePath)

#: Digits, possibly with points or commas in between; a sign does not follow a digit.
_NUMBER = re.compile(r"((?<![0-9])[-+\u2212])?([0-9]+(?:[.,][0-9]+)*)")
_MINUS = ("-", "\u2212")

#: Text and numbers, in turn; the name itself makes the keys of different names different.
Key = tuple[tuple[str | int | Decimal, ...], str]


def natural_key(name: str) -> Key:
    """Return the sort key of the natural order: ``frame_2`` before ``frame_10``.

    Case and leading zeros are compared only if the names are otherwise equal. Different names have
    different keys, so the order is the same on every system. Signs and decimals are those of a
    folder, which ``order_files`` knows.

    Args:
        name: A file name or a part of one.
    """
    parts = re.split(r"([0-9]+)", name.casefold())  # digits at odd indices
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def order_files(paths: Iterable[File]) -> tuple[list[File], str | None]:
    """Order the files of a folder by their names, as a person would.

    Names are compared in parts, numbers by their value: 2 before 10, -2 before -1, and 0.25 before
    0.5. What a hyphen and a point mean is decided by all names that are equal except for numbers.
    A hyphen is a sign if a number without it stands at the same place in another name (-1, 0, 1),
    or if the name begins with it. A point separates decimals, unless one of them ends in a zero as
    only a counter does (1.9, 1.10). The suffix is compared last: a.png, b.jpg, c.png.

    Args:
        paths: Files of one folder.

    Returns:
        The files in order, and a warning if the order of some of them is ambiguous.
    """
    paths = sorted(paths, key=lambda path: path.name)
    stems = {path: _parse(path.stem) for path in paths}
    alike: dict[tuple[str, ...], list[_Stem]] = defaultdict(list)
    for stem in stems.values():
        alike[stem.texts].append(stem)
    doubts = [doubt for group in alike.values() for doubt in _decide(group)]
    # The stem first, so that frame.png comes before frame1.png.
    ordered = sorted(
        paths, key=lambda path: (stems[path].key(), natural_key(path.stem), natural_key(path.name))
    )
    doubts += _equal([(stems[path].key(), path.name) for path in ordered])
    return ordered, doubts[0] if doubts else None


@dataclass
class _Stem:
    """The parts of a name.

    Attributes:
        texts: What is before, between and behind the numbers, without signs.
        numbers: Sign (may be empty) and digits of each number, as they are written.
        signed: The positions of the numbers whose hyphen is a sign.
        counted: The positions of the numbers whose point separates two counters.
    """

    texts: tuple[str, ...]
    numbers: list[tuple[str, str]]
    signed: set[int] = field(default_factory=set)
    counted: set[int] = field(default_factory=set)

    def key(self) -> tuple[str | int | Decimal, ...]:
        """Return texts and numbers in turn."""
        parts: list[str | int | Decimal] = []
        for position, (text, (sign, digits)) in enumerate(
            zip(self.texts, self.numbers, strict=False)
        ):
            separator = sign if sign and position not in self.signed else ""
            negative = sign in _MINUS and position in self.signed
            whole, *fraction = re.split("[.,]", digits)
            parts.append(text + separator)
            if position in self.counted:
                parts += [int(whole), ".", int(fraction[0]) if fraction else -1]
            else:
                value = Decimal(".".join([whole, *fraction]))
                parts.append(-value if negative else value)
        return (*parts, self.texts[-1])


def _parse(stem: str) -> _Stem:
    texts, numbers, end = [], [], 0
    name = stem.casefold()
    for match in _NUMBER.finditer(name):
        sign, digits = match[1] or "", match[2]
        if len(re.findall("[.,]", digits)) > 1:  # a date or a version: counters
            first, *others = re.findall("[0-9]+", digits)
            between = re.findall("[.,]", digits)
            texts += [name[end : match.start()], *between]
            numbers += [(sign, first), *(("", other) for other in others)]
        else:
            texts.append(name[end : match.start()])
            numbers.append((sign, digits))
        end = match.end()
    return _Stem((*texts, name[end:]), numbers)


def _decide(group: Sequence[_Stem]) -> list[str]:
    """Decide what signs and points mean in names that are equal but for their numbers.

    Returns:
        A text for each position at which names are ambiguous.
    """
    doubts = []
    for position, text in enumerate(group[0].texts[:-1]):
        numbers = [stem.numbers[position] for stem in group]
        signs = {sign for sign, _ in numbers}
        hyphens = signs.intersection(_MINUS)
        leading = position == 0 and not text
        if len(signs) > len(hyphens) or leading:
            for stem in group:
                stem.signed.add(position)
        wholes = [int(re.split("[.,]", digits)[0]) for _, digits in numbers]
        if signs == hyphens and len(set(wholes)) > 1 and not text[-1:].isalnum():
            read = "as signs, -2 before -1" if leading else "as separators, -1 before -2"
            doubts.append(f"hyphens before numbers are read {read}")
        fractions = [re.split("[.,]", digits)[1:] for _, digits in numbers]
        parts = [fraction[0] for fraction in fractions if fraction]
        if len({len(part) for part in parts}) < 2:
            continue
        counter = any(len(part) > 1 and part.endswith("0") for part in parts)
        decimal = any(part.startswith("0") and len(part) > 1 for part in parts)
        if counter and not decimal:
            for stem in group:
                stem.counted.add(position)
            continue
        values = [Decimal(digits.replace(",", ".")) for _, digits in numbers]
        if counter or not (decimal or _is_even(values)):
            doubts.append("points in numbers are read as decimal points, 1.12 before 1.5")
    return doubts


def _is_even(values: Sequence[Decimal]) -> bool:
    """Return whether numbers follow each other in even steps, up to their rounding, as times do."""
    ordered = sorted(values)
    steps = [later - value for value, later in itertools.pairwise(ordered)]
    digits = max(-int(value.as_tuple().exponent) for value in values)
    return len(steps) > 2 and max(steps) - min(steps) <= Decimal(1).scaleb(-digits)


def _equal(named: Sequence[tuple[tuple[str | int | Decimal, ...], str]]) -> list[str]:
    """Return a text for the first two names that differ in nothing that is compared."""
    for (key, name), (other, following) in itertools.pairwise(named):
        if key == other:
            return [f"{name} and {following} have the same number or name"]
    return []
