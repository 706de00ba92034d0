import inspect

import numpy as np
import pytest
import torch

from patchmatch.core.integers import coerce_integers


@coerce_integers
def given(first, *, second=None):
    """What came."""
    return first, second


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, torch.tensor])
def test_whole_numbers_become_ints(kind):
    for answer in given(kind(7), second=kind(8)):
        assert type(answer) is int
    assert given(kind(7), second=[1, kind(2)]) in ((7, (1, 2)), (7, [1, 2]))


@pytest.mark.parametrize(
    "value", [True, 2.5, np.float32(2), "7", None, torch.tensor(7.0), torch.tensor(True), [1, 2]]
)
def test_the_rest_comes_as_it_is(value):
    assert given(value, second=value) == (value, value)
    assert given(value)[0] is value


def test_arrays_and_tensors_are_no_numbers():
    for value in (np.arange(6).reshape(2, 3), torch.arange(1)):
        assert given(value)[0] is value


def test_name_and_options_stay():
    assert (given.__name__, given.__doc__) == ("given", "What came.")
    assert list(inspect.signature(given).parameters) == ["first", "second"]
