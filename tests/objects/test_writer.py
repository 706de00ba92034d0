"""Runs of moving objects on the command line: files, resuming, mistakes."""

import csv
import json
import re

import cv2
import numpy as np
import pytest
from sliding_square import sliding

from patchmatch.cli import main
from patchmatch.evaluate import main as evaluate
from patchmatch.io import read_csv, read_image, write_image


def write_frames(folder, images, color=False):
    for number, image in enumerate(images):
        if color:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        write_image(folder / f"frame_{number:03d}.png", image)
    return folder


def predict(source, output, *options):
    main(
        [
            *("predict", "-c", "moving_objects", "--data.predict_dir", str(source)),
            *("--writer.output_path", str(output), "--model.camera", "false"),
            *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
            *options,
        ]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a run on a square that slides, pauses for long, and its true boxes."""
    root = tmp_path_factory.mktemp("objects")
    images, boxes = sliding(frames=30)
    write_frames(root / "frames", images)
    options = ("--writer.formats", "[mask,mot,coco,clips]", "--writer.video", "true")
    predict(root / "frames", root / "out", *options, "--writer.report", "true")
    return root / "out", boxes


def test_tables_have_a_row_for_each_object_track_event_and_frame(run):
    out, boxes = run
    rows = read_csv(out / "objects.csv", ("source", "frame", "track", "x0", "dx", "area", "score"))
    header = (out / "objects.csv").read_text().splitlines()[0]
    assert header == "source,frame,track,x0,y0,x1,y1,dx,dy,area,score,time"
    last = rows[-1]
    box = [float(last[name]) for name in ("x0", "y0", "x1", "y1")]
    np.testing.assert_allclose(box, boxes[-1], atol=3)
    assert last["frame"] == "frame_029"
    assert 0.5 < float(last["score"]) < 1
    (track,) = read_csv(out / "tracks.csv", ("track", "frame0", "frame1", "path_length"))
    assert track["track"] == last["track"]
    assert track["frame1"] == "frame_029"
    assert float(track["path_length"]) == pytest.approx(3 * int(track["frames"]), rel=0.3)
    (event,) = read_csv(out / "events.csv", ("frame0", "frame1", "tracks", "seconds"))
    assert event["time0"] == event["time1"] == event["seconds"] == ""  # unknown in a folder
    assert (event["frame1"], event["tracks"]) == ("frame_029", "1")
    assert event["frame0"] == track["frame0"]
    assert len(read_csv(out / "frames.csv", ("frame", "objects"))) == 29


def test_the_report_holds_tracks_and_thumbnails(run):
    page = (run[0] / "report.html").read_text()
    assert '"trackCount":1,"eventCount":1' in page
    assert page.count("/9j/") == 29  # JPEGs as base64


def test_masks_are_white_where_something_moves(run):
    out, boxes = run
    mask = read_image(out / "masks" / "frame_020.png")
    x0, y0, x1, y1 = boxes[20]
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[y0:y1, x0:x1] == 255).mean() > 0.8
    assert (mask[:30] == 0).all()


def test_mot_and_coco_agree_with_the_table(run):
    out, _ = run
    rows = read_csv(out / "objects.csv", ("frame", "track", "x0", "y0", "x1", "y1"))
    lines = list(csv.reader((out / "mot.txt").read_text().splitlines()))
    assert len(lines) == len(rows)
    frame, track, x, y, width, height = (float(value) for value in lines[-1][:6])
    last = rows[-1]
    assert (frame, track) == (30, float(last["track"]))  # counted from 1
    assert (x - 1, y - 1) == (float(last["x0"]), float(last["y0"]))
    assert width == pytest.approx(float(last["x1"]) - float(last["x0"]), abs=0.01)
    coco = json.loads((out / "coco.json").read_text())
    assert len(coco["annotations"]) == len(rows)
    assert coco["annotations"][-1]["bbox"][2:] == pytest.approx([width, height], abs=0.01)
    assert coco["images"][-1]["file_name"] == "frame_029.png"


def test_the_video_of_an_event_shows_its_frames(run):
    out, _ = run
    (event,) = read_csv(out / "events.csv", ("frame0", "frame1"))
    first, last = (int(re.findall(r"\d+", event[name])[0]) for name in ("frame0", "frame1"))
    clip = cv2.VideoCapture(str(out / "events" / "event_0001.mp4"))
    assert clip.get(cv2.CAP_PROP_FRAME_COUNT) == last - first + 1
    assert (out / "annotated.mp4").is_file()


def test_boxes_are_evaluated_against_true_boxes(run, tmp_path, capsys):
    out, boxes = run
    lines = ["frame,id,x0,y0,x1,y1"]
    lines += [f"{t},1,{','.join(map(str, box))}" for t, box in enumerate(boxes) if t >= 8]
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    evaluate([str(out), str(tmp_path / "truth.csv"), "--output", str(tmp_path / "scores")])
    rows = read_csv(tmp_path / "scores" / "evaluation.csv", ("group", "f1", "mota", "idf1"))
    assert [row["group"] for row in rows] == ["IoU 0.3", "IoU 0.5"]
    for row in rows:
        assert (row["f1"], row["mota"], row["idf1"], row["switches"]) == ("1", "1", "1", "0")
    # the same, as a text of MOTChallenge with frames counted from 1
    text = [f"{t + 1},1,{b[0] + 1},{b[1] + 1},20,20,1,-1,-1,-1" for t, b in enumerate(boxes)][8:]
    (tmp_path / "gt.txt").write_text("\n".join(text) + "\n")
    evaluate([str(out), str(tmp_path / "gt.txt"), "--frame_offset", "1", "--output", str(tmp_path)])
    assert read_csv(tmp_path / "evaluation.csv", ("f1",))[0]["f1"] == "1"


def test_masks_are_evaluated_by_pixels_that_are_known(run, tmp_path):
    out, boxes = run
    for time in (15, 20):
        mask = np.zeros((96, 160), np.uint8)
        x0, y0, x1, y1 = boxes[time]
        mask[y0 - 3 : y1 + 3, x0 - 3 : x1 + 3] = 170  # unknown: the edge does not count
        mask[y0:y1, x0:x1] = 255
        write_image(tmp_path / "gt" / f"gt{time:06d}.png", mask)
    evaluate([str(out), str(tmp_path / "gt"), "--output", str(tmp_path)])
    (row,) = read_csv(tmp_path / "evaluation.csv", ("frames", "precision", "recall", "f1"))
    assert (row["frames"], row["precision"]) == ("2", "1")
    assert float(row["recall"]) > 0.8
    assert float(row["jaccard"]) == pytest.approx(float(row["recall"]), abs=0.05)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Return the folder of a run on two sequences, fast and slow, and the masks of its squares."""
    root, masks = tmp_path_factory.mktemp("two"), {}
    for name, speed in (("fast", 4), ("slow", 2)):
        images, boxes = sliding(frames=16, speed=speed)
        write_frames(root / "frames" / name, images)
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            masks[name, number] = np.zeros(images[0].shape, np.uint8)
            masks[name, number][y0:y1, x0:x1] = 255
    predict(root / "frames", root / "out", "--writer.formats", "[mask]")
    return root / "out", masks


@pytest.mark.parametrize("name", ["{0}/{1:03d}.png", "{0}_{1:03d}.png"], ids=["folders", "names"])
def test_masks_of_several_sequences_are_told_apart(two_runs, tmp_path, name):
    out, masks = two_runs
    for (source, number), mask in masks.items():
        write_image(tmp_path / "masks" / name.format(source, number), mask)
    evaluate([str(out), str(tmp_path / "masks"), "--output", str(tmp_path)])
    rows = {row["group"]: row for row in read_csv(tmp_path / "evaluation.csv", ("group", "f1"))}
    assert set(rows) == {"fast", "slow", "all"}
    assert all(float(row["f1"]) > 0.6 for row in rows.values())
    assert [int(rows[group]["frames"]) for group in ("fast", "slow", "all")] == [15, 15, 30]


def test_masks_that_may_belong_to_two_sequences_end_in_one_line(two_runs, tmp_path, capsys):
    out, masks = two_runs
    for number in range(16):
        write_image(tmp_path / "masks" / f"{number:03d}.png", masks["fast", number])
    with pytest.raises(SystemExit) as stop:
        evaluate([str(out), str(tmp_path / "masks"), "--output", str(tmp_path)])
    assert stop.value.code == 2
    assert "may be a mask of the sequence fast and of slow" in capsys.readouterr().err


def test_masks_of_one_sequence_of_several_are_enough(two_runs, tmp_path):
    out, masks = two_runs
    for number in range(16):
        write_image(tmp_path / "masks" / "slow" / f"{number:03d}.png", masks["slow", number])
    write_image(tmp_path / "masks" / "other" / "000.png", masks["slow", 0])
    evaluate([str(out), str(tmp_path / "masks"), "--output", str(tmp_path)])
    (row,) = read_csv(tmp_path / "evaluation.csv", ("group", "f1"))
    assert row["group"] == "slow"


def test_truth_of_other_frames_ends_in_one_line(run, tmp_path, capsys):
    (tmp_path / "truth.csv").write_text("frame,x,y,width,height\n900,0,0,5,5\n")
    with pytest.raises(SystemExit) as error:
        evaluate([str(run[0]), str(tmp_path / "truth.csv")])
    assert error.value.code == 2
    assert "no row belongs to a frame" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "events"),
    [
        ([np.full((64, 96), 90, np.uint8)] * 12, 0),
        (sliding(frames=12, start=-40, speed=0)[0], 0),
    ],
    ids=["identical", "noise"],
)
def test_a_video_without_motion_gives_empty_tables(tmp_path, images, events):
    write_frames(tmp_path / "frames", images, color=True)
    predict(tmp_path / "frames", tmp_path / "out", "--writer.formats", "[mot,coco]")
    for name in ("objects", "tracks", "events"):
        assert len((tmp_path / "out" / f"{name}.csv").read_text().splitlines()) == 1
    assert (tmp_path / "out" / "mot.txt").read_text() == ""
    assert len(read_csv(tmp_path / "out" / "frames.csv", ("frame",))) == 11


