import re

import jsonargparse
import pytest
import yaml

import patchmatch.systems  # noqa: F401
from patchmatch.cli import main
from patchmatch.parser import one_line, protect_texts


@pytest.mark.parametrize(
    "text", ["null", "~", "#recycle", "[cam1]", "Series: 1", "1e3", "🙂: #", ""]
)
def test_texts_that_yaml_reads_otherwise_are_quoted(text):
    for words in ([f"--data.predict_dir={text}"], ["--data.predict_dir", text]):
        (word,) = protect_texts(words)
        name, _, value = word.partition("=")
        assert name == "--data.init_args"
        assert yaml.safe_load(value) == {"predict_dir": text}


def test_other_values_stay():
    words = ["--data.predict_dir=folder", "--model.block", "16", "--data.gaps=[1,2]"]
    words += ["--writer.roi=null", "--ckpt_path=null"]
    assert protect_texts(words) == words


def test_a_path_that_may_be_null_is_given_relative_to_this_folder():
    assert protect_texts(["--writer.roi", "#1.png"]) == ["--writer.roi=./#1.png"]
    assert protect_texts(["--ckpt_path=~"]) == ["--ckpt_path=./~"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#recycle", "#recycle: no such file or folder"),
        ("null", "null: no such file or folder"),
        ("[cam1]", "[cam1]: no such file or folder"),
        ("Series: 1", "Series: 1: no such file or folder"),
        ("", "--data.predict_dir: expected text, got nothing"),
    ],
)
def test_such_names_reach_the_data_module(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", "patch_match", "--data.predict_dir", text])
    assert stop.value.code == 2
    assert f"patchmatch: error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("20240101", "--data.predict_dir: expected text, got 20240101; put it in quotes"),
        ("null", "--data.predict_dir: expected text, got null; give a value, in quotes if"),
        ("#recycle", "--data.predict_dir: expected text, got null; give a value, in quotes if"),
        ("[cam1]", "--data.predict_dir: expected text, got ['cam1']; put it in quotes"),
    ],
)
def test_in_a_file_the_message_asks_for_quotes(tmp_path, capsys, value, message):
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: {class_path: ShiftMatcher}\nwriter: {class_path: ChangeBoxes}\n"
        f"data:\n  class_path: Frames\n  init_args:\n    predict_dir: {value}\n"
    )
    with pytest.raises(SystemExit):
        main(["predict", "-c", str(path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"patchmatch: error: {message}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--writer.top_k=many", "--writer.top_k: expected an integer, got many"),
        ("--data.gaps=[a]", "--data.gaps: expected an integer, got a"),
        ("--data.gaps=2", "--data.gaps: expected a list, got 2; write it in brackets: '[2]'"),
        ("--writer.formats=flo,npz", "--writer.formats: expected a list, got flo,npz; write it"),
        ("--data.max_frames=x", "--data.max_frames: expected an integer or null, got x"),
        ("--model.init_args.blok=3", "--model.blok: ShiftMatcher has no such option; did you mean"),
        ("--model=ShiftMatchr", "--model: no class ShiftMatchr; did you mean ShiftMatcher or"),
        ("--data=/nowhere", "--data: no class /nowhere; use one of EpipolarPairs, "),
        ("--trainer.logger=Foo", "--trainer.logger: no class Foo; give the name or"),
        ("--trainer.max_epochs=x", "--trainer.max_epochs: expected an integer or null, got x"),
        (
            "--trainer.maxepochs=1",
            "--trainer.maxepochs: no such option; did you mean --trainer.max",
        ),
        ("--trainer.devices=x", "--trainer: `devices` selected with"),
        ("--trainer.accelerator=x", "You selected an invalid accelerator name"),
    ],
)
def test_an_error_of_the_parser_or_the_trainer_is_one_line(capsys, option, message):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", "patch_match", option])
    assert stop.value.code == 2
    *notes, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"patchmatch: error: {message}")
    assert all(note.startswith("no --ckpt_path given") for note in notes)


def test_help_of_an_unknown_class_suggests_classes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--model.help", "ShiftMacher"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("patchmatch: error: --model: no class ShiftMacher; did you mean Shift")


@pytest.mark.parametrize("name", ["DetectorFreeMatcher", "Matcher", "PredictionData"])
def test_classes_without_instances_are_not_suggested(capsys, name):
    group = "--data" if "Data" in name else "--model"
    with pytest.raises(SystemExit):
        main(["predict", "-c", "patch_match", f"{group}={name[:-1]}"])
    suggested = re.split(r"[ ,?\n]+", capsys.readouterr().err.partition("; ")[2])
    assert len(suggested) > 2
    assert name not in suggested


def test_an_unknown_message_is_joined_to_one_line():
    assert one_line("something\n  unexpected\n\thappened") == "something unexpected happened"


def test_messages_have_the_form_that_is_taken_apart():
    """A change in jsonargparse would show here rather than as a strange message."""

    def function(number: int | None = None, name: str = ""):
        return number, name

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(function, "group")
    with pytest.raises(jsonargparse.ArgumentError) as error:
        parser.parse_args(["--group.number=x"])
    assert one_line(str(error.value)) == "--group.number: expected an integer or null, got x"
