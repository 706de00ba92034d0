"""Options of a class and of the bases that it passes options on to."""

from patchmatch.core.registration import constructor_options
from patchmatch.pairs.loftr.matcher import SE2LoFTRMatcher


class Base:
    """Has options of its own."""

    def __init__(self, size: int = 1, name: str = "base") -> None:
        self.size, self.name = size, name


class Passes(Base):
    """Has an option more, and another default."""

    def __init__(self, name: str = "passes", more: float = 0.5, **options: int) -> None:
        super().__init__(name=name, **options)
        self.more = more


class Silent(Passes):
    """Has no constructor of its own."""


class Closed(Passes):
    """Takes nothing else."""

    def __init__(self, only: int = 3) -> None:
        super().__init__()
        self.only = only


def test_options_of_bases_are_included_only_where_they_are_passed_on():
    assert list(constructor_options(Base)) == ["size", "name"]
    assert list(constructor_options(Silent)) == ["name", "more", "size"]
    assert constructor_options(Silent)["name"].default == "passes"
    assert list(constructor_options(Closed)) == ["only"]


def test_options_are_found_through_several_bases():
    names = list(constructor_options(SE2LoFTRMatcher))
    assert names[0] == "fields"
    assert {"channels", "weight_decay", "tile", "max_size", "align"} <= set(names)
    assert "options" not in names
