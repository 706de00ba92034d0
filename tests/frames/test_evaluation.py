import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.files import write_sequence
from patchmatch.frames.cows.sequence import IGNORE_LABEL as RENDERED_IGNORE_LABEL
from patchmatch.frames.cows.sequence import CowSequence, render_sequence
from patchmatch.frames.evaluation import ChangeScores, KindScores, block_truth, score_changes
from patchmatch.frames.evaluation_files import IGNORE_LABEL, KINDS, MASKS
from patchmatch.frames.results import Kind

VELOCITY = np.array([[0, 0], [1, 0], [-3, 0], [0, 0], [-1, -1], [0, 2]])
HEADER = "source,frame0,frame1,x0,y0,x1,y1,dx,dy,kind,score"


@pytest.fixture(scope="module")
def clean():
    """A sequence without noise, with constant brightness and four different speeds."""
    return render_sequence(frames=4, height=330, width=600, seed=5, noise=0, light=0)


# -- block_truth


def label_row(*parts):
    """Return labels (10, 20 per part); each part is (label, number of columns from the left)."""
    labels = np.zeros((10, 20 * len(parts)), np.uint8)
    for i, (label, columns) in enumerate(parts):
        labels[:, 20 * i : 20 * i + columns] = label
    return labels


def boxes_of(count):
    return [(20 * i, 0, 20 * i + 20, 10) for i in range(count)]


def test_block_with_one_motion_has_its_kind():
    labels = label_row((0, 20), (1, 20), (2, 20), (3, 20), (4, 20), (5, 20))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(6))
    assert kinds.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.issubdtype(kinds.dtype, np.integer)


def test_block_needs_a_majority_of_four_fifths():
    labels = label_row((1, 16), (1, 15), (2, 16), (2, 4), (2, 5))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(5))
    assert kinds.tolist() == [1, -1, 2, 0, -1]


def test_still_share_makes_blocks_at_a_border_ambiguous():
    labels = label_row((2, 4), (2, 1), (2, 16), (3, 4))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(4), still_share=0.95)
    assert kinds.tolist() == [-1, 0, 2, 0]


def test_block_that_differs_between_the_frames_is_ambiguous():
    labels0, labels1 = label_row((1, 20), (0, 20)), label_row((1, 10), (2, 6))
    kinds = block_truth(labels0, labels1, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [-1, -1]


def test_objects_of_equal_velocity_are_one_motion():
    labels = label_row((3, 10))  # a static object on the background
    assert block_truth(labels, labels, VELOCITY, boxes_of(1)).tolist() == [0]
    velocity = np.array([[0, 0], [1, 0], [1, 0]])
    labels = label_row((1, 10))
    labels[:, 10:] = 2
    assert block_truth(labels, labels, velocity, boxes_of(1)).tolist() == [1]


def test_moving_shadow_does_not_make_a_block_move():
    labels = label_row((IGNORE_LABEL, 12), (IGNORE_LABEL, 12))
    labels[:, 32:] = 1  # 8 of 20 columns: an object beside its shadow
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [0, -1]


def test_block_truth_agrees_with_a_loop_over_pixels(clean):
    labels0, labels1, velocity = clean.labels[0], clean.labels[1], clean.velocity
    boxes = [(x, y, x + 26, y + 18) for y in range(3, 300, 23) for x in range(1, 570, 31)]
    expected = []
    for x0, y0, x1, y1 in boxes:
        shares = {}
        for i, labels in enumerate((labels0, labels1)):
            for label in labels[y0:y1, x0:x1].ravel().tolist():
                key = "none" if label == IGNORE_LABEL else tuple(velocity[label])
                shares.setdefault(key, [0, 0])[i] += 1 / (26 * 18)
        moving = [v for key, v in shares.items() if key != "none" and any(key)]
        kind = 0 if np.sum(moving, axis=0).max(initial=0) < 0.05 else -1
        for key, share in shares.items():
            if key != "none" and min(share) >= 0.8:
                kind = min(max(abs(key[0]), abs(key[1])), 2)
        expected.append(int(kind))
    assert set(expected) == {-1, 0, 1, 2}
    assert block_truth(labels0, labels1, velocity, boxes).tolist() == expected


def test_empty_boxes_give_empty_kinds():
    labels = label_row((1, 20))
    kinds = block_truth(labels, labels, VELOCITY, np.zeros((0, 4), int))
    assert kinds.shape == (0,)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, 5, 11), (5, 0, 5, 5)])
