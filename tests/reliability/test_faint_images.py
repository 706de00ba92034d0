"""Images that use few of their 16 bits are stretched, for every matcher and in every drawing.

The same scene is read as 8 bits, as 10 bits in a file of 16, and as a narrow range of values far
from black, as of a thermal camera.
"""

import cv2
import numpy as np
import pytest
from program_runs import QUIET, rows
from textures import blobs

from patchmatch.cli import main
from patchmatch.core.registration import subclasses
from patchmatch.frames.data import Frames
from patchmatch.frames.drawing import STYLES
from patchmatch.io import IMAGE_SUFFIXES
from patchmatch.pairs.data import PicturePairs
from patchmatch.pairs.matcher import PairMatcher

DEPTHS = {
    "d8": lambda gray: gray,
    "d10": lambda gray: gray.astype(np.uint16) * 4,
    "thermal": lambda gray: 29500 + gray.astype(np.uint16) * 2,
}
PAIRS = ("match_sift", "match_asift", "match_field", "match_homography_net")
CHANGED = 8  # mean gray levels by which a drawing of 10 bits may differ from that of 8


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each depth: ``pair``, ``frames``, ``scene.png`` and ``templates``."""
    root = tmp_path_factory.mktemp("faint")
    canvas = cv2.cvtColor(blobs(220, 300, seed=1, spacing=9), cv2.COLOR_BGR2GRAY)
    for name, convert in DEPTHS.items():
        images = {f"pair/{i}": canvas[10 + 4 * i :, 20 + 6 * i :][:180, :240] for i in (0, 1)}
        images |= {f"frames/{i}": canvas[10:, 20 + i :][:100, :140] for i in range(3)}
        images |= {"scene": canvas[:180, :240], "templates/part": canvas[60:108, 80:140]}
        for path, image in images.items():
            file = root / name / f"{path}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(file), convert(image))
    return root


def predict(folder, config, *options, depth):
    """Run a configuration into ``folder/DEPTH`` and return the drawings by their names."""
    out = folder / depth
    main(["predict", "-c", config, f"--writer.output_path={out}", *options, *QUIET])
    return {
        path.relative_to(out).as_posix(): cv2.imread(str(path))
        for path in sorted(out.rglob("*"))
        if path.suffix in IMAGE_SUFFIXES
    }


def require_alike(drawings):
    """Drawings of 10 bits are those of 8 bits, and a narrow range shows as much contrast."""
    assert drawings["d8"]
    for name, expected in drawings["d8"].items():
        for depth in ("d10", "thermal"):
            assert name in drawings[depth]
            drawn = drawings[depth][name]
            if "panorama" not in name and "overview" not in name:  # their sizes depend on results
                assert drawn.shape == expected.shape
            assert drawn.std() > 0.3 * expected.std(), (depth, name)
        if "iterations" in name:  # early iterations are random, and differ by the last bit
            continue
        if drawings["d10"][name].shape == expected.shape:
            difference = np.abs(drawings["d10"][name].astype(float) - expected).mean()
            assert difference < CHANGED, name


@pytest.mark.parametrize("config", PAIRS)
def test_pairs_are_matched_and_drawn_alike(folders, tmp_path, config):
    drawings, matches = {}, {}
    for depth in DEPTHS:
        source = f"--data.pairs={folders / depth / 'pair'}"
        drawings[depth] = predict(tmp_path, config, source, depth=depth)
        (row,) = rows(tmp_path / depth / "pairs.csv")
        matches[depth] = int(row["matches"])
        assert row["kind"] == "overlapping"
    require_alike(drawings)
    assert matches["d8"] >= 20
    assert matches["d10"] == pytest.approx(matches["d8"], rel=0.1)
    assert matches["thermal"] >= 0.5 * matches["d8"]


def test_epipolar_lines_are_drawn_alike(folders, tmp_path):
    drawings = {}
    for depth in DEPTHS:
        source = f"--data.pairs={folders / depth / 'pair'}"
        options = [source, "--model.epipolar=fundamental"]
        drawings[depth] = predict(tmp_path, "match_sift", *options, depth=depth)
    require_alike(drawings)


def test_every_pair_matcher_gets_the_same_images(folders):
    """Those whose weights are not in the package read through the same data module."""
    assert {kind.__name__ for kind in subclasses(PairMatcher)} >= {
        "SIFTMatcher",
        "ASIFTMatcher",
        "FieldMatcher",
        "LoFTRMatcher",
        "SE2LoFTRMatcher",
        "AffNetHardNetMatcher",
    }
    batches = {}
    for depth in DEPTHS:
        data = PicturePairs(pairs=str(folders / depth / "pair"))
        data.setup("predict")
        (batches[depth],) = list(data.predict_dataloader())
    for name in ("image0", "image1"):
        low, high = (np.asarray(batches["d8"][name]).min(), np.asarray(batches["d8"][name]).max())
        full = np.asarray(batches["d8"][name])
        assert np.abs(np.asarray(batches["d10"][name]) - full).max() < 0.01
        narrow = np.asarray(batches["thermal"][name])
        assert narrow.max() - narrow.min() > 0.4 * (high - low)


def test_fields_are_found_and_drawn_alike(folders, tmp_path):
    drawings, psnr = {}, {}
    for depth in DEPTHS:
        for i in (0, 1):
            base = tmp_path / "in" / depth / f"image_{i + 1}"
            base.mkdir(parents=True)
            (base / "0.png").write_bytes((folders / depth / "pair" / f"{i}.png").read_bytes())
        options = [f"--data.base_dir={tmp_path / 'in' / depth}", "--model.iterations=3"]
        drawings[depth] = predict(tmp_path, "reconstruct", *options, depth=depth)
        (row,) = rows(tmp_path / depth / "pairs.csv")
        psnr[depth] = float(row["psnr"])
    assert {f"pairs/0/{name}.png" for name in ("rebuilt_vote", "overview", "flow", "cost")} <= set(
        drawings["d8"]
    )
    del drawings["thermal"]["pairs/0/cost.png"]  # costs are squares: a sixteenth
    del drawings["d8"]["pairs/0/cost.png"]
    require_alike(drawings)
    assert psnr["d10"] == pytest.approx(psnr["d8"], abs=1.5)


@pytest.mark.parametrize("style", STYLES)
def test_changes_are_found_and_drawn_alike(folders, tmp_path, style):
    drawings, counts = {}, {}
    for depth in DEPTHS:
        options = [f"--data.predict_dir={folders / depth / 'frames'}", f"--writer.style={style}"]
        drawings[depth] = predict(tmp_path, "patch_match", *options, depth=depth)
        counts[depth] = [int(row["one_pixel"]) for row in rows(tmp_path / depth / "pairs.csv")]
    require_alike(drawings)
    assert min(counts["d8"]) > 10
    for depth in ("d10", "thermal"):
        assert np.allclose(counts[depth], counts["d8"], atol=3)


def test_motion_is_measured_alike(folders, tmp_path):
    motion = {}
    for depth in DEPTHS:
        options = [f"--data.predict_dir={folders / depth / 'frames'}", "--writer.min_score=0"]
        predict(tmp_path, "motion", *options, depth=depth)
        found = rows(tmp_path / depth / "changes.csv")
        motion[depth] = np.median([float(row["dx_total"] or row["dx"]) for row in found])
        assert motion[depth] == pytest.approx(-1, abs=0.1)


def test_thumbnails_of_the_report_and_the_video_are_stretched(folders, tmp_path):
    contents = {}
    for depth in DEPTHS:
        options = [f"--data.predict_dir={folders / depth / 'frames'}"]
        options += ["--writer.report=true", "--writer.video=true"]
        predict(tmp_path, "patch_match", *options, depth=depth)
        capture = cv2.VideoCapture(str(tmp_path / depth / "annotated.mp4"))
        read, frame = capture.read()
        assert read
        contents[depth] = frame
        assert (tmp_path / depth / "report.html").stat().st_size > 10_000
    assert contents["thermal"].std() > 0.3 * contents["d8"].std()
    assert np.abs(contents["d10"].astype(float) - contents["d8"]).mean() < CHANGED


def test_templates_are_found_and_drawn_alike(folders, tmp_path):
    drawings = {}
    for depth in DEPTHS:
        options = [f"--data.scene={folders / depth / 'scene.png'}"]
        options += [f"--data.templates={folders / depth / 'templates'}"]
        options += ["--model.features=handcrafted"]
        drawings[depth] = predict(tmp_path, "template", *options, depth=depth)
        (row,) = rows(tmp_path / depth / "boxes.csv")
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert np.allclose(box, [80, 60, 140, 108], atol=3)
    require_alike(drawings)


def test_frames_are_stretched_for_every_matcher_of_frames(folders):
    frames = {}
    for depth in DEPTHS:
        data = Frames(predict_dir=str(folders / depth / "frames"))
        data.setup("predict")
        frames[depth] = next(iter(data.predict_dataloader()))["frames"][0]
    assert (frames["d8"] - frames["d10"]).abs().max() < 0.01
    assert frames["thermal"].max() - frames["thermal"].min() > 0.4
