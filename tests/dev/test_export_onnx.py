"""The exported network gives onnxruntime the same numbers as torch, whatever the frame size."""

import importlib.util
from pathlib import Path

import pytest

from patchmatch import load_shift_matcher

SCRIPT = Path(__file__).parents[2] / "dev" / "export_onnx.py"


@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_agrees_with_torch_on_frames_of_several_sizes(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    spec = importlib.util.spec_from_file_location("export_onnx", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    net = load_shift_matcher(device="cpu").net
    script.export(net, tmp_path / "shift.onnx", 26, 13)
    assert [p.name for p in tmp_path.iterdir()] == ["shift.onnx"]
    assert script.largest_difference(net, tmp_path / "shift.onnx", 26, 13) < 1e-5
    other = load_shift_matcher(device="cpu").net
    other.bank.weight.data.add_(0.05)
    assert script.largest_difference(other, tmp_path / "shift.onnx", 26, 13) > 1e-4