def test_box_outside_the_image_raises(box):
    labels = label_row((1, 20))
    with pytest.raises(ValueError, match=r"inside the 10x20 image, got \[.*clip them"):
        block_truth(labels, labels, VELOCITY, [(0, 0, 5, 5), box])


def test_labels_of_different_sizes_raise():
    with pytest.raises(ValueError, match="must have equal shapes"):
        block_truth(label_row((1, 2)), label_row((1, 2), (1, 2)), VELOCITY, [])


# -- score_changes


def write_truth(folder, labels, velocity):
    np.savez_compressed(folder / MASKS, labels=np.asarray(labels), velocity=np.asarray(velocity))


def write_table(folder, *rows, header=HEADER):
    path = folder / "changes.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(t, box, kind, displacement=("", ""), source="cows"):
    corners, (dx, dy) = ",".join(map(str, box)), displacement
    return f"{source},frame_{t},frame_{t + 1},{corners},{dx},{dy},{kind},0.9000"


@pytest.fixture
def scene(tmp_path):
    """Three frames of 60x220 with objects of 40x40, one per speed, and a smaller one.

    Object 1 moves by (0, 1), object 2 by (4, 0), object 3 of 20x20 by (-1, 1), object 4 is static.
    """
    velocity = np.array([(0, 0), (0, 1), (4, 0), (-1, 1), (0, 0)])
    starts = {1: (0, 5, 40), 2: (60, 5, 40), 3: (120, 5, 20), 4: (160, 5, 40)}
    labels = np.zeros((3, 60, 220), np.uint8)
    for t in range(3):
        for k, (x, y, side) in starts.items():
            x, y = (x, y) + t * velocity[k]
            labels[t, y : y + side, x : x + side] = k
    write_truth(tmp_path, labels, velocity)
    return tmp_path


def test_scores_of_a_small_scene_are_exact(scene):
    path = write_table(
        scene,
        row(0, (4, 10, 30, 36), "one_pixel", (0, 1)),  # correct and exact
        row(0, (8, 10, 34, 36), "one_pixel", (1, 0)),  # correct, not exact
        row(0, (66, 10, 92, 36), "one_pixel", (0, 1)),  # a larger motion
        row(0, (166, 10, 192, 36), "larger"),  # a static object
        row(0, (98, 0, 112, 12), "one_pixel", (0, 1)),  # background next to object 2
        row(0, (40, 30, 56, 60), "larger"),  # background
        row(1, (66, 10, 92, 36), "larger"),  # correct
        row(1, (30, 10, 56, 36), "larger"),  # half an object: ambiguous
        row(1, (121, 8, 133, 20), "one_pixel", ("-1.0", "1")),  # a small object: correct
        row(1, (10, 10, 20, 20), "larger"),  # a motion of one pixel
    )
    assert score_changes(path, scene) == ChangeScores(
        one_pixel=KindScores(boxes=5, correct=3, still=0, ambiguous=1, objects=2, detected=1),
        larger=KindScores(boxes=5, correct=1, still=2, ambiguous=1, objects=2, detected=1),
        exact=2,
        pairs=2,
    )


def test_precision_excludes_ambiguous_boxes():
    one_pixel = KindScores(boxes=9, correct=6, still=1, ambiguous=1, objects=5, detected=4)
    scores = ChangeScores(one_pixel=one_pixel, larger=KindScores(), exact=2, pairs=3)
    assert scores.one_pixel.precision == 6 / 8
    assert scores.one_pixel.recall == 4 / 5
    assert scores.exact_share == 2 / 8
    assert math.isnan(scores.larger.precision)
    assert math.isnan(scores.larger.recall)


