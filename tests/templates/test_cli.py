"""Templates from the command line."""

import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from textures import texture

from patchmatch.cli import main
from patchmatch.io import read_csv, read_image, write_image, write_video
from patchmatch.templates import writer as detections

CONFIG = "configs/config_template_predict.yaml"


@pytest.fixture
def places(tmp_path):
    """Two scenes; a cup that is in both, and a plate that is in the second."""
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


def predict(places, *more):
    main([
        "predict", "-c", CONFIG, f"--data.scene={places / 'scenes'}",
        f"--data.templates={places / 'templates'}", "--model.features=handcrafted",
        "--model.threshold=0.9", f"--writer.output_path={places / 'out'}",
        "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", *more,
    ])  # fmt: skip


def test_boxes_pictures_and_one_table_are_written(places):
    predict(places)
    text = (places / "out" / "boxes.csv").read_text()
    assert text.startswith("scene,template,x0,y0,x1,y1,score\n")
    rows = read_csv(places / "out" / "boxes.csv")
    assert list(rows[0]) == ["scene", "template", "x0", "y0", "x1", "y1", "score"]
    found = {
        (row["scene"], row["template"]): [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
        for row in rows
    }
    assert found.keys() == {("s0", "cup"), ("s1", "cup"), ("s1", "plate")}
    assert found["s0", "cup"] == pytest.approx([20, 30, 70, 71], abs=2.5)
    assert found["s1", "cup"] == pytest.approx([90, 60, 140, 101], abs=2.5)
    assert found["s1", "plate"] == pytest.approx([6, 4, 69, 40], abs=2.5)
    (missed,) = read_csv(places / "out" / "not_found.csv")
    assert (missed["scene"], missed["template"]) == ("s0", "plate")
    folder = places / "out" / "scenes" / "s1"
    assert read_image(folder / "result.png").shape == (130, 190, 3)
    height, width, _ = read_image(folder / "heatmap.png").shape
    assert height == 130
    assert width > 190  # the colour scale
    assert len(read_csv(folder / "boxes.csv")) == 2


def test_thresholds_masks_and_broken_templates(places, capsys):
    (places / "templates" / "broken.png").write_bytes(b"no picture")
    (places / "t.csv").write_text("template,threshold\ncup,1\nspoon,0.5\n")
    (places / "masks").mkdir()
    mask = np.zeros((36, 63), np.uint8)
    mask[:, :40] = 255
    write_image(places / "masks" / "plate.png", mask)
    predict(places, f"--data.thresholds={places / 't.csv'}", f"--data.masks={places / 'masks'}")
    rows = read_csv(places / "out" / "boxes.csv")
    assert {(row["scene"], row["template"]) for row in rows} == {("s1", "plate")}
    told = capsys.readouterr().err
    assert told.count("broken.png") == told.count("ignored spoon") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.scene=gone.png", "gone.png: no such scene"),
        ("--data.templates=empty", "holds no templates"),
        ("--model.score=best", "score must be one of"),
        ("--model.weights=gone.pth", "have no weights"),
        ("--data.scene=empty", "holds no pictures; give a picture, a folder or a video"),
        ("--data.scene=broken.png", "nothing was matched; first error: scene left out"),
        ("--data.templates=broken.png", "broken.png: cannot be read as an image"),
        ("--data.thresholds=gone.csv", "gone.csv"),
        ("--model.rotations=[]", "rotations must be one or more angles"),
        ("--model.rotations=[left]", "rotations"),
        ("--model.stride=3", "stride must be 1, 2, 4 or 8 pixels"),
    ],
)
def test_mistakes_end_in_one_line(places, capsys, option, message):
    (places / "empty").mkdir()
    (places / "broken.png").write_bytes(b"no picture")
    option = re.sub("=(empty|broken)", f"={places}/\\1", option)
    with pytest.raises(SystemExit) as caught:
        predict(places, option)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not (places / "out" / "boxes.csv").exists()


