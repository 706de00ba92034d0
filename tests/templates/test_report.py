"""The report of template matching: its data, and the page in a browser."""

import json
import re

import pytest
from textures import texture

from patchmatch.cli import main
from patchmatch.io import write_image, write_video


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a video in which a cup moves; a plate is in its last frame only."""
    folder = tmp_path_factory.mktemp("report")
    cup, plate = texture(41, 50, 1), texture(36, 63, 2)
    frames = [texture(130, 190, 10).copy() for _ in range(4)]
    for i, frame in enumerate(frames):
        frame[70 : 70 + 41, 20 + 10 * i : 70 + 10 * i] = cup
    frames[3][4:40, 6:69] = plate
    write_video(folder / "table.mp4", frames, 10)
    (folder / "templates").mkdir()
    write_image(folder / "templates" / "cup.png", cup)
    write_image(folder / "templates" / "plate.png", plate)
    main([
        "predict", "-c", "configs/config_template_predict.yaml",
        f"--data.scene={folder / 'table.mp4'}", f"--data.templates={folder / 'templates'}",
        "--model.features=handcrafted", "--model.threshold=0.9", "--writer.report=true",
        f"--writer.output_path={folder / 'out'}", "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ])  # fmt: skip
    return folder / "out" / "report.html"


def test_the_page_contains_scenes_and_templates(report):
    page = report.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["templates"] == ["cup", "plate"]
    assert len(data["names"]) == 4
    assert (report.parent / data["pictures"][3]).is_file()
    assert data["summary"]["rows"] == 5
    assert not re.search(r"""(src|href)=["']?http""", page)
    summary = json.loads((report.parent / "summary.json").read_text())
    assert "report.html" in json.dumps(summary["files"])


def test_scenes_and_templates_react(show, report):
    page = show(report)
    cells = page.locator("#rows tr").all_text_contents()
    assert [cell[:-4] for cell in cells] == ["cup4 of 4", "plate1 of 4"]
    assert "cup" in page.text_content("#caption")
    assert "plate" not in page.text_content("#caption")
    first = page.evaluate("document.getElementById('frame').toDataURL()")
    page.click("#rows tr:nth-child(2)")
    assert page.text_content("#number") == "4 of 4"
    assert "plate" in page.text_content("#caption")
    page.wait_for_timeout(100)
    assert page.evaluate("document.getElementById('frame').toDataURL()") != first
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 10)
    assert "cup" in page.text_content("#tooltip")
    assert "plate" not in page.text_content("#tooltip")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Home")
    assert page.text_content("#number") == "1 of 4"
