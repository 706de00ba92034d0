"""Template matching from the command line."""

import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from textures import texture

from patchmatch.cli import main
from patchmatch.io import VideoSequence, read_csv, read_image, write_image, write_video
from patchmatch.templates import writer as detections

CONFIG = "configs/config_template_predict.yaml"


@pytest.fixture
def folder(tmp_path):
    """Two scenes; a cup that is in both of them, and a plate that is in the second one."""
    (tmp_path / "scenes").mkdir()
    cup, plate = texture(41, 50, 1), texture(36, 63, 2)
    for i, corner in enumerate([(20, 30), (90, 60)]):
        scene = texture(130, 190, 10 + i)
        scene[corner[1] : corner[1] + 41, corner[0] : corner[0] + 50] = cup
        if i:
            scene[4:40, 6:69] = plate
        write_image(tmp_path / "scenes" / f"s{i}.png", scene)
    (tmp_path / "templates").mkdir()
    write_image(tmp_path / "templates" / "cup.png", cup)
    write_image(tmp_path / "templates" / "plate.png", plate)
    return tmp_path


def predict(folder, *more):
    main([
        "predict", "-c", CONFIG, f"--data.scene={folder / 'scenes'}",
        f"--data.templates={folder / 'templates'}", "--model.features=handcrafted",
        "--model.threshold=0.9", f"--writer.output_path={folder / 'out'}",
        "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", *more,
    ])  # fmt: skip


def test_images_and_tables_are_written(folder):
    predict(folder)
    text = (folder / "out" / "boxes.csv").read_text()
    assert text.startswith("scene,time,template,x0,y0,x1,y1,score,scale,rotation,outline\n")
    rows = read_csv(folder / "out" / "boxes.csv")
    assert list(rows[0]) == text.splitlines()[0].split(",")
    assert all(float(row["scale"]) == pytest.approx(1, abs=0.1) for row in rows)
    assert all((row["rotation"], row["outline"]) == ("0", "") for row in rows)
    found = {
        (row["scene"], row["template"]): [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
        for row in rows
    }
    assert found.keys() == {("s0", "cup"), ("s1", "cup"), ("s1", "plate")}
    assert found["s0", "cup"] == pytest.approx([20, 30, 70, 71], abs=2.5)
    assert found["s1", "cup"] == pytest.approx([90, 60, 140, 101], abs=2.5)
    assert found["s1", "plate"] == pytest.approx([6, 4, 69, 40], abs=2.5)
    (missed,) = read_csv(folder / "out" / "not_found.csv")
    assert (missed["scene"], missed["template"]) == ("s0", "plate")
    assert 0 <= float(missed["best_score"]) < 0.9
    scene_folder = folder / "out" / "scenes" / "s1"
    assert read_image(scene_folder / "result.png").shape == (130, 190, 3)
    height, width, _ = read_image(scene_folder / "heatmap.png").shape
    assert height == 130
    assert width > 190  # the colour scale
    assert len(read_csv(scene_folder / "boxes.csv")) == 2


def test_outlines_are_written_and_drawn(folder):
    cup = cv2.resize(texture(41, 50, 1), (100, 82), interpolation=cv2.INTER_CUBIC)
    write_image(folder / "templates" / "cup.png", cup)
    scene = texture(130, 190, 10)
    matrix = np.array([[1, 0.1, 40], [0, 1, 25]])
    cv2.warpAffine(cup, matrix, (190, 130), scene, borderMode=cv2.BORDER_TRANSPARENT)
    write_image(folder / "scenes" / "s0.png", scene)
    predict(folder, "--model.outlines=true", "--model.threshold=0.5")
    row = next(r for r in read_csv(folder / "out" / "boxes.csv") if r["scene"] == "s0")
    outline = np.array(row["outline"].split(), float).reshape(4, 2)
    expected = np.array([[0, 0], [99, 0], [99, 81], [0, 81]]) @ matrix[:, :2].T + matrix[:, 2]
    assert outline == pytest.approx(expected, abs=1.5)
    drawn = read_image(folder / "out" / "scenes" / "s0" / "result.png").astype(int)
    x, y = ((expected[0] + expected[3]) / 2).round().astype(int)  # on the left edge
    color = detections.template_color(0)
    assert np.abs(drawn[y, x - 2 : x + 3] - color).sum(axis=1).min() < 60


def test_thresholds_and_masks_are_used_and_broken_templates_reported(folder, capsys):
    (folder / "templates" / "broken.png").write_bytes(b"not an image")
    (folder / "t.csv").write_text("template,threshold\ncup,1\nspoon,0.5\n")
    (folder / "masks").mkdir()
    mask = np.zeros((36, 63), np.uint8)
    mask[:, :40] = 255
    write_image(folder / "masks" / "plate.png", mask)
    predict(folder, f"--data.thresholds={folder / 't.csv'}", f"--data.masks={folder / 'masks'}")
    rows = read_csv(folder / "out" / "boxes.csv")
    assert {(row["scene"], row["template"]) for row in rows} == {("s1", "plate")}
    stderr = capsys.readouterr().err
    assert stderr.count("broken.png") == stderr.count("ignored spoon") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.scene=gone.png", "gone.png: scene not found"),
        ("--data.templates=empty", "contains no templates"),
        ("--model.score=best", "score must be one of"),
        ("--model.weights=gone.pth", "have no weights"),
        ("--data.scene=empty", "contains no images; give an image, a folder or a video"),
        ("--data.scene=broken.png", "nothing was matched; first error: scene left out"),
        ("--data.templates=broken.png", "broken.png: cannot be read as an image"),
        ("--data.thresholds=gone.csv", "gone.csv"),
        ("--model.rotations=[]", "rotations must be one or more angles"),
        ("--model.rotations=[left]", "rotations"),
        ("--model.stride=3", "stride must be 1, 2, 4 or 8 pixels"),
    ],
)
def test_user_errors_are_one_line_on_stderr(folder, capsys, option, message):
    (folder / "empty").mkdir()
    (folder / "broken.png").write_bytes(b"not an image")
    option = re.sub("=(empty|broken)", f"={folder}/\\1", option)
    with pytest.raises(SystemExit) as caught:
        predict(folder, option)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not (folder / "out" / "boxes.csv").exists()


