"""Iteration that runs ahead of its consumer."""

import threading
from collections.abc import Iterator

import pytest

from patchmatch.io import read_ahead


def test_items_come_in_order_from_a_thread_that_runs_ahead_by_the_count():
    computed: list[int] = []
    threads = set()

    def items() -> Iterator[int]:
        for index in range(10):
            threads.add(threading.get_ident())
            computed.append(index)
            yield index

    seen = []
    for item in read_ahead(items(), count=3):
        seen.append(item)
        assert len(computed) <= len(seen) + 3
    assert seen == computed == list(range(10))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_comes_after_the_items_before_it():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_an_abandoned_iteration_ends_its_thread():
    before = threading.active_count()
    ahead = read_ahead(iter(range(100)))
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert list(read_ahead([])) == []
