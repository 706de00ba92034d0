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
def images():
    return dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=3)


def test_dead_leaves_images_depend_on_their_seed_only(images):
    again = dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=3)
    other = dead_leaves_images(load_digits("embedded", "data")[:50], 10, seed=4)
    for image, same, different in zip(images, again, other, strict=True):
        assert image.shape == (SIDE, SIDE)
        assert image.dtype == np.float32
        assert image.std() > 0.005
        assert np.array_equal(image, same)
        assert not np.array_equal(image, different)


def test_convention_a_pair_is_displaced_from_frame0_to_frame1(images):
    pairs = ShiftedPairs(images, 200, seed=0, augment=False, larger_share=0.5)
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


def test_the_four_point_set_moves_along_one_axis(images):
    pairs = ShiftedPairs(images, 60, seed=0, shifts="four", larger_share=0)
    moves = {tuple(pairs[i]["displacement"].tolist()) for i in range(60)}
    assert moves == {(0, -1), (-1, 0), (1, 0), (0, 1)}


def test_the_same_seed_gives_the_same_pairs_with_any_number_of_workers(images):
    def frames(workers):
        data = ShiftedPairs(images, 24, seed=5)
        return torch.cat([b["frames"] for b in DataLoader(data, batch_size=8, num_workers=workers)])

    assert torch.equal(frames(0), frames(2))
    assert not torch.equal(
        ShiftedPairs(images, 1, seed=5)[0]["frames"],
        ShiftedPairs(images, 1, seed=6)[0]["frames"],
    )


def test_every_training_epoch_has_new_pairs_and_evaluation_the_same():
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


def test_a_folder_of_images_is_split_by_image(tmp_path):
    for i in range(10):
        image = np.full((60, 50), 20 * i, np.uint8)  # the gray level identifies the image
        cv2.imwrite(str(tmp_path / f"image_{i}.png"), image)
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
def test_wrong_options_raise(images, options, message):
    with pytest.raises(ValueError, match=message):
        ShiftedPairs(images, 1, seed=0, **options)


def test_too_small_or_too_few_images_raise(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match=r"expected at least 5 images, .*got 3"):
        ShiftedDigits(source=str(tmp_path)).setup("fit")
    for i in range(3, 10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="at least 38x38 pixels, got none in the train split"):
        ShiftedDigits(source=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("name", ["train_pairs", "eval_pairs", "canvases", "batch_size"])
def test_counts_below_one_raise(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ShiftedDigits(**{name: 0})


def test_every_split_has_its_own_seed():
    seeds = {
        (s, split): ShiftedDigits(seed=s)._seed(split) for s in (0, 1) for split in SPLIT_ORDER
    }
    assert len(set(seeds.values())) == 6