def test_weights_of_another_network_are_one_line_on_stderr(folder, capsys):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, folder / "alexnet.pth")
    weights = f"--model.weights={folder / 'alexnet.pth'}"
    with pytest.raises(SystemExit) as caught:
        predict(folder, weights, "--model.features=resnet18", "--model.layers=[layer1]")
    assert caught.value.code == 2
    stderr = capsys.readouterr().err.strip().splitlines()[-1]
    assert "weights of another network than resnet18" in stderr


def test_unusable_templates_are_reported_and_the_others_matched(folder, capsys):
    mixed = folder / "mixed"
    mixed.mkdir()
    scene = read_image(folder / "scenes" / "s0.png")
    cup = read_image(folder / "templates" / "cup.png")
    write_image(mixed / "large.png", texture(140, 50, 3))
    write_image(mixed / "pixel.png", cup[:1, :1])
    write_image(mixed / "flat.png", np.full((30, 40, 3), 77, np.uint8))
    write_image(mixed / "scene.png", scene)
    (mixed / "broken.png").write_bytes(b"not an image")
    Image.fromarray(np.dstack([cup, np.full(cup.shape[:2], 9, np.uint8)])).save(mixed / "alpha.png")
    Image.fromarray(cup).convert("L").save(mixed / "gray.png")
    cv2.imwrite(str(mixed / "deep.png"), cup[..., ::-1].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(cup).copy()).save(mixed / "side.png", exif=exif)
    predict(
        folder, f"--data.scene={folder / 'scenes' / 's0.png'}", f"--data.templates={mixed}",
        "--model.max_overlap=1", "--model.max_detections=1", "--model.threshold=0.4",
    )  # fmt: skip
    found = {
        row["template"]: [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
        for row in read_csv(folder / "out" / "boxes.csv")
    }
    assert found.pop("scene") == pytest.approx([0, 0, 190, 130], abs=2)
    found.pop("gray", None)  # may be missed without colours
    assert found.keys() == {"alpha", "deep", "side"}
    for box in found.values():
        assert box == pytest.approx([20, 30, 70, 71], abs=4)
    reasons = {r["template"]: r["reason"] for r in read_csv(folder / "out" / "not_found.csv")}
    assert reasons.keys() - {"gray"} == {"large", "pixel", "flat"}
    assert "50x140 pixels is larger than the scene of 190x130" in reasons["large"]
    assert "1x1 pixels is smaller than 4x4" in reasons["pixel"]
    assert "the template is flat" in reasons["flat"]
    assert "broken.png: cannot be read as an image" in capsys.readouterr().err


def test_scene_can_be_a_video(folder):
    frames = [read_image(folder / "scenes" / f"s{i}.png") for i in (0, 1, 1)]
    write_video(folder / "shelf.mp4", frames)
    boxes = "template,x0,y0,x1,y1\ns0,20,30,70,71\n"
    (folder / "boxes.csv").write_text(boxes)
    write_image(folder / "templates" / "s0.png", frames[0])
    predict(
        folder, f"--data.scene={folder / 'shelf.mp4'}", "--data.max_frames=2",
        f"--data.boxes={folder / 'boxes.csv'}", "--model.threshold=0.5",
    )  # fmt: skip
    first, *_ = read_csv(folder / "out" / "boxes.csv")
    assert float(first["time"]) == 0
    assert first["template"] in {"cup", "s0"}
    video = VideoSequence(folder / "out" / "annotated.mp4")
    assert len(video) == 2
    assert video.read(0).shape == (130, 190, 3)
    (folder / "templates" / "s0.png").unlink()
    predict(folder, f"--data.scene={folder / 'shelf.mp4'}", "--writer.overwrite=true")
    rows = read_csv(folder / "out" / "boxes.csv")
    found = {(row["scene"], row["template"]) for row in rows}
    names = sorted({scene for scene, _ in found})
    assert len(names) == 3
    assert found == {(n, "cup") for n in names} | {(n, "plate") for n in names[1:]}
    for name in names:
        assert read_image(folder / "out/scenes" / name / "result.png").shape == (130, 190, 3)


def test_rotated_template_is_found_and_labelled_with_its_rotation(folder, monkeypatch):
    cup = read_image(folder / "templates" / "cup.png")
    write_image(folder / "templates" / "cup.png", np.rot90(cup, -1))
    labels = []
    real = detections.draw_boxes
    monkeypatch.setattr(
        detections, "draw_boxes", lambda *args: (labels.extend(args[3]), real(*args))[1]
    )
    scene = f"--data.scene={folder / 'scenes' / 's0.png'}"
    cup_only = f"--data.templates={folder / 'templates' / 'cup.png'}"
    predict(folder, scene, cup_only, "--model.rotations=[0,90,180,270]")
    (row,) = read_csv(folder / "out" / "boxes.csv")
    box = [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
    assert box == pytest.approx([20, 30, 70, 71], abs=3)
    assert labels == [f"cup {float(row['score']):.2f} 90 deg"]


def test_templates_have_distinct_colours():
    colors = [detections.template_color(i) for i in range(40)]
    assert len(set(colors)) == 40
    near = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors[:8]) for b in colors[:i]]
    assert min(near) > 60
