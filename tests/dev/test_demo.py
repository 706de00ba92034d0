import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from patchmatch.frames.cows.files import write_sequence
from patchmatch.frames.cows.sequence import render_sequence

SCRIPT = Path(__file__).parents[2] / "dev" / "demo.py"
HEADER = "source,frame0,frame1,x0,y0,x1,y1,dx,dy,kind,score\n"
BOX = "cows,frame_0,frame_1,0,0,26,26,1,0,one_pixel,0.5000\n"


def load_script():
    """Import ``dev/demo.py``; dev is not a package."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = load_script()


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Replace the command line: record the commands, and write the files that they would write."""
    monkeypatch.chdir(tmp_path)
    commands = []

    def run(command, **_):
        commands.append(command)
        verb = command[3]
        code = run.codes.get(verb, 0)
        if isinstance(code, BaseException):
            raise code
        if code == 0 and verb not in run.idle:
            writers[verb]()
        return subprocess.CompletedProcess(command, code)

    def write_checkpoints():
        folder = demo.LOGS / f"version_{len(list(demo.LOGS.glob('*')))}" / "checkpoints"
        folder.mkdir(parents=True)
        for name in ("epoch_03_accuracy_0.9800.ckpt", "last.ckpt"):
            (folder / name).touch()

    def write_boxes():
        write_sequence(render_sequence(frames=2, height=200, width=300), demo.COWS)
        demo.OUTPUT.mkdir(parents=True, exist_ok=True)
        (demo.OUTPUT / "changes.csv").write_text(HEADER + BOX)

    writers = {"fit": write_checkpoints, "predict": write_boxes}
    run.codes, run.idle, run.commands = {}, set(), commands
    monkeypatch.setattr(demo.subprocess, "run", run)
    return run


def test_the_checkpoint_of_this_run_is_used_and_evaluated(calls, capsys):
    old = demo.LOGS / "version_0" / "checkpoints" / "epoch_09_accuracy_0.9999.ckpt"
    old.parent.mkdir(parents=True)
    old.touch()
    assert demo.main([]) == 0
    fit, predict = calls.commands
    configs = SCRIPT.parents[1] / "configs"
    best = demo.LOGS / "version_1" / "checkpoints" / "epoch_03_accuracy_0.9800.ckpt"
    start = [sys.executable, "-m", "patchmatch"]
    assert fit == [*start, "fit", "--config", str(configs / "config_patch_match_train.yaml")]
    assert predict == [
        *(*start, "predict", "--config", str(configs / "config_patch_match_predict_cows.yaml")),
        *("--ckpt_path", str(best), "--writer.output_path", "data/output/demo"),
        *("--writer.overwrite", "true"),
    ]
    output = capsys.readouterr().out
    for word in ("precision", "recall", "0.0 %", str(best), "topk_diffs", "tensorboard"):
        assert word in output


def test_quick_trains_for_one_short_epoch(calls):
    assert demo.main(["--quick"]) == 0
    options = ["--trainer.max_epochs", "1", "--data.train_pairs", "2560"]
    assert calls.commands[0][-4:] == options


@pytest.mark.parametrize(
    ("verb", "code", "expected", "count"),
    [("fit", 2, 2, 1), ("predict", 3, 3, 2), ("fit", -9, 137, 1)],
)
def test_a_failing_step_ends_the_demo_with_its_code(calls, capsys, verb, code, expected, count):
    calls.codes[verb] = code
    assert demo.main([]) == expected
    assert len(calls.commands) == count
    output = f"demo: {verb} failed with exit code {expected}; see its message above\n"
    assert capsys.readouterr().err == output


def test_a_keyboard_interrupt_ends_the_demo_in_one_line(calls, capsys):
    calls.codes["predict"] = KeyboardInterrupt()
    assert demo.main([]) == 130
    assert capsys.readouterr().err == "demo: interrupted by the keyboard\n"


def test_training_without_a_checkpoint_ends_the_demo(calls, capsys):
    calls.idle.add("fit")
    assert demo.main([]) == 1
    assert "demo: training wrote no checkpoint to" in capsys.readouterr().err
    assert len(calls.commands) == 1


def test_missing_ground_truth_ends_the_demo_in_one_line(calls, capsys):
    calls.idle.add("predict")
    assert demo.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("demo: ")
    assert "truth_masks.npz: no such file" in line


@pytest.mark.slow
def test_the_quick_demo_writes_all_results(tmp_path):
    command = [sys.executable, str(SCRIPT), "--quick"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "recall" in done.stdout
    assert len(list((tmp_path / "data" / "output" / "demo" / "topk_diffs").glob("*.png"))) == 11
