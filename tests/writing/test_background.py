"""Calls that run in a thread while the next batch is predicted."""

import threading

import pytest
import torch

from patchmatch.writing.background import Background


def test_calls_run_in_order_one_at_a_time_beside_the_main_thread():
    background, seen = Background(), []
    go_on = threading.Event()

    def call(index: int) -> None:
        if index == 0:
            assert go_on.wait(10)  # would wait for ever in the main thread
        assert torch.is_inference_mode_enabled()
        seen.append(index)

    background.run(call, 0)
    assert seen == []
    go_on.set()
    for index in (1, 2, 3):
        background.run(call, index)
        assert seen[:index] == list(range(index))
    background.wait()
    assert seen == [0, 1, 2, 3]
    background.close()


def test_an_error_is_raised_once_by_the_next_call_which_does_not_start():
    background, seen = Background(), []

    def fail() -> None:
        raise ValueError("full disk")

    background.run(fail)
    with pytest.raises(ValueError, match="full disk"):
        background.run(seen.append, 1)
    background.wait()
    background.close()
    assert seen == []
    background.run(seen.append, 2)  # a closed one begins anew
    background.wait()
    background.close()
    assert seen == [2]
