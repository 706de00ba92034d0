import inspect

import numpy as np
import pytest
import torch

from patchmatch.core.integers import coerce_integers


@coerce_integers
def arguments(first, *, second=None):
    """The arguments."""
    return first, second


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, torch.tensor])
def test_integers_become_int(kind):
    for value in arguments(kind(7), second=kind(8)):
        assert type(value) is int
    assert arguments(kind(7), second=[1, kind(2)]) in ((7, (1, 2)), (7, [1, 2]))


@pytest.mark.parametrize(
    "value", [True, 2.5, np.float32(2), "7", None, torch.tensor(7.0), torch.tensor(True), [1, 2]]
)
def test_other_values_are_unchanged(value):
    assert arguments(value, second=value) == (value, value)
    assert arguments(value)[0] is value


def test_arrays_and_tensors_with_axes_are_unchanged():
    for value in (np.arange(6).reshape(2, 3), torch.arange(1)):
        assert arguments(value)[0] is value


def test_name_docstring_and_signature_are_kept():
    assert (arguments.__name__, arguments.__doc__) == ("arguments", "The arguments.")
    assert list(inspect.signature(arguments).parameters) == ["first", "second"]
