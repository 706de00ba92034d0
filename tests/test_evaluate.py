"""``patchmatch-eval`` on runs of every kind."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from clip_runs import contents, predict

from patchmatch.evaluate import main
from patchmatch.frames.rows import CHANGE_COLUMNS, PAIR_COLUMNS
from patchmatch.io import read_csv, write_csv, write_flo, write_image


def write_run(folder: Path, boxes: dict[str, list[tuple[int, ...]]], source: str = "cam") -> Path:
    """Write the tables of a run: boxes by the name of the earlier frame."""
    pairs, rows = [], []
    for frame, found in boxes.items():
        names = {"source": source, "frame0": frame, "frame1": f"{frame}_next"}
        pairs.append(dict.fromkeys(PAIR_COLUMNS, "") | names)
        for box in found:
            values = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            rows.append(dict.fromkeys(CHANGE_COLUMNS, "") | names | values)
    folder.mkdir(exist_ok=True)
    write_csv(folder / "pairs.csv", PAIR_COLUMNS, pairs)
    write_csv(folder / "changes.csv", CHANGE_COLUMNS, rows)
    return folder


def result(folder: Path, group: str | None = None) -> dict[str, str]:
    rows = read_csv(folder / "evaluation.csv")
    return rows[0] if group is None else next(row for row in rows if row["group"] == group)


def test_changes_are_compared_with_masks_of_the_earlier_frames(tmp_path, capsys):
    """Two objects of 20x20 pixels; one box on the first, one on nothing, one on unknown pixels."""
    mask = np.zeros((60, 100), np.uint8)
    mask[10:30, 10:30], mask[30:50, 60:80] = 255, 255
    mask[:5] = 170
    write_image(tmp_path / "truth" / "gt0007.png", mask)
    run = write_run(
        tmp_path / "run",
        {"in0007": [(10, 10, 30, 20), (40, 40, 60, 60), (80, 0, 90, 5)], "in0008": [(0, 0, 5, 5)]},
    )
    main([str(run), str(tmp_path / "truth")])
    row = result(run)
    assert (row["frames"], row["boxes"], row["objects"]) == ("1", "3", "2")
    assert float(row["precision"]) == pytest.approx(1 / 3, abs=1e-4)
    assert row["recall"] == "0.5"
    assert row["moving_covered"] == "0.25"  # 200 of 800 pixels
    assert row["boxed_moving"] == "0.3333"  # of 600 boxed and known pixels
    assert "moving covered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "truth"], "gone: no such folder; give the --writer.output_path of a run"),
        (["file", "truth"], "file: expected a folder, got a file; give the"),
        (["empty", "truth"], "empty: contains no matches, changes, objects, detections or"),
        (["empty"], "the following arguments are required: truth; see --help"),
    ],
)
def test_a_wrong_run_ends_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"patchmatch-eval: error: {message}")


def test_changes_are_compared_with_true_boxes(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("frame,id,x,y,width,height\n3,1,10,10,10,30\n3,2,70,10,10,30\n4,1,0,0,9,9\n")
    run = write_run(tmp_path / "run", {"f3": [(10, 10, 20, 20), (30, 30, 60, 60)], "f9": []})
    main([str(run), str(table)])
    row = result(run)
    assert (row["frames"], row["precision"], row["recall"]) == ("1", "0.5", "0.5")
    main([str(run), str(table), "--frame_offset=1"])
    row = result(run)
    assert (row["frames"], row["precision"], row["recall"]) == ("1", "0", "0")


def test_flow_is_compared_with_the_truth_of_the_earlier_frame(tmp_path):
    run = write_run(tmp_path / "run", {"frame10": [], "frame12": []})
    flow, truth = np.zeros((20, 30, 2), np.float32), np.full((20, 30, 2), 3, np.float32)
    truth[:, :15] = 0.25, 0
    valid = np.ones((20, 30), bool)
    valid[:10] = False
    write_flo(run / "flow" / "frame10_next.flo", flow, valid)
    write_flo(tmp_path / "truth" / "flow10.flo", truth)
    write_flo(tmp_path / "truth" / "flow99.flo", truth)
    main([str(run), str(tmp_path / "truth")])
    row = result(run)
    assert (row["pairs"], row["known"], row["within_0.5"]) == ("1", "0.5", "0.5")
    assert float(row["epe"]) == pytest.approx((0.25 + 18**0.5) / 2, abs=1e-3)


def test_flow_of_another_size_is_named_in_a_warning_and_left_out(tmp_path, capsys):
    run = write_run(tmp_path / "run", {"1": [], "2": []})
    for name, size in (("1", (20, 30)), ("2", (10, 30))):
        write_flo(run / "flow" / f"{name}_next.flo", np.zeros((*size, 2), np.float32))
        write_flo(tmp_path / "truth" / f"{name}.flo", np.zeros((20, 30, 2), np.float32))
    main([str(run), str(tmp_path / "truth")])
    assert result(run)["pairs"] == "1"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert "2_next.flo: the flow has 30x10 pixels" in line


def test_templates_are_compared_with_true_boxes(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "boxes.csv").write_text(
        "scene,template,x0,y0,x1,y1,score\ns0,cup,0,0,10,10,0.9\ns0,cup,50,50,60,60,0.6\n"
        "s1,cup,0,0,10,8,0.9\n"
    )
    (run / "not_found.csv").write_text("scene,template,reason\ns1,plate,nothing\n")
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "scene,template,x,y,width,height\ns0,cup,0,0,10,10\ns1,cup,0,0,10,10\n"
        "s1,plate,0,0,5,5\nother,cup,0,0,5,5\n"
    )
    main([str(run), str(truth)])
    cup, plate, everything = (result(run, name) for name in ("cup", "plate", "all"))
    assert (cup["objects"], cup["found"], cup["detections"]) == ("2", "1", "3")
    assert float(cup["auc"]) == pytest.approx((20 + 17) / 40, abs=0.026)
    assert float(cup["precision"]) == pytest.approx(2 / 3, abs=1e-4)
    assert (plate["found"], plate["precision"]) == ("0", "")
    assert everything["objects"] == "3"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ("", "no mask image belongs to a frame"),
        ("frame,x\n1,a\n", "truth.csv row 1: expected the number of a frame"),
        ("frame,x,y,width,height\n99,1,1,1,1\n", "no row belongs to a frame"),
    ],
)
def test_a_truth_that_does_not_fit_is_one_error_line(tmp_path, capsys, truth, message):
    run = write_run(tmp_path / "run", {"f1": [(0, 0, 5, 5)]})
    path = tmp_path / ("truth.csv" if truth else "masks")
    if truth:
        path.write_text(truth)
    else:
        path.mkdir()
    with pytest.raises(SystemExit) as stop:
        main([str(run), str(path)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_rendered_frames_are_compared_with_their_labels(tmp_path):
    labels = np.zeros((3, 60, 80), np.uint8)
    for t in range(3):
        labels[t, 10:50, 10 + t : 50 + t] = 1
    (tmp_path / "cows").mkdir()
    velocity = np.array([[0, 0], [1, 0]])
    np.savez(tmp_path / "cows" / "truth_masks.npz", labels=labels, velocity=velocity)
    run = write_run(tmp_path / "run", {"frame_0": [(15, 15, 41, 41)]})
    text = (run / "changes.csv").read_text().replace("frame_0_next", "frame_1")
    rows = list(csv.DictReader(text.splitlines()))
    rows[0] |= {"kind": "one_pixel", "dx": "1", "dy": "0"}
    write_csv(run / "changes.csv", CHANGE_COLUMNS, rows)
    main([str(run), str(tmp_path / "cows")])
    row = result(run, "one_pixel")
    assert (row["boxes"], row["precision"], row["objects"], row["recall"]) == ("1", "1", "2", "0.5")


def test_evaluation_is_removed_with_the_run_it_describes(tmp_path):
    run, truth = tmp_path / "run", tmp_path / "truth.csv"
    truth.write_text("frame,id,x,y,width,height\n2,1,0,0,8,8\n")
    predict(run)
    (run / "notes.txt").write_text("mine")
    for _ in range(2):  # an evaluation may be repeated
        main([str(run), str(truth)])
    written = {path.name for path in run.glob("evaluation*")}
    assert {"evaluation.csv", "evaluation.json"} <= written
    listed = json.loads((run / "summary.json").read_text())["files"]
    assert written <= {file["path"] for file in listed}
    assert len(listed) == len({file["path"] for file in listed})
    predict(run, resume=True)  # it is still complete
    assert written == {path.name for path in run.glob("evaluation*")}
    (run / "evaluation.json").write_text("edited by the user")
    predict(run, overwrite=True)
    assert {path.name for path in run.glob("evaluation*")} == {"evaluation.json"}
    assert (run / "notes.txt").read_text() == "mine"


def test_evaluation_elsewhere_changes_no_run(tmp_path):
    run, truth = tmp_path / "run", tmp_path / "truth.csv"
    truth.write_text("frame,id,x,y,width,height\n2,1,0,0,8,8\n")
    predict(run)
    before = contents(run)
    main([str(run), str(truth), "--output", str(tmp_path / "tables")])
    assert contents(run) == before
    assert (tmp_path / "tables" / "evaluation.csv").is_file()
