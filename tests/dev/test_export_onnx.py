"""onnxruntime and torch agree on exported networks, for several frame sizes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from patchmatch import load_motion_matcher, load_shift_matcher

SCRIPT = Path(__file__).parents[2] / "dev" / "export_onnx.py"


@pytest.fixture
def script():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    spec = importlib.util.spec_from_file_location("export_onnx", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_agrees_with_torch_on_shifts(script, tmp_path):
    shifts = script.Shifts(load_shift_matcher(device="cpu").matcher.net)
    script.export(shifts, tmp_path / "shift.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["shift.onnx"]
    assert script.differences(shifts, tmp_path / "shift.onnx").max() < 1e-5
    shifts.net.profiles.data.add_(0.05)
    assert script.differences(shifts, tmp_path / "shift.onnx").max() > 1e-4


@pytest.mark.slow  # the export takes a minute
def test_onnxruntime_agrees_with_torch_on_motion(script, tmp_path):
    path = tmp_path / "motion.onnx"
    command = [sys.executable, str(SCRIPT), "--matcher", "motion", "--output", str(path)]
    # A subprocess does not check shape annotations, which fail on the symbolic sizes of the export.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    motions = script.Motions(load_motion_matcher(device="cpu").matcher.net)
    assert script.differences(motions, path).quantile(0.99) < 1e-3
    motions.net.doubt[-1].weight.data.neg_()
    assert script.differences(motions, path).max() > 1e-2
