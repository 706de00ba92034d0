"""Runs of template matching that are interrupted and resumed, or use two processes."""

import pytest
from program_runs import QUIET, ROOT, TWO, contents, kill_when_exists, run, start
from textures import texture

from patchmatch.cli import main
from patchmatch.io import write_image
from patchmatch.templates.matcher import TemplateMatcher

COUNT = 4  # scenes


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Scenes with a cup each, of which the third is broken, and two templates."""
    folder = tmp_path_factory.mktemp("inputs")
    for i in range(COUNT):
        scene = texture(100, 140, 10 + i)
        scene[20:60, 10 + 15 * i : 60 + 15 * i] = texture(40, 50, 1)
        write_image(folder / "scenes" / f"s{i}.png", scene)
    (folder / "scenes" / "s2.png").write_bytes(b"not an image")
    write_image(folder / "templates" / "cup.png", texture(40, 50, 1))
    write_image(folder / "templates" / "plate.png", texture(36, 44, 2))
    return folder


def arguments(inputs, output, *more):
    return [
        "predict", "-c", str(ROOT / "configs/config_template_predict.yaml"),
        f"--data.scene={inputs / 'scenes'}", f"--data.templates={inputs / 'templates'}",
        "--model.features=handcrafted", "--model.threshold=0.9", f"--writer.output_path={output}",
        *QUIET, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """Return the files of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    main(arguments(inputs, folder))
    found = contents(folder)
    assert len(found) == 3 + 3 * 3  # two tables and the summary; three files a scene
    assert found["boxes.csv"].count(b"cup") == COUNT - 1
    return found


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_interrupted_run_is_resumed(tmp_path, inputs, whole, monkeypatch, stop):
    real, seen = TemplateMatcher.predict_step, []

    def predict_step(self, batch, batch_idx):
        if batch["index"] == stop and stop not in seen:
            seen.append(stop)
            raise RuntimeError("in the middle")
        seen.append(batch["index"])
        return real(self, batch, batch_idx)

    monkeypatch.setattr(TemplateMatcher, "predict_step", predict_step)
    with pytest.raises(RuntimeError, match="in the middle"):
        main(arguments(inputs, tmp_path / "out"))
    main(arguments(inputs, tmp_path / "out", "--writer.resume=true"))
    assert seen == [*range(stop), stop, *range(stop, COUNT)]
    assert contents(tmp_path / "out") == whole


def test_run_with_other_settings_is_not_resumed(tmp_path, inputs, monkeypatch, capsys):
    real = TemplateMatcher.predict_step

    def predict_step(self, batch, batch_idx):
        return real(self, batch, batch_idx) if batch["index"] == 0 else 1 / 0

    with monkeypatch.context() as patch:
        patch.setattr(TemplateMatcher, "predict_step", predict_step)
        with pytest.raises(ZeroDivisionError):
            main(arguments(inputs, tmp_path / "out"))
    with pytest.raises(SystemExit):
        main(arguments(inputs, tmp_path / "out", "--writer.resume=true", "--model.alpha=30"))
    assert "alpha was 25.0 and is 30.0" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_run_is_resumed(tmp_path, inputs, whole):
    """Kill -9 in the middle of the scenes, then resume."""
    process = start(arguments(inputs, tmp_path / "out"), tmp_path)
    kill_when_exists(tmp_path / "out/chunks/000001.json", process)
    assert not (tmp_path / "out/summary.json").exists()
    main(arguments(inputs, tmp_path / "out", "--writer.resume=true"))
    assert contents(tmp_path / "out") == whole


@pytest.mark.slow  # tests/frames has the same of the shared base
def test_two_processes_write_the_same_files_as_one(tmp_path, inputs, whole):
    run(arguments(inputs, tmp_path / "out", *TWO), tmp_path)
    assert contents(tmp_path / "out") == whole
