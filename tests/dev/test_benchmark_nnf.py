from pathlib import Path

import benchmark_nnf
import cv2
import numpy as np
import pytest
import torch

SLOW_METHODS = ["PatchMatch", "numba", "faiss", "preset balanced", "preset accurate"]


pytestmark = pytest.mark.usefixtures("torch_threads")  # the benchmark sets their number


def test_a_folder_of_pairs_is_measured(tmp_path, capsys):
    scene = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    for name, image in (("image_1", scene[:, :-4]), ("image_2", scene[:, 4:])):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), image)
    benchmark_nnf.main(["--pairs", str(tmp_path), "--full", "--without", *SLOW_METHODS])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "1.000" in line] == ["preset", "exact"]


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="memory is measured on Linux only"
)
def test_memory_is_measured_in_a_fresh_process():
    images = torch.rand(2, 1, 3, 100, 120)
    pair = benchmark_nnf.Pair("a", *images)
    patches = 2 * 94 * 114 * 147 * 4  # bytes
    ballast = torch.ones(2**26)  # of this process, which must not be included
    found = benchmark_nnf.peak_memory("preset fast", pair)
    assert patches < found < patches + 2e8  # MKL is loaded as well
    assert ballast.all()
