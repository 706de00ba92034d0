"""Any input ends in a right answer or in one clear line: never in another error, or in a hang.

Hypothesis invents images, tables, names and checkpoints, valid ones and damaged ones. By default
each test takes a few seconds and always the same examples; PATCHMATCH_EXAMPLES=100 takes a hundred
times as many, and new ones in each run.
"""

import contextlib
import functools
import io
import json
import os
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from program_runs import QUIET, ROOT

from patchmatch import load_shift_matcher
from patchmatch.cli import main
from patchmatch.core.checkpoints import shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.io import (
    find_sequences,
    read_csv,
    read_flo,
    read_image,
    read_image_size,
    read_orientation,
    write_csv,
    write_flo,
)
from patchmatch.io.manifest import Manifest, outputs_in
from patchmatch.pairs.data import find_image_pairs
from patchmatch.templates.template_files import read_templates, read_thresholds

FACTOR = int(os.environ.get("PATCHMATCH_EXAMPLES", "1"))
LONGEST = 60  # seconds of an example

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of decoders about damaged files
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarms"),
]


def examples(count: int) -> Callable[[Callable], Callable]:
    """Return a decorator that sets the number of examples of a test."""
    return settings(
        max_examples=count * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,  # instead: LONGEST
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield an empty folder; a test that hangs fails."""

    def hang(*_: object) -> None:
        raise AssertionError(f"took more than {LONGEST} seconds")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LONGEST)
    try:
        with tempfile.TemporaryDirectory() as path:
            yield Path(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def one_line(error: InputError, path: Path) -> None:
    """Check that an error is one line that names the file or its folder and what to do."""
    text = str(error)
    assert len(text.splitlines()) == 1
    assert str(path) in text or str(path.parent) in text
    assert ";" in text or ":" in text


def answer(call: Callable[[Path], Any], path: Path) -> Any:
    """Return the answer of a reader; None if it raised a clear InputError."""
    try:
        return call(path)
    except InputError as error:
        one_line(error, path)
        return None


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw an image, (H, W) or (H, W, 3), uint8 or uint16, of any content."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    channels = draw(st.sampled_from([(), (3,)]))
    kind = draw(st.sampled_from([np.uint8, np.uint16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.sampled_from([1, 2, np.iinfo(kind).max + 1]))
    return rng.integers(0, top, (height, width, *channels)).astype(kind)


def encode(image: np.ndarray, suffix: str) -> bytes:
    """Return the file of an image; uint16 by OpenCV."""
    if image.dtype == np.uint16:
        return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()
    stream = io.BytesIO()
    names = {".png": "PNG", ".tif": "TIFF", ".bmp": "BMP", ".webp": "WEBP", ".jpg": "JPEG"}
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(image).save(stream, names[suffix], **options)
    return stream.getvalue()


@st.composite
def damages(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a damaged form of a file: bytes that are changed, lost, doubled or appended."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.sampled_from([1, 2, 4, 30]))
        match draw(st.sampled_from(["change", "cut", "lose", "double", "append"])):
            case "change":
                changed[where : where + length] = draw(st.binary(min_size=1, max_size=length))
            case "cut":
                del changed[where:]
            case "lose":
                del changed[where : where + length]
            case "double":
                changed[where:where] = changed[where : where + length]
            case "append":
                changed += draw(st.binary(max_size=length))
    return bytes(changed)


@examples(60)
@given(arrays(), st.sampled_from([".png", ".tif", ".bmp", ".webp"]))
def test_image_is_read_as_it_was_written(image, suffix):
    if image.dtype == np.uint16 and suffix in (".bmp", ".webp"):
        suffix = ".png"
    with folder() as root:
        (path := root / f"a{suffix}").write_bytes(encode(image, suffix))
        found = read_image(path)
        assert found.dtype == image.dtype
        if suffix == ".webp" and image.ndim == 2:  # which has no gray images
            found = found if found.ndim == 2 else found[..., 0]
        np.testing.assert_array_equal(found, image)
        assert read_image_size(path) == image.shape[:2]
        assert read_orientation(path) == 1


@examples(150)
@given(st.data(), arrays(), st.sampled_from([".png", ".tif", ".bmp", ".webp", ".jpg"]))
def test_damaged_image_is_read_or_named(data, image, suffix):
    if image.dtype == np.uint16 and suffix not in (".png", ".tif"):
        suffix = ".png"
    content = data.draw(damages(encode(image, suffix)))
    with folder() as root:
        (path := root / f"a{suffix}").write_bytes(content)
        found = answer(read_image, path)
        if found is not None:
            assert found.ndim in (2, 3)
            assert min(found.shape) > 0
            assert found.dtype in (np.uint8, np.uint16, np.float32)
            assert answer(read_image_size, path) == found.shape[:2]
        answer(read_orientation, path)
        answer(find_sequences, path)
        answer(find_sequences, root)


@examples(60)
@given(st.binary(max_size=300), st.sampled_from([".png", ".mp4", ".gif", ".flo", ".csv", ".txt"]))
def test_any_bytes_are_read_or_named(content, suffix):
    with folder() as root:
        (path := root / f"a{suffix}").write_bytes(content)
        for read in (read_image, read_csv, read_flo, find_sequences, find_image_pairs):
            answer(read, path)
        answer(read_templates, path)
        answer(lambda file: read_thresholds(str(file)), path)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@examples(60)
@given(st.data(), st.lists(TEXT, min_size=1, max_size=4, unique=True))
def test_table_is_read_as_it_was_written(data, columns):
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, TEXT)), max_size=4))
    with folder() as root:
        path = root / "a.csv"
        write_csv(path, columns, rows)
        found = answer(lambda file: read_csv(file, columns), path)
        # a field that is empty makes the line of a single column empty, which csv leaves out
        if found is not None and len(columns) > 1:
            assert [list(row.values()) for row in found] == [
                [str(row[name]) for name in columns] for row in rows
            ]


LINES = st.lists(
    st.one_of(
        st.sampled_from(["image0,image1", "a.png,b.png", "a.png b.png", "a.png", "", "../a.png,x"]),
        TEXT,
    ),
    max_size=5,
)


@examples(80)
@given(LINES, st.sampled_from(["pairs.csv", "list.txt", "table.tsv"]))
def test_any_list_of_pairs_is_read_or_named(lines, name):
    with folder() as root:
        for image in ("a.png", "b.png"):
            (root / image).write_bytes(encode(np.zeros((20, 20), np.uint8), ".png"))
        (root / name).write_text("\n".join(lines), encoding="utf-8")
        for source in (root / name, root):
            found = answer(find_image_pairs, source)
            if found is not None:
                pairs, _ = found
                assert pairs
                assert all(image.is_file() for pair in pairs for image in pair.images)
                assert len({pair.name.casefold() for pair in pairs}) == len(pairs)
                assert not any(set(pair.name) & set('/\\:*?"<>|') for pair in pairs)


@examples(40)
@given(st.data(), st.integers(1, 9), st.integers(1, 9))
def test_flow_is_read_as_it_was_written_and_damage_is_named(data, height, width):
    values = data.draw(st.lists(st.floats(width=32), min_size=2, max_size=2))
    flow = np.broadcast_to(np.array(values, np.float32), (height, width, 2))
    with folder() as root:
        path = root / "a.flo"
        write_flo(path, flow)
        found, valid = read_flo(path)
        assert valid.all() == (np.abs(flow) <= 1e9).all()
        np.testing.assert_array_equal(found, np.where(valid[..., None], flow, 0))
        path.write_bytes(data.draw(damages(path.read_bytes())))
        answer(read_flo, path)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
RECORD = st.one_of(
    JSON,
    st.fixed_dictionaries({"temporary": st.sampled_from(["mine.txt", "../mine.txt", "/mine.txt"])}),
    st.fixed_dictionaries(
        {
            "path": st.one_of(JSON, st.sampled_from(["mine.txt", "../mine.txt", "/mine.txt", "."])),
            "size": st.one_of(st.integers(0, 9), JSON),
            "mtime_ns": st.one_of(st.integers(0, 9), JSON),
        }
    ),
)


@examples(80)
@given(st.lists(RECORD, max_size=4), JSON, st.booleans())
def test_no_list_of_files_leads_to_the_loss_of_a_file(records, settings_of_run, is_finished):
    with folder() as root:
        (run := root / "run").mkdir()
        for path in (root / "mine.txt", run / "mine.txt"):
            path.write_text("mine")
        summary = {"complete": True, "settings": settings_of_run, "files": records}
        if is_finished:
            (run / "summary.json").write_text(json.dumps(summary))
        else:
            (run / "chunks").mkdir()
            lines = "\n".join(map(json.dumps, records))
            (run / "chunks/written-0.jsonl").write_text(lines)
        assert all(path.is_relative_to(run) for path in outputs_in(run))
        manifest = Manifest(run)
        manifest.remove_temporaries()
        manifest.start_replacing()
        manifest.remove_former()
        assert (root / "mine.txt").read_text() == (run / "mine.txt").read_text() == "mine"


@functools.cache
def shipped() -> bytes:
    return shipped_checkpoint("shift_matcher.ckpt").read_bytes()


VALUES = st.one_of(
    st.none(), st.integers(-3, 10**6), st.floats(), TEXT, st.just([]), st.just(torch.zeros(2))
)


@examples(40)
@given(st.data(), st.sampled_from(["hyper_parameters", "state_dict", "top"]))
def test_any_checkpoint_is_loaded_or_named(data, part):
    checkpoint = torch.load(io.BytesIO(shipped()), weights_only=True)
    target = checkpoint if part == "top" else checkpoint[part]
    key = data.draw(st.one_of(st.sampled_from(sorted(target)), TEXT))
    if data.draw(st.booleans()):
        target.pop(key, None)
    else:
        target[key] = data.draw(VALUES)
    with folder() as root:
        torch.save(checkpoint, path := root / "a.ckpt")
        answer(load_shift_matcher, path)


@examples(40)
@given(st.data())
def test_damaged_checkpoint_is_loaded_or_named(data):
    content = data.draw(damages(shipped()))
    with folder() as root:
        (path := root / "a.ckpt").write_bytes(content)
        answer(load_shift_matcher, path)


NAMES = st.one_of(
    st.sampled_from(
        ["a.png", "A.PNG", "frame 1.png", "frame_10.png", "%s.png", "-x.png", "a.b.png"]
    ),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20
    ).map(lambda stem: f"{stem}.png"),
)
FRAME = st.one_of(
    st.tuples(st.sampled_from([(60, 80), (60, 80), (33, 91), (5, 7)]), st.integers(0, 255)).map(
        lambda drawn: encode(np.full(drawn[0], drawn[1], np.uint8), ".png")
    ),
    st.binary(max_size=40),
    st.just(struct.pack(">4I", 1, 2, 3, 4)),
)


def run_predict(arguments: list[str], output: Path) -> int:
    """Predict, and check what a run promises about its folder; return the exit code."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main(["predict", *arguments, *QUIET, f"--writer.output_path={output}"])
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    files = {p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()}
    assert not any(".tmp" in name and name.startswith(".") for name in files)
    if code == 0:
        summary = json.loads((output / "summary.json").read_bytes())
        assert summary["complete"] is True
        assert files == {"summary.json", *(file["path"] for file in summary["files"])}
    else:
        assert code == 2
        lines = [line for line in errors.getvalue().splitlines() if "error:" in line]
        assert len(lines) == 1
        assert files == set()
    return code


@examples(8)
@given(st.dictionaries(NAMES, FRAME, max_size=5))
def test_any_folder_of_frames_is_predicted_or_named(frames):
    with folder() as root:
        (source := root / "in").mkdir()
        for name, content in frames.items():
            with contextlib.suppress(OSError):  # a name that this file system does not allow
                (source / name).write_bytes(content)
        config = str(ROOT / "configs" / "config_patch_match_predict.yaml")
        code = run_predict(["-c", config, f"--data.predict_dir={source}"], root / "out")
        if code == 0:
            images = list((root / "out/topk_diffs").rglob("*.png"))
            assert all(read_image(image).size for image in images)


@examples(8)
@given(st.dictionaries(NAMES, FRAME, max_size=3), st.booleans())
def test_any_folder_of_images_is_matched_or_named(images, has_table):
    with folder() as root:
        (source := root / "in").mkdir()
        for name, content in images.items():
            with contextlib.suppress(OSError):
                (source / name).write_bytes(content)
        if has_table:
            row = ",".join(f'"{name}"' for name in list(images)[:2])
            (source / "pairs.csv").write_text(f"image0,image1\n{row}\n", encoding="utf-8")
        config = str(ROOT / "configs" / "config_match_sift.yaml")
        if run_predict(["-c", config, f"--data.pairs={source}"], root / "out") == 0:
            assert read_csv(root / "out/pairs.csv", ["name", "kind", "matches"])
