"""A run is resumed only with the settings that determine its output."""

import inspect

import pytest

import patchmatch.systems  # noqa: F401
from patchmatch.core.data import PredictionData
from patchmatch.core.matcher import Matcher
from patchmatch.core.registration import subclasses
from patchmatch.writing.settings import _IGNORED, _constructor_settings
from patchmatch.writing.writer import PredictionWriter

# The weights that the file contains are compared, not its name.
NOT_COMPARED = {*_IGNORED, "weights"}
KINDS = sorted(
    {
        kind
        for base in (Matcher, PredictionData, PredictionWriter)
        for kind in subclasses(base)
        if kind.__module__.startswith("patchmatch.") and not inspect.isabstract(kind)
    }
    - {Matcher, PredictionData},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_all_options_are_settings_of_a_run(kind):
    options = {
        parameter.name
        for base in kind.__mro__
        if "__init__" in vars(base) and base.__module__.startswith("patchmatch.")
        for parameter in inspect.signature(base).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    own = inspect.signature(kind).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
        options = {parameter.name for parameter in own}
    assert options - NOT_COMPARED <= _constructor_settings(kind()).keys()
