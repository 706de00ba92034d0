import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from program_runs import one_line

from patchmatch import load_shift_matcher
from patchmatch.cli import main
from patchmatch.core.checkpoints import shipped_checkpoint
from patchmatch.core.configs import find_config, short_name
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.shift.matcher import ShiftMatcher

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
PREDICT = str(CONFIGS / "config_patch_match_predict.yaml")
TRAIN = str(CONFIGS / "config_patch_match_train.yaml")
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = [
    *("--data.train_pairs=64", "--data.eval_pairs=32", "--data.canvases=5"),
    *("--data.batch_size=32", "--data.num_workers=0", "--trainer.accelerator=cpu"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    """The configurations write to data/output below the working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_frames(folder, count=3, size=(70, 90)):
    """A textured scene in which one square moves by two pixels a frame, another by one."""
    rng = np.random.default_rng(0)
    scene, fast, slow = (
        cv2.GaussianBlur(rng.integers(0, 256, s).astype(np.float32), (0, 0), 1.2)
        for s in (size, (30, 30), (30, 30))
    )
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        frame = scene.copy()
        frame[2:32, 10 + 3 * i : 40 + 3 * i] = fast
        frame[38:68, 10 + i : 40 + i] = slow
        cv2.imwrite(str(folder / f"frame_{i}.png"), frame.astype(np.uint8))
    return folder


def predict(folder, *args):
    main(["predict", "-c", PREDICT, f"--data.predict_dir={folder}", *QUIET, *args])


def refusal(capsys, *args):
    """Run a command that must end with exit code 2 and return its one line."""
    return one_line(capsys, lambda: main(list(args)))


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_parses(config, capsys):
    verb = "fit" if "train" in config.stem else "predict"
    with pytest.raises(SystemExit) as stop:
        main([verb, "-c", str(config), "--print_config"])
    assert stop.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_print_config_works_for_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "-c", TRAIN, "--print_config"])
    assert stop.value.code == 0
    assert "ShiftedDigits" in capsys.readouterr().out


def test_every_config_starts_with_its_command():
    for config in CONFIGS.glob("*.yaml"):
        words = config.read_text().splitlines()[0].removeprefix("# patchmatch ").split()
        assert words[1:3] == ["-c", short_name(config.name)]
        assert find_config(words[2], words[0]).samefile(config)


def config_comments():
    """Yield each configuration with the options that its comments name."""
    for config in sorted(CONFIGS.glob("*.yaml")):
        lines = [line for line in config.read_text().splitlines() if line.startswith("# ")]
        text = " ".join(lines).replace("# ", "")
        found = re.findall(r"(--(?!ckpt_path|config)[\w.]+) ([\w,./]+)", text)
        yield pytest.param(config, dict(found), id=config.stem)


@pytest.mark.parametrize(("config", "options"), list(config_comments()))
def test_options_in_the_comments_of_a_configuration_belong_to_it(config, options, capsys):
    verb = "fit" if "train" in config.stem else "predict"
    if verb == "fit":  # the comments also name the command that predicts
        options = {name: value for name, value in options.items() if value != "CHECKPOINT"}
    words = [word for name, value in options.items() for word in (name, value)]
    with pytest.raises(SystemExit) as stop:
        main([verb, "-c", str(config), *words, "--print_config"])
    assert stop.value.code == 0, capsys.readouterr().err


def frame_options():
    """Return the options of the table in docs/frames.md, without those of one matcher."""
    page = (ROOT / "docs" / "frames.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `--writer")]
    return [option for line in lines for option in re.findall(r"`(--writer[^`]+)`", line)]


@pytest.mark.parametrize("config", ["patch_match", "motion", "patch_match_cows"])
@pytest.mark.parametrize("option", [*frame_options(), "--writer.export_box_overlay false"])
def test_options_of_frames_work_with_every_configuration_of_frames(
    tmp_path, capsys, config, option
):
    line = ["predict", "-c", config, "--data=Frames", f"--data.predict_dir={tmp_path / 'none'}"]
    message = refusal(capsys, *line, *option.split(" ", 1), *QUIET)
    assert "none: no such file or folder" in message


def test_a_folder_that_cannot_be_written_ends_a_training_before_it_starts(tmp_path, capsys):
    (tmp_path / "work" / "data").write_text("a file")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", TRAIN, *SMALL, *QUIET])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "patchmatch: error: data/output: cannot be written: data is a file where"
    )


def test_fit_then_test_then_predict(tmp_path, capsys):
    main(["fit", "-c", TRAIN, "--trainer.max_epochs=1", *SMALL, *QUIET])
    out = capsys.readouterr().out
    (version,) = Path("data/output/lightning_logs").iterdir()
    names = {p.name for p in version.iterdir()}
    assert {"checkpoints", "config.yaml", "hparams.yaml", "metrics.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    best, last = sorted((version / "checkpoints").iterdir())
    assert best.name.startswith("epoch_00_accuracy_0.")
    assert last.name == "last.ckpt"
    assert f"best checkpoint: {best}" in out
    assert f"--ckpt_path {best}" in out

    main(["test", "-c", TRAIN, *SMALL, *QUIET, f"--ckpt_path={best}", "--trainer.logger=false"])
    assert "test/exact" in capsys.readouterr().out

    folder = write_frames(tmp_path / "frames")
    predict(folder, f"--ckpt_path={best}")
    assert Path("data/output/changes.csv").is_file()
    assert len(list(version.iterdir())) == len(names)  # predict leaves the record of fit alone


def test_an_interrupted_training_names_the_checkpoint_that_continues_it(capsys, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)  # Lightning disables Ctrl+C after the first one
    step = ShiftMatcher.training_step

    def interrupt(self, *batch):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(ShiftMatcher, "training_step", interrupt)
    line = ["fit", "-c", TRAIN, "--trainer.max_epochs=2", *SMALL, *QUIET]
    with pytest.raises(SystemExit):
        main(line)
    signal.signal(signal.SIGINT, handler)
    error = capsys.readouterr().err
    checkpoint = re.search(r"interrupted in epoch 2; continue with --ckpt_path (\S+)", error)[1]
    monkeypatch.setattr(ShiftMatcher, "training_step", step)
    main([*line, "--ckpt_path", checkpoint])
    assert "best checkpoint" in capsys.readouterr().out


def test_predict_works_without_any_training(tmp_path):
    predict(write_frames(tmp_path / "frames", count=10), "--data.batch_size=4")
    pictures = sorted(p.name for p in Path("data/output/topk_diffs").iterdir())
    assert pictures == [f"top20_frame_{i}.png" for i in range(1, 10)]
    with Path("data/output/changes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds_by_half = {(row["kind"], int(row["y1"]) <= 36) for row in rows if int(row["x1"]) < 60}
    assert ("larger", True) in kinds_by_half
    assert ("one_pixel", False) in kinds_by_half
    one_pixel = [row for row in rows if row["kind"] == "one_pixel" and int(row["y0"]) >= 38]
    assert {(row["dx"], row["dy"]) for row in one_pixel} == {("1", "0")}
    summary = json.loads(Path("data/output/summary.json").read_text())
    assert summary["complete"]
    assert summary["pairs"] == 9


def test_a_video_is_predicted_like_a_folder(tmp_path):
    frames = [cv2.imread(str(p)) for p in sorted(write_frames(tmp_path / "f", 6).iterdir())]
    video = tmp_path / "a film.avi"
    film = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (90, 70))
    for frame in frames:
        film.write(frame)
    film.release()
    predict(video)
    assert len(list(Path("data/output/topk_diffs").iterdir())) == 5


def test_constant_frames_have_no_boxes(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((60, 60), 128, np.uint8))
    predict(tmp_path)
    assert Path("data/output/changes.csv").read_text().count("\n") == 1  # the header


def test_a_broken_frame_is_reported_and_the_rest_predicted(tmp_path, capsys):
    folder = write_frames(tmp_path / "frames", count=9)
    (folder / "frame_4.png").write_bytes((folder / "frame_4.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a frame")
    predict(folder)
    assert "frame_4.png" in capsys.readouterr().err
    summary = json.loads(Path("data/output/summary.json").read_text())
    assert summary["pairs"] == 6
    assert len(summary["skipped"]) == 1


def test_the_same_seed_trains_the_same_weights():
    weights = []
    for run in ("a", "b"):
        line = ["fit", "-c", TRAIN, "--trainer.max_epochs=1", *SMALL, *QUIET]
        line += ["--trainer.logger=false", f"--trainer.default_root_dir={run}"]
        main([*line, "--trainer.callbacks=[{class_path: ModelCheckpoint}]"])
        (path,) = Path(run).rglob("*.ckpt")
        weights.append(torch.load(path, weights_only=True)["state_dict"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_checkpoint_overrides_settings_of_training_with_a_warning(tmp_path, capsys):
    predict(write_frames(tmp_path / "f"), "--model.width=8", "--model.block=20")
    warning = "warning: the checkpoint overrides settings of the model: width: 8 -> 48\n"
    assert warning in capsys.readouterr().err
    with Path("data/output/changes.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert int(row["x1"]) - int(row["x0"]) == 20  # a setting of prediction is not overruled


# -- the user's mistakes: one line, exit code 2, nothing half-written


def test_an_empty_or_missing_folder_raises(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        message = refusal(
            capsys, "predict", "-c", PREDICT, f"--data.predict_dir={tmp_path / name}", *QUIET
        )
        assert name in message
    assert not Path("data/output/topk_diffs").exists()


def test_one_frame_only_raises(tmp_path, capsys):
    write_frames(tmp_path / "f", count=1)
    message = refusal(capsys, "predict", "-c", PREDICT, f"--data.predict_dir={tmp_path / 'f'}")
    assert "expected at least two frames" in message


def test_frames_without_one_whole_pair_raise(tmp_path, capsys):
    folder = write_frames(tmp_path / "f", count=2)
    (folder / "frame_1.png").write_text("text")
    message = refusal(capsys, "predict", "-c", PREDICT, f"--data.predict_dir={folder}", *QUIET)
    assert "frame_1.png" in message


def test_unusable_entries_of_a_folder_are_listed_and_the_rest_is_predicted(tmp_path):
    write_frames(tmp_path / "in" / "good", count=3)
    for path in write_frames(tmp_path / "in" / "thumbs", count=3).glob("*.png"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (20, 20)))
    (tmp_path / "in" / "empty.mp4").touch()
    out = tmp_path / "in" / "out"
    arguments = [f"--data.predict_dir={tmp_path / 'in'}", f"--writer.output_path={out}", *QUIET]
    for repeat in ([], ["--writer.overwrite=true"]):  # its own images are not read the second time
        main(["predict", "-c", PREDICT, *arguments, *repeat])
        summary = json.loads((out / "summary.json").read_text())
        assert (summary["sources"], summary["pairs"]) == (1, 2)
        video, thumbs = summary["skipped"]
        assert "empty.mp4: the file is empty" in video
        assert "thumbs: frames of 20x20 pixels are smaller than a block" in thumbs


def test_frames_smaller_than_a_block_raise(tmp_path, capsys):
    folder = write_frames(tmp_path / "f")
    message = refusal(
        capsys, "predict", "-c", PREDICT, f"--data.predict_dir={folder}", "--model.block=80", *QUIET
    )
    assert "frames of 90x70 pixels are smaller than a block of 80" in message


@pytest.mark.parametrize("content", [None, b"junk", {"state_dict": {}}])
def test_a_missing_or_foreign_checkpoint_raises(tmp_path, capsys, content):
    path = tmp_path / "wrong.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert "wrong.ckpt" in refusal(capsys, "predict", "-c", PREDICT, f"--ckpt_path={path}")


def test_a_checkpoint_of_another_architecture_raises(tmp_path, capsys):
    checkpoint = torch.load(shipped_checkpoint("shift_matcher.ckpt"), weights_only=True)
    path, weights = tmp_path / "other.ckpt", dict(checkpoint["state_dict"])
    name, values = next((k, v) for k, v in weights.items() if v.ndim > 1)
    changes = {
        "the model has no such tensor": weights | {"net.bank.weight": values},
        f"expected shape {tuple(values.shape)}, got (5, 2)": weights | {name: torch.zeros(5, 2)},
        "missing": {k: v for k, v in weights.items() if k != name},
    }
    for difference, state_dict in changes.items():
        torch.save(checkpoint | {"state_dict": state_dict}, path)
        message = refusal(capsys, "predict", "-c", PREDICT, f"--ckpt_path={path}")
        key = "net.bank.weight" if "no such" in difference else name
        assert f"other.ckpt: 1 tensors do not fit the model; {key}: {difference}" in message


ODD_CHECKPOINTS = {
    "extra": ({"colour": 3}, {}, "its setting colour is not a setting of ShiftMatcher"),
    "none": ({"width": None}, {}, "its setting width is None"),
    "text": ({"width": "wide"}, {}, "its settings do not fit ShiftMatcher"),
    "nan": ({}, {"net.bank.weight": torch.full((3, 1, 1, 7, 7), torch.nan)}, "weight contains NaN"),
    "number": ({}, {"net.bank.weight": 3.5}, "net.bank.weight is not a tensor"),
}


@pytest.mark.parametrize("case", [*ODD_CHECKPOINTS, "settings", "list"])
def test_a_wrong_checkpoint_is_one_line_in_the_cli_and_in_python(tmp_path, capsys, case):
    checkpoint = torch.load(shipped_checkpoint("shift_matcher.ckpt"), weights_only=True)
    settings, weights, message = ODD_CHECKPOINTS.get(case, ({}, {}, "not a checkpoint of"))
    checkpoint["hyper_parameters"].update(settings)
    checkpoint["state_dict"] = {**checkpoint["state_dict"], **weights}
    if case == "list":
        checkpoint["state_dict"] = [1, 2]
    elif case == "settings":
        checkpoint["hyper_parameters"] = None
    path = tmp_path / "odd.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=message):
        load_shift_matcher(path)
    found = refusal(capsys, "predict", "-c", PREDICT, f"--ckpt_path={path}")
    assert found.startswith(f"patchmatch: error: {path}: ")
    assert message in found


@pytest.mark.parametrize(
    ("verb", "name"), [("predict", "best"), ("predict", "last"), ("fit", "best")]
)
def test_best_raises_without_training(capsys, verb, name):
    config = PREDICT if verb == "predict" else TRAIN
    message = refusal(capsys, verb, "-c", config, f"--ckpt_path={name}")
    assert f"--ckpt_path {name}: this run has no training" in message


def test_an_output_folder_that_holds_a_run_is_kept_by_default(tmp_path, capsys):
    folder = write_frames(tmp_path / "f")
    predict(folder)
    before = Path("data/output/changes.csv").read_bytes()
    message = refusal(capsys, "predict", "-c", PREDICT, f"--data.predict_dir={folder}", *QUIET)
    assert "--writer.overwrite true" in message
    assert Path("data/output/changes.csv").read_bytes() == before
    predict(folder, "--writer.overwrite=true", "--writer.top_k=1")
    assert {p.name for p in Path("data/output/topk_diffs").iterdir()} == {
        "top1_frame_1.png",
        "top1_frame_2.png",
    }


def test_an_output_path_that_is_a_file_raises(tmp_path, capsys):
    folder = write_frames(tmp_path / "f")
    Path("data").write_text("in the way")
    message = refusal(capsys, "predict", "-c", PREDICT, f"--data.predict_dir={folder}", *QUIET)
    assert "cannot be written" in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--writer.top_k=0", "top_k"),
        ("--writer.min_score=2", "min_score"),
        ("--model.block=0", "block must be an integer of at least 8, got 0"),
        ("--model.prior_still=1", "prior_still must lie between 0 and 1"),
        ("--data.batch_size=0", "batch_size must be at least 1, got 0"),
        ("--writer.top_k=many", "top_k"),
        ("--model=NoSuchMatcher", "NoSuchMatcher"),
    ],
)
def test_an_invalid_setting_is_one_short_message(tmp_path, capsys, option, message):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", PREDICT, f"--data.predict_dir={tmp_path}", option])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert "Traceback" not in error
    assert error.count("\n") <= 15


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_precision_below_float32_raises(tmp_path, capsys, precision):
    folder = write_frames(tmp_path / "f")
    line = [
        "predict",
        "-c",
        str(CONFIGS / "config_motion_predict.yaml"),
        "--trainer.accelerator=cpu",
    ]
    line += [f"--data.predict_dir={folder}", f"--trainer.precision={precision}"]
    message = refusal(capsys, *line, *QUIET)
    assert (
        f"--trainer.precision {precision}: MotionMatcher computes positions in float32" in message
    )
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("data.predict_dri", "--data.predict_dir"),
        ("model.blok", "--model.block"),
        ("writer.topk", "--writer.top_k"),
        ("model.zzz", "--model.prior_still"),
    ],
)
def test_a_misspelled_option_is_named_in_one_line_with_the_closest_ones(capsys, option, near):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", PREDICT, f"--{option}=3"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"patchmatch: error: --{option}: ")
    assert near in error


def test_a_top_k_beyond_the_blocks_draws_what_changed(tmp_path):
    predict(write_frames(tmp_path / "f"), "--writer.top_k=100000")
    assert Path("data/output/topk_diffs/top100000_frame_1.png").is_file()


def test_matcher_names_are_distinct():
    names = [c.__name__ for c in Matcher.__subclasses__()]
    assert len(names) == len(set(names))


def test_the_scripts_of_main_cli_are_the_same_program(tmp_path):
    for name in ("train", "predict"):
        script = ROOT / "main_cli" / f"main_patch_match_{name}.py"
        done = subprocess.run(
            [sys.executable, script, "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("patchmatch ")


def test_sigterm_stops_a_prediction_that_can_be_resumed(tmp_path):
    folder = write_frames(tmp_path / "f", count=60, size=(70, 700))
    command = [sys.executable, "-m", "patchmatch", "predict", "-c", PREDICT]
    command += [f"--data.predict_dir={folder}", "--data.batch_size=2", *QUIET]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None and len(list(Path("data/output/chunks").glob("*.csv"))) < 3:
        pass
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "--writer.resume true" in output
    summary = json.loads(Path("data/output/summary.json").read_text())
    assert summary["complete"] is False
    assert 0 < summary["pairs"] < 59
    resume = [*command, "--writer.resume=true"]
    done = subprocess.run(resume, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(Path("data/output/summary.json").read_text())
    assert (summary["complete"], summary["pairs"]) == (True, 59)


def test_predict_without_a_configuration_keeps_no_predictions(tmp_path, capsys):
    folder = write_frames(tmp_path / "f")
    options = ["--model=ShiftMatcher", "--data=Frames", f"--data.predict_dir={folder}"]
    options += ["--writer=ChangeBoxes", "--writer.output_path=out", "--trainer.logger=false"]
    main(["predict", *options, *QUIET])
    assert Path("out/changes.csv").is_file()


def test_a_killed_prediction_leaves_only_whole_files(tmp_path):
    """Kill -9 in the middle: pictures open, part tables have whole lines, nothing else is left."""
    folder = write_frames(tmp_path / "f", count=200, size=(70, 700))
    command = [sys.executable, "-m", "patchmatch", "predict", "-c", PREDICT]
    command += [f"--data.predict_dir={folder}", "--data.batch_size=2", *QUIET]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    chunks = Path("data/output/chunks")
    while process.poll() is None and len(list(chunks.glob("*.csv"))) < 3:
        pass
    process.kill()
    process.wait()
    assert not Path("data/output/summary.json").exists()
    for picture in Path("data/output/topk_diffs").glob("top*.png"):
        assert cv2.imread(str(picture)) is not None
    for table in chunks.glob("[!.]*.csv"):  # hidden files are temporary
        text = table.read_text()
        assert text.startswith("source,frame0,frame1,x0,y0,x1,y1,dx,dy,kind,score,")
        assert text.endswith("\n")