def test_empty_table_detects_nothing_in_all_pairs(scene):
    scores = score_changes(write_table(scene), scene)
    assert scores.one_pixel == KindScores(objects=2)
    assert scores.larger == KindScores(objects=2)
    assert (scores.pairs, scores.exact) == (2, 0)


def test_box_detects_an_object_if_half_of_either_overlaps(scene):
    for box, detected in (((20, 5, 60, 45), 1), ((21, 5, 61, 45), 0), ((0, 25, 220, 60), 1)):
        path = write_table(scene, row(0, box, "one_pixel", (0, 1)))
        assert score_changes(path, scene).one_pixel.detected == detected, box


def test_object_with_too_few_visible_pixels_in_either_frame_is_excluded(tmp_path):
    labels = np.zeros((2, 60, 80), np.uint8)
    labels[0, :26, :26], labels[1, :26, :26] = 1, 1
    for last, objects in ((1, 1), (0, 0)):  # 676 pixels, then 675
        labels[1, 25, 25] = last
        write_truth(tmp_path, labels, [(0, 0), (1, 0)])
        path = write_table(tmp_path)
        assert score_changes(path, tmp_path).one_pixel.objects == objects


def test_still_share_makes_boxes_ambiguous(tmp_path):
    labels = np.zeros((2, 20, 40), np.uint8)
    labels[:, :, 18:] = 1
    write_truth(tmp_path, labels, [(0, 0), (5, 0)])
    path = write_table(tmp_path, row(0, (0, 0, 20, 20), "larger"))
    assert score_changes(path, tmp_path).larger.still == 1
    assert score_changes(path, tmp_path, still_share=0.95).larger.ambiguous == 1


def test_boxes_of_the_ground_truth_score_perfectly(clean, tmp_path):
    write_truth(tmp_path, clean.labels, clean.velocity)
    boxes = [(x, y, x + 26, y + 26) for y in range(0, 300, 13) for x in range(0, 570, 13)]
    rows = []
    for t in range(3):
        kinds = block_truth(clean.labels[t], clean.labels[t + 1], clean.velocity, boxes)
        for (x0, y0, x1, y1), kind in zip(boxes, kinds, strict=True):
            if kind > 0:
                label = clean.labels[t, y0:y1, x0:x1].ravel()
                motion = clean.velocity[np.bincount(label[label != IGNORE_LABEL]).argmax()]
                name = Kind(kind).label
                rows.append(row(t, (x0, y0, x1, y1), name, motion if kind == 1 else ("", "")))
    scores = score_changes(write_table(tmp_path, *rows), tmp_path)
    shares = [scores.exact_share]
    for part in (scores.one_pixel, scores.larger):
        assert part.objects > 0
        shares += [part.precision, part.recall]
    assert shares == [1, 1, 1, 1, 1]
    assert scores.pairs == 3


def test_rendered_folder_can_be_scored(tmp_path):
    write_sequence(render_sequence(frames=2, height=200, width=300), tmp_path)
    scores = score_changes(write_table(tmp_path), tmp_path)
    assert scores.one_pixel.objects + scores.larger.objects == 2


def test_constants_equal_those_of_the_writers():
    assert {Kind(number).label: number for number in KINDS.values()} == KINDS
    assert IGNORE_LABEL == RENDERED_IGNORE_LABEL
    assert dataclasses.fields(CowSequence)[1].name == "labels"


def test_evaluation_does_not_import_torch():
    code = "import sys, patchmatch.frames.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_pairs_of_any_gap_are_scored_by_their_total_displacement(tmp_path):
    labels = np.zeros((4, 60, 220), np.uint8)
    for t in range(4):
        labels[t, 10:40, 20 + t : 60 + t] = 1
    write_truth(tmp_path, labels, [(0, 0), (1, 0)])
    near = row(1, (24, 10, 50, 36), "one_pixel", (1, 0))
    far = row(1, (24, 10, 50, 36), "larger", (2, 0)).replace("frame_2", "frame_3")
    scores = score_changes(write_table(tmp_path, near, far), tmp_path)
    assert scores.pairs == 3 + 2
    for part, objects in ((scores.one_pixel, 3), (scores.larger, 2)):
        assert (part.correct, part.objects, part.detected) == (1, objects, 1)
    assert scores.exact == 2
    scores = score_changes(write_table(tmp_path, far), tmp_path)
    assert (scores.pairs, scores.one_pixel.objects) == (2, 0)


