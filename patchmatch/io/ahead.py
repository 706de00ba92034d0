"""Iteration that runs ahead of its consumer in a thread."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def read_ahead(items: Iterable[Item], count: int = 4) -> Iterator[Item]:
    """Yield the same items in order, while a thread computes the next ones.

    An error of the iterable is raised after the items before it.

    Args:
        items: The items; only the thread iterates over them.
        count: Items that are computed ahead.
    """
    iterator = iter(items)
    pool = ThreadPoolExecutor(1, "read_ahead")
    try:
        waiting = deque(pool.submit(next, iterator, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, iterator, _END))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
