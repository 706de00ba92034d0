import numpy as np
import pytest
import torch
from PIL import Image

from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.templates.data import TemplateScenes, open_scenes
from patchmatch.templates.template_files import (
    as_colors,
    read_masks,
    read_templates,
    read_thresholds,
)


def put(path, height=12, width=20, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((height, width, 3), value, np.uint8))


def test_templates_are_in_natural_order_and_broken_ones_reported(tmp_path):
    for name in ("cup10", "cup2", "bowl"):
        put(tmp_path / f"{name}.png")
    (tmp_path / "cup3.png").write_bytes(b"not an image")
    (tmp_path / "notes.txt").write_text("no template")
    templates, masks, notes = read_templates(tmp_path)
    assert list(templates) == ["bowl", "cup2", "cup10"]
    assert templates["bowl"].shape == (3, 12, 20)
    assert not masks
    assert len(notes) == 1
    assert "cup3.png" in notes[0]


def test_folder_without_templates_raises(tmp_path):
    with pytest.raises(InputError, match="contains no templates"):
        read_templates(tmp_path)
    (tmp_path / "cup.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"cup\.png: cannot be read"):
        read_templates(tmp_path)


def test_as_colors_returns_rgb_from_0_to_1():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = 255, 51, 0
    assert as_colors(image)[:, 0, 1].tolist() == pytest.approx([1, 0.2, 0])
    assert as_colors(np.full((2, 3), 65535, np.uint16)).unique().tolist() == [1]
    assert as_colors(np.full((2, 3), 0.25, np.float32)).shape == (3, 2, 3)


def test_scenes_are_an_image_or_a_folder(tmp_path):
    put(tmp_path / "scenes" / "b2.png")
    assert len(open_scenes(tmp_path / "scenes" / "b2.png")) == 1
    put(tmp_path / "scenes" / "b10.png")
    found = open_scenes(tmp_path / "scenes")
    assert [found.frame_name(i) for i in range(len(found))] == ["b2", "b10"]
    with pytest.raises(InputError, match="scene not found"):
        open_scenes(tmp_path / "gone.png")


@pytest.mark.parametrize("value", ["", "much", "1.2", "-0.1", "nan"])
def test_threshold_outside_0_to_1_raises(tmp_path, value):
    path = tmp_path / "t.csv"
    path.write_text(f"template,threshold\ncup,0.4\nbowl,{value}\n")
    with pytest.raises(InputError, match="threshold of bowl must lie between 0 and 1"):
        read_thresholds(str(path))


def test_mask_of_another_size_or_name_raises(tmp_path):
    templates = {"cup": torch.zeros(3, 12, 20)}
    put(tmp_path / "masks" / "cup.png", value=255)
    assert read_masks(tmp_path / "masks", templates)["cup"].all()
    put(tmp_path / "masks" / "cup.png", 12, 19)
    with pytest.raises(InputError, match="size of its template, 20x12, got 19x12"):
        read_masks(tmp_path / "masks", templates)
    put(tmp_path / "masks" / "spoon.png")
    (tmp_path / "masks" / "cup.png").unlink()
    with pytest.raises(InputError, match="no template of that name"):
        read_masks(tmp_path / "masks", templates)


def test_broken_scene_is_left_out(tmp_path):
    put(tmp_path / "scenes" / "a.png")
    (tmp_path / "scenes" / "b.png").write_bytes(b"not an image")
    put(tmp_path / "cup.png")
    data = TemplateScenes(str(tmp_path / "scenes"), str(tmp_path / "cup.png"))
    data.setup("predict")
    whole, broken = data.predict_dataloader()
    assert whole["pairs"] == [(0, 0)]
    assert broken["pairs"] == []
    assert "scene left out" in broken["notes"][-1]
    data.skip([0])
    assert [scene["index"] for scene in data.predict_dataloader()] == [1]


def test_fit_raises(tmp_path):
    with pytest.raises(InputError, match="no ground truth"):
        TemplateScenes().setup("fit")


def test_alpha_channels_are_masks_unless_others_are_given(tmp_path):
    layered = np.full((12, 20, 4), 90, np.uint8)
    layered[..., 3] = 255
    layered[:, :5, 3] = 0
    (tmp_path / "templates").mkdir()
    Image.fromarray(layered).save(tmp_path / "templates" / "cup.png")
    put(tmp_path / "templates" / "plate.png")
    (tmp_path / "templates" / "._cup.png").write_bytes(b"of another system")
    put(tmp_path / "scene.png", 40, 50)
    options = {"scene": str(tmp_path / "scene.png"), "templates": str(tmp_path / "templates")}
    data = TemplateScenes(**options)
    data.setup("predict")
    (scene,) = data.predict_dataloader()
    masks = dict(zip(scene["template_names"], scene["masks"], strict=True))
    assert masks["plate"] is None
    assert masks["cup"].sum() == 12 * 15
    assert not masks["cup"][:, :5].any()
    put(tmp_path / "masks" / "cup.png", value=255)
    data = TemplateScenes(**options, masks=str(tmp_path / "masks"))
    data.setup("predict")
    (scene,) = data.predict_dataloader()
    assert scene["masks"][scene["template_names"].index("cup")].all()


def test_boxes_of_images_are_templates(tmp_path):
    for name in ("plate", "table"):
        put(tmp_path / "images" / f"{name}.png", 40, 50)
    path = tmp_path / "boxes.csv"
    path.write_text("template,x0,y0,x1,y1\ntable,10,5,30,20\ntable,0,0,50,40\n")
    options = {"scene": str(tmp_path / "images"), "templates": str(tmp_path / "images")}
    data = TemplateScenes(**options, boxes=str(path), max_frames=1)
    data.setup("predict")
    (scene,) = data.predict_dataloader()
    assert scene["template_names"] == ["plate", "table", "table_2"]
    boxes = [None if box is None else box.tolist() for box in scene["boxes"]]
    assert boxes == [None, [10, 5, 30, 20], [0, 0, 50, 40]]
    for row, words in (
        ("table,10,5,60,20", "row 1: the box must lie in its image of 50x40"),
        ("table,10,5,x,20", "row 1: could not convert"),
        ("cup,10,5,30,20", "row 1: there is no template cup"),
    ):
        path.write_text(f"template,x0,y0,x1,y1\n{row}\n")
        with pytest.raises(InputError, match=words):
            TemplateScenes(**options, boxes=str(path)).setup("predict")
