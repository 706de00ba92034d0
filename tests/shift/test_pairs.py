import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader

from patchmatch.core.errors import InputError
from patchmatch.shift.data import ShiftedDigits
from patchmatch.shift.ops import SHIFTS
from patchmatch.shift.pairs import LARGER, ShiftedPairs
from patchmatch.synthetic.dataset import SPLIT_ORDER
from patchmatch.synthetic.dead_leaves import SIDE, dead_leaves_images
from patchmatch.synthetic.digits import load_digits


@pytest.fixture(scope="module")
def canvases():
    return dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=3)


def test_canvases_are_in_range_and_repeat_with_their_seed(canvases):
    again = dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=3)
    other = dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=4)
    for canvas, same, different in zip(canvases, again, other, strict=True):
        assert canvas.shape == (SIDE, SIDE)
        assert canvas.dtype == np.float32
        assert canvas.std() > 0.005
        assert np.array_equal(canvas, same)
        assert not np.array_equal(canvas, different)


def test_convention_a_pair_is_displaced_from_frame0_to_frame1(canvases):
    pairs = ShiftedPairs(canvases, 200, seed=0, augment=False, larger_share=0.5)
    seen = set()
    for pair in (pairs[i] for i in range(len(pairs))):
        dx, dy = pair["displacement"].tolist()
        if np.isnan(dx):
            assert pair["shift"] == LARGER
            continue
        dx, dy = int(dx), int(dy)
        frame0, frame1 = pair["frames"][0]
        height, width = frame0.shape
        y, x = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
        moved = frame1[y.start + dy : y.stop + dy, x.start + dx : x.stop + dx]
        assert_close(frame0[y, x], moved, rtol=0, atol=0)
        expected = SHIFTS.index((dx, dy)) if max(abs(dx), abs(dy)) <= 1 else LARGER
        assert pair["shift"] == expected
        seen.add(int(pair["shift"]))
    assert seen == set(range(10))


def test_the_four_point_set_moves_along_one_axis(canvases):
    pairs = ShiftedPairs(canvases, 60, seed=0, shifts="four", larger_share=0)
    moves = {tuple(pairs[i]["displacement"].tolist()) for i in range(60)}
    assert moves == {(0, -1), (-1, 0), (1, 0), (0, 1)}


def test_the_same_seed_gives_the_same_pairs_whatever_the_number_of_workers(canvases):
    def frames(workers):
        data = ShiftedPairs(canvases, 24, seed=5)
        return torch.cat([b["frames"] for b in DataLoader(data, batch_size=8, num_workers=workers)])

    assert torch.equal(frames(0), frames(2))
    assert not torch.equal(
        ShiftedPairs(canvases, 1, seed=5)[0]["frames"],
        ShiftedPairs(canvases, 1, seed=6)[0]["frames"],
    )


def test_every_epoch_has_fresh_pairs_and_evaluation_has_not():
    data = ShiftedDigits(train_pairs=4, eval_pairs=4, canvases=5, batch_size=4, num_workers=0)
    data.setup("fit")
    loader = data.train_dataloader()
    first = next(iter(loader))["frames"]
    loader.sampler.set_epoch(1)  # as Lightning does
    assert not torch.equal(first, next(iter(loader))["frames"])
    loader.sampler.set_epoch(0)
    assert torch.equal(first, next(iter(loader))["frames"])
    held_out = data.val_dataloader()
    assert torch.equal(next(iter(held_out))["frames"], next(iter(held_out))["frames"])


def test_a_folder_of_pictures_is_split_by_picture(tmp_path):
    for i in range(10):
        picture = np.full((60, 50), 20 * i, np.uint8)  # tells by its level which one it is
        cv2.imwrite(str(tmp_path / f"picture_{i}.png"), picture)
    data = ShiftedDigits(source=str(tmp_path), train_pairs=50, eval_pairs=50, augment=False)
    data.setup("fit")
    data.setup("test")
    levels = {
        split: {round(255 * float(p["frames"][0, 0].mean())) for p in _all(pairs)}
        for split, pairs in data.sets.items()
    }
    assert not levels["train"] & levels["val"]
    assert not levels["train"] & levels["test"]
    assert len(levels["train"]) == 6


def _all(pairs):
    return [pairs[i] for i in range(len(pairs))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shifts": "five"}, "shifts must be one of nine, four, got 'five'"),
        ({"larger_share": 1.5}, "larger_share must be between 0 and 1, got 1.5"),
    ],
)
def test_impossible_options_are_refused(canvases, options, message):
    with pytest.raises(ValueError, match=message):
        ShiftedPairs(canvases, 1, seed=0, **options)


def test_pictures_that_are_too_small_or_too_few_are_refused(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="holds 3 images, at least 5 are needed"):
        ShiftedDigits(source=str(tmp_path)).setup("fit")
    for i in range(3, 10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="at least 38x38 pixels, got none in the train split"):
        ShiftedDigits(source=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("name", ["train_pairs", "eval_pairs", "canvases", "batch_size"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ShiftedDigits(**{name: 0})


def test_every_split_has_a_seed_of_its_own():
    seeds = {
        (s, split): ShiftedDigits(seed=s)._seed(split) for s in (0, 1) for split in SPLIT_ORDER
    }
    assert len(set(seeds.values())) == 6
