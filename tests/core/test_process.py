import threading

import pytest
import torch

from patchmatch.core.process import compiled_threads, in_threads, threads_for_compiled_loops


@pytest.fixture
def three_threads(torch_threads):
    torch_threads(3)
    with threads_for_compiled_loops():
        yield


@pytest.mark.usefixtures("three_threads")
def test_items_are_distributed_over_threads_and_results_are_in_order():
    meeting = threading.Barrier(3, timeout=30)  # passes only if three threads meet

    def square(item):
        if item < 3:
            meeting.wait()
        assert not torch.is_grad_enabled()
        assert compiled_threads() == (3 if threading.current_thread() is caller else 1)
        return item**2

    caller = threading.current_thread()
    assert in_threads(square, range(20)) == [item**2 for item in range(20)]


@pytest.mark.usefixtures("three_threads")
def test_an_error_of_any_thread_is_raised_after_all_have_stopped():
    meeting, stopped = threading.Barrier(3, timeout=30), []

    def fail(item):
        meeting.wait()
        try:
            if item == 1:
                raise ValueError("second item")
        finally:
            stopped.append(item)

    with pytest.raises(ValueError, match="second item"):
        in_threads(fail, range(3))
    assert sorted(stopped) == [0, 1, 2]


def test_without_threads_of_compiled_loops_the_caller_does_all():
    callers = in_threads(lambda _: threading.get_ident(), range(3))
    assert callers == [threading.get_ident()] * 3
    assert in_threads(lambda item: item, []) == []