def test_the_pause_between_events_is_bridged_or_not(tmp_path):
    images, _ = sliding(frames=120, start=10, width=160)
    again, _ = sliding(frames=50, start=-20, width=160)
    write_frames(tmp_path / "frames", images + again)
    for bridge, count in ((5, 1), (0.5, 2)):
        out = tmp_path / f"out_{bridge}"
        options = ("--writer.bridge", str(bridge), "--writer.pictures", "false")
        predict(tmp_path / "frames", out, *options)
        assert len(read_csv(out / "events.csv", ("event",))) == count
        assert not (out / "pictures").exists()


def test_a_resumed_run_equals_one_that_was_not_interrupted(tmp_path, monkeypatch):
    from patchmatch.objects.matcher import ObjectTracker

    images, _ = sliding(frames=30)
    write_frames(tmp_path / "frames", images)
    options = ("--data.batch_size", "5")
    predict(tmp_path / "frames", tmp_path / "whole", *options)
    step = ObjectTracker.predict_step

    def stops(self, batch, batch_idx):
        if batch["index"] == 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectTracker, "predict_step", stops)
        # the annotations tell which data and writer fit
        stops.__annotations__ = step.__annotations__
        with pytest.raises(SystemExit):
            predict(tmp_path / "frames", tmp_path / "out", *options)
    assert (tmp_path / "out" / "chunks").is_dir()
    predict(tmp_path / "frames", tmp_path / "out", *options, "--writer.resume", "true")
    for name in ("objects.csv", "tracks.csv", "events.csv", "frames.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert not (tmp_path / "out" / "chunks").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.gaps", "[1,2]"], r"give --data.gaps \[1\]"),
        (["--model.camera", "perhaps"], "camera must be auto, true or false, got perhaps"),
        (["--model.min_area", "0"], "min_area must be at least 1 pixel"),
        (["--writer.formats", "[gif]"], "formats must be among mask, mot, coco, clips, got gif"),
        (
            ["--writer.pictures", "false", "--writer.video", "true"],
            "video and clips are made of pictures",
        ),
        (["--writer.bridge", "-1"], "bridge must be at least 0 seconds"),
    ],
)
def test_a_mistake_ends_in_one_line(tmp_path, capsys, options, message):
    write_frames(tmp_path / "frames", sliding(frames=4)[0])
    with pytest.raises(SystemExit) as error:
        predict(tmp_path / "frames", tmp_path / "out", *options)
    assert error.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, lines[-1])
    assert "Traceback" not in "".join(lines)