def test_weights_of_another_network_end_in_one_line(places, capsys):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, places / "alexnet.pth")
    weights = f"--model.weights={places / 'alexnet.pth'}"
    with pytest.raises(SystemExit) as caught:
        predict(places, weights, "--model.features=resnet18", "--model.layers=[layer1]")
    assert caught.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "weights of another network than resnet18" in told


def test_bad_templates_are_named_and_the_others_done(places, capsys):
    folder = places / "mixed"
    folder.mkdir()
    scene = read_image(places / "scenes" / "s0.png")
    cup = read_image(places / "templates" / "cup.png")
    write_image(folder / "large.png", texture(140, 50, 3))
    write_image(folder / "pixel.png", cup[:1, :1])
    write_image(folder / "flat.png", np.full((30, 40, 3), 77, np.uint8))
    write_image(folder / "scene.png", scene)
    (folder / "broken.png").write_bytes(b"no picture")
    Image.fromarray(np.dstack([cup, np.full(cup.shape[:2], 9, np.uint8)])).save(
        folder / "alpha.png"
    )
    Image.fromarray(cup).convert("L").save(folder / "gray.png")
    cv2.imwrite(str(folder / "deep.png"), cup[..., ::-1].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(cup).copy()).save(folder / "side.png", exif=exif)
    predict(
        places, f"--data.scene={places / 'scenes' / 's0.png'}", f"--data.templates={folder}",
        "--model.max_overlap=1", "--model.max_detections=1", "--model.threshold=0.4",
    )  # fmt: skip
    found = {
        row["template"]: [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
        for row in read_csv(places / "out" / "boxes.csv")
    }
    assert found.pop("scene") == pytest.approx([0, 0, 190, 130], abs=2)
    found.pop("gray", None)  # without its colours it may be missed
    assert found.keys() == {"alpha", "deep", "side"}
    for box in found.values():
        assert box == pytest.approx([20, 30, 70, 71], abs=4)
    reasons = {r["template"]: r["reason"] for r in read_csv(places / "out" / "not_found.csv")}
    assert reasons.keys() - {"gray"} == {"large", "pixel", "flat"}
    assert "50x140 pixels is larger than the scene of 190x130" in reasons["large"]
    assert "1x1 pixels is smaller than 4x4" in reasons["pixel"]
    assert "the template is flat" in reasons["flat"]
    assert "broken.png: cannot be read as an image" in capsys.readouterr().err


def test_a_scene_may_be_a_video(places):
    frames = [read_image(places / "scenes" / f"s{i}.png") for i in (0, 1, 1)]
    write_video(places / "shelf.mp4", frames)
    predict(places, f"--data.scene={places / 'shelf.mp4'}")
    rows = read_csv(places / "out" / "boxes.csv")
    found = {(row["scene"], row["template"]) for row in rows}
    names = sorted({scene for scene, _ in found})
    assert len(names) == 3
    assert found == {(n, "cup") for n in names} | {(n, "plate") for n in names[1:]}
    for name in names:
        assert read_image(places / "out/scenes" / name / "result.png").shape == (130, 190, 3)


def test_a_turned_template_is_found_on_request_and_its_label_tells_the_angle(places, monkeypatch):
    cup = read_image(places / "templates" / "cup.png")
    write_image(places / "templates" / "cup.png", np.rot90(cup, -1))
    labels = []
    real = detections.draw_boxes
    monkeypatch.setattr(
        detections, "draw_boxes", lambda *args: (labels.extend(args[3]), real(*args))[1]
    )
    scene = f"--data.scene={places / 'scenes' / 's0.png'}"
    cup_alone = f"--data.templates={places / 'templates' / 'cup.png'}"
    predict(places, scene, cup_alone, "--model.rotations=[0,90,180,270]")
    (row,) = read_csv(places / "out" / "boxes.csv")
    box = [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
    assert box == pytest.approx([20, 30, 70, 71], abs=3)
    assert labels == [f"cup {float(row['score']):.2f} 90 deg"]


def test_every_template_has_a_colour_of_its_own():
    colors = [detections.template_color(i) for i in range(40)]
    assert len(set(colors)) == 40
    near = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors[:8]) for b in colors[:i]]
    assert min(near) > 60
