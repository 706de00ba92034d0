"""Kernels where numba cannot keep, or must not or cannot compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import torch
from patchmatch import load_motion_matcher
frame = torch.rand(48, 64, generator=torch.Generator().manual_seed(0))
moved = load_motion_matcher(device="cpu").measure_motion(frame, frame.roll(1, 1), block=16)
print(moved[1, 2].round().int().tolist())
"""
LARGER = MEASURE.replace("block=16", "block=24").replace("moved[1, 2]", "moved[1, 1]")


def measured(code=MEASURE, **environment):
    """Measure in a process of its own, and return what it printed and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


FORK = """
import multiprocessing
import torch
from patchmatch import load_motion_matcher
torch.set_num_threads(2)
# on a larger frame OpenMP, which is not made to be forked, would have work
frame = torch.rand(160, 160, generator=torch.Generator().manual_seed(0))
matcher = load_motion_matcher(device="cpu")
def measure(_):
    torch.set_num_threads(2)
    return matcher.measure_motion(frame, frame.roll(1, 1), block=16)
here = measure(0)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(torch.equal(here, pool.map_async(measure, [0]).get(timeout=60)[0]))
"""


LATE = """
import threading
import torch
from patchmatch import load_motion_matcher
torch.set_num_threads(2)
frame = torch.rand(200, 200, generator=torch.Generator().manual_seed(0))
matcher = load_motion_matcher(device="cpu")
before = matcher.measure_motion(frame, frame.roll(1, 1), block=16)
def measure():
    threading.main_thread().join()
    print(torch.equal(before, matcher.measure_motion(frame, frame.roll(1, 1), block=16)))
threading.Thread(target=measure).start()
"""


def test_motion_is_measured_during_interpreter_shutdown():
    assert measured(LATE)[0] == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="only there processes are forked safely")
def test_forked_process_has_its_own_threads():
    answer, _ = measured(FORK)
    assert answer == "True"


@pytest.mark.slow
def test_compiled_code_is_cached_and_a_damaged_cache_is_ignored(tmp_path):
    answer, said = measured(NUMBA_CACHE_DIR=str(tmp_path))
    assert answer == "[1, 0]"
    assert said.count("half a minute, once") == 1
    kept = sorted(tmp_path.rglob("*.nb[ic]"))
    assert len(kept) == 30  # index and code of each of 15 kernels
    assert "compiling" not in measured(NUMBA_CACHE_DIR=str(tmp_path))[1]
    assert "compiling" not in measured(LARGER, NUMBA_CACHE_DIR=str(tmp_path))[1]
    next(path for path in kept if path.suffix == ".nbi").write_bytes(b"")
    [*_, code] = (path for path in kept if path.suffix == ".nbc")
    code.write_bytes(b"\x80\x04")
    assert measured(NUMBA_CACHE_DIR=str(tmp_path))[0] == answer


BASE = """
from patchmatch.motion.kernels.compilation import jit
@jit
def number():
    return {number}
"""
HELPING = """
from base import number
from patchmatch.motion.kernels.compilation import jit
@jit
def twice():
    return 2 * number()
"""
CALLING = """
from helping import twice
from patchmatch.motion.kernels.compilation import kernel
@kernel
def call(found):
    found[0] = twice()
"""


def test_cache_is_invalid_after_a_change_in_another_file(tmp_path):
    """Numba by itself looks at the file of the kernel only."""
    answers = []
    for number in (1, 1, 20):
        for name, text in (("base", BASE), ("helping", HELPING), ("calling", CALLING)):
            path = tmp_path / f"{name}.py"
            if not path.exists() or name == "base":
                path.write_text(text.format(number=number))
        code = """
import numpy as np
from calling import call
found = np.zeros(1)
call(found)
print(found[0], sum(call.compiled.stats.cache_hits.values()))
"""
        answers.append(measured(code, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[3]}")[0])
    assert answers == ["2.0 0", "2.0 1", "40.0 0"]


def test_motion_is_measured_with_numba_disabled():
    answer, said = measured(NUMBA_DISABLE_JIT="1")
    assert answer == "[1, 0]"
    assert "compiling" not in said


def test_motion_is_measured_without_numba_with_a_warning():
    answer, said = measured("import sys; sys.modules['numba'] = None\n" + MEASURE)
    assert answer == "[1, 0]"
    assert "numba cannot be used" in said