def test_tiny_frames_end_in_one_line(tmp_path, capsys):
    write_frames(tmp_path / "frames", [np.zeros((16, 16), np.uint8)] * 4)
    with pytest.raises(SystemExit) as error:
        predict(tmp_path / "frames", tmp_path / "out")
    assert error.value.code == 2
    assert "too small to follow objects in" in capsys.readouterr().err


def test_exports_number_size_and_name_the_frames_of_the_input(tmp_path):
    images, _ = sliding(frames=20)
    larger, _ = sliding(frames=20, height=120, width=200)
    folder = write_frames(tmp_path / "frames", images + larger)
    (folder / "frame_005.png").write_bytes(b"damaged")
    predict(folder, tmp_path / "out", "--writer.formats", "[mask,mot,coco]")
    rows = read_csv(tmp_path / "out" / "objects.csv", ("frame",))
    lines = (tmp_path / "out" / "mot.txt").read_text().splitlines()
    assert rows
    for row, line in zip(rows, lines, strict=True):
        assert int(line.split(",")[0]) == int(row["frame"][-3:]) + 1
    shown = json.loads((tmp_path / "out" / "coco.json").read_text())["images"]
    assert all((folder / image["file_name"]).is_file() for image in shown)
    assert {(image["height"], image["width"]) for image in shown} == {(96, 160), (120, 200)}
    for row in read_csv(tmp_path / "out" / "frames.csv", ("frame", "moving_pixels")):
        mask = read_image(tmp_path / "out" / "masks" / f"{row['frame']}.png")
        assert int(row["moving_pixels"]) == (mask > 0).sum()


