"""Templates from the command line."""

import cv2
import numpy as np
import pytest

from patchmatch.cli import main
from patchmatch.io import read_csv, read_image, write_image

CONFIG = "configs/config_template_predict.yaml"


def texture(height, width, seed):
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (5, 13, 31):
        small = rng.random((height // side + 2, width // side + 2, 3), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 * np.clip((total - total.min()) / np.ptp(total), 0, 1)).astype(np.uint8)


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
    with pytest.warns(UserWarning, match=r"template left out: .*broken\.png|ignored spoon"):
        predict(places, f"--data.thresholds={places / 't.csv'}", f"--data.masks={places / 'masks'}")
    rows = read_csv(places / "out" / "boxes.csv")
    assert {(row["scene"], row["template"]) for row in rows} == {("s1", "plate")}
    told = capsys.readouterr().err
    assert "broken.png" in told
    assert "ignored spoon" in told


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.scene=gone.png", "gone.png: no such scene"),
        ("--data.templates=empty", "holds no templates"),
        ("--model.score=best", "score must be one of"),
        ("--model.weights=gone.pth", "have no weights"),
    ],
)
def test_mistakes_end_in_one_line(places, capsys, option, message):
    (places / "empty").mkdir()
    option = option.replace("empty", str(places / "empty"))
    with pytest.raises(SystemExit) as caught:
        predict(places, option)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not (places / "out" / "boxes.csv").exists()
