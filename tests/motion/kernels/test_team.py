"""Steps that several threads take together."""

import threading

import numpy as np
import pytest
import torch

from patchmatch.core.process import threads_for_compiled_loops
from patchmatch.motion.kernels.compiling import kernel
from patchmatch.motion.kernels.team import divided, join, run


@kernel
def pass_on(counters, values, parts, steps):
    """Add to each value that beside it, step by step: who hurries ahead reads an old one."""
    team = join(counters)
    for step in range(steps):
        before, after = values[step % 2], values[(step + 1) % 2]
        for n in divided(team, len(before), 3):
            after[n] = before[n] + before[(n + 1) % len(before)]
            parts[step, n] += 1


@kernel
def stumble(counters, at):
    """Fail in a part of the second step."""
    team = join(counters)
    for step in range(3):
        for n in divided(team, 100, 1):
            if step == 1 and n == at[0]:
                raise ValueError("a stone")


def together(threads, steps, size, call, told=None):
    """Return the values, and how often each was computed."""
    values, parts = np.ones((2, size), np.int64), np.zeros((steps, size), np.int64)
    counters = np.zeros(2 * (told or steps) + 1, np.int64)
    counters[-1] = threads
    call(counters, values, parts, steps)
    return values[steps % 2], parts


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_every_chunk_is_done_once_and_steps_do_not_overlap(count, size):
    def call(*given):
        others = [threading.Thread(target=pass_on, args=given) for _ in range(count - 1)]
        for other in others:
            other.start()
        pass_on(*given)
        for other in others:
            other.join()

    for _ in range(20):
        values, parts = together(count, 50, size, call)
        assert (values == 2**50).all()
        assert (parts == 1).all()


def test_single_thread_does_all_chunks():
    values, parts = together(8, 40, 100, pass_on)
    assert (parts == 1).all()
    assert len(set(values)) == 1


def test_too_many_steps_raise():
    with pytest.raises(IndexError, match="more steps than the team was told of"):
        together(1, 11, 10, pass_on, told=10)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with torch.no_grad(), threads_for_compiled_loops():
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_error_of_another_thread_is_raised_when_all_have_stopped():
    begun = threading.Barrier(3, timeout=30)

    def fail(counters):
        begun.wait()
        done.append(counters[-1])
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("not here")

    done = []
    with pytest.raises(ValueError, match="not here"):
        run(fail, 9, 1)
    assert done == [3, 3, 3]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("threads", [1, 3])
def test_no_thread_waits_for_a_failed_one(threads):
    for at in (0, 50, 99):
        with pytest.raises(ValueError, match="a stone"):
            run(stumble, threads, 3, np.array([at]))


@pytest.mark.usefixtures("three_threads")
def test_number_of_threads_is_limited_by_the_work():
    callers = []
    run(lambda counters: callers.append((threading.get_ident(), counters[-1])), 1, 1)
    assert callers == [(threading.get_ident(), 1)]