def test_a_tiny_frame_does_not_drop_the_frames_before_it(tmp_path):
    images, _ = sliding(frames=6)
    write_frames(tmp_path / "frames", [*images, np.zeros((16, 16), np.uint8)])
    predict(tmp_path / "frames", tmp_path / "out")
    assert len(read_csv(tmp_path / "out" / "frames.csv", ("frame",))) == 5


def test_all_files_of_several_sequences_lie_in_folders_of_their_names(tmp_path):
    write_frames(tmp_path / "frames" / "a", sliding(frames=30)[0])
    write_frames(tmp_path / "frames" / "b", [np.zeros((16, 16), np.uint8)] * 3)  # too small
    options = ("--writer.formats", "[mot,clips]", "--writer.video", "true")
    predict(tmp_path / "frames", tmp_path / "out", *options)
    for name in ("mot/a.txt", "annotated/a.mp4", "events/a/event_0001.mp4"):
        assert (tmp_path / "out" / name).is_file()


def test_a_camera_counts_as_still_in_frames_too_small_for_blocks(tmp_path, capsys):
    images, _ = sliding(frames=30)
    write_frames(tmp_path / "frames", [image[20:64] for image in images])
    predict(tmp_path / "frames", tmp_path / "out", "--model.camera", "true")
    assert capsys.readouterr().err.count("it counts as still") == 1
    assert read_csv(tmp_path / "out" / "objects.csv", ("track",))


def test_a_camera_that_is_lost_is_said_once(tmp_path, capsys, monkeypatch):
    def lost(self, frame0, frame1, block):
        shape = frame0.shape[0] // block, frame0.shape[1] // block, 2
        return np.random.default_rng(0).uniform(-20, 20, shape)

    monkeypatch.setattr("patchmatch.objects.block_motion.BlockMotion.__call__", lost)
    write_frames(tmp_path / "frames", sliding(frames=20)[0])
    predict(tmp_path / "frames", tmp_path / "out", "--model.camera", "true")
    assert capsys.readouterr().err.count("the motion of the camera is lost") == 1


def test_gray_frames_of_which_some_are_saved_in_color_are_one_video(tmp_path):
    images, _ = sliding(frames=20)
    folder = write_frames(tmp_path / "frames", images)
    for path in sorted(folder.iterdir())[::2]:
        write_image(path, np.repeat(read_image(path)[..., None], 3, axis=2))
    predict(folder, tmp_path / "out")
    (track,) = read_csv(tmp_path / "out" / "tracks.csv", ("frames",))
    assert int(track["frames"]) > 15