GOOD = row(0, (4, 10, 30, 36), "one_pixel", (0, 1))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            GOOD.replace("frame_0", "img_0"),
            "two ordered frames of frame_0 to frame_2, got img_0, frame_1; predict",
        ),
        (row(2, (4, 10, 30, 36), "larger"), "frame_0 to frame_2, got frame_2, frame_3"),
        (GOOD.replace("frame_1", "frame_0"), "two ordered frames .* got frame_0, frame_0"),
        (GOOD.replace("frame_1", "frame_3"), "two ordered frames .* got frame_0, frame_3"),
        (GOOD.replace("one_pixel", "green"), "kind must be one_pixel or larger, got green"),
        (GOOD.replace(",30,", ",x,"), "x1 must be a number, got x"),
        (GOOD.replace(",30,", ",30.5,"), "integer pixels with area inside 220x60, got 4, 10, 30.5"),
        (GOOD.replace(",30,", ",221,"), "area inside 220x60"),
        (GOOD.replace(",30,", ",4,"), "area inside 220x60"),
        (GOOD.replace(",0,1,", ",,1,"), "dx must be a number, got nothing"),
        (GOOD.replace(",0,1,", ",nan,1,"), "dx must be a number, got nan"),
    ],
)
def test_invalid_row_raises_with_its_number_and_a_remedy(scene, bad, message):
    path = write_table(scene, GOOD, bad)
    with pytest.raises(InputError, match=rf"changes\.csv row 2: .*{message}"):
        score_changes(path, scene)


def test_invalid_tables_raise(scene):
    with pytest.raises(InputError, match=r"missing\.csv: no such file"):
        score_changes(scene / "missing.csv", scene)
    with pytest.raises(InputError, match=r"changes\.csv: the table lacks kind"):
        score_changes(write_table(scene, header=HEADER.replace("kind", "sort")), scene)
    with pytest.raises(InputError, match=r"several sequences \(cows, sheep\); predict the folder"):
        score_changes(write_table(scene, GOOD, GOOD.replace("cows", "sheep")), scene)


def test_missing_or_damaged_ground_truth_raises(scene, tmp_path_factory):
    path, masks = write_table(scene, GOOD), scene / MASKS
    with pytest.raises(InputError, match=r"truth_masks\.npz: no such file, .*render_frames"):
        score_changes(path, tmp_path_factory.mktemp("empty"))
    masks.write_bytes(masks.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"truth_masks\.npz: is damaged .*; render the frames"):
        score_changes(path, scene)
    masks.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"truth_masks\.npz: is damaged"):
        score_changes(path, scene)
    np.savez(masks, labels=np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match="the array velocity is missing; render"):
        score_changes(path, scene)


@pytest.mark.parametrize(
    ("labels", "velocity", "message"),
    [
        (np.zeros((1, 5, 6), np.uint8), [(0, 0)], "T at least 2"),
        (np.zeros((2, 5, 6), np.int64), [(0, 0)], "uint8"),
        (np.zeros((2, 5, 6), np.uint8), [(0.5, 0)], "velocity must be .* integers"),
        (np.zeros((2, 5, 6), np.uint8), [(1, 0)], "0, 0 for the background"),
        (np.full((2, 5, 6), 3, np.uint8), [(0, 0), (1, 0)], "a row for each label"),
    ],
)
def test_ground_truth_of_another_layout_raises(tmp_path, labels, velocity, message):
    write_truth(tmp_path, labels, velocity)
    with pytest.raises(InputError, match=rf"truth_masks\.npz: .*{message}.*; render the frames"):
        score_changes(write_table(tmp_path), tmp_path)
