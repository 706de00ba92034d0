import cv2
import numpy as np
import pytest
import torch
from textures import smooth

from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.templates.synthetic_places import SyntheticPlaces, SyntheticViews


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        write_image(tmp_path / f"{i}.png", smooth(70, 100 + i, i, sigma=2))
    return tmp_path


def places(folder, **options):
    options = {"batches": 3, "places": 2, "views": 3, "side": 32} | options
    return SyntheticPlaces(str(folder), **options)


def test_places_do_not_overlap():
    dataset = SyntheticViews(
        [smooth(70, 101, sigma=2), smooth(31, 200, sigma=2), smooth(40, 33, sigma=2)], 0, side=32
    )
    assert [corner for corner in dataset.corners if corner[0] == 0] == [
        (0, x, y) for y in (2, 36) for x in (1, 34, 67)
    ]
    assert [corner[0] for corner in dataset.corners] == [0] * 6 + [2]  # the second image is too low


def test_flat_crops_are_skipped():
    image = smooth(32, 96, sigma=2)
    image[:, 32:64] = 77
    assert SyntheticViews([image], 0, side=32).corners == [(0, 0, 0), (0, 64, 0)]


def test_views_of_a_place_agree_under_their_homographies():
    dataset = SyntheticViews(
        [smooth(200, 200, sigma=2)], 3, side=64, turn=10, zoom=1.1, tilt=0.03, light=0.0
    )
    views = [dataset.view((0, 4, number)) for number in range(3)]
    assert [view["query"] for view in views] == [False, True, True]
    for one, other in ((0, 1), (2, 0)):
        between = views[other]["homography"] @ torch.linalg.inv(views[one]["homography"])
        images = [views[i]["image"].movedim(0, -1).numpy() for i in (one, other)]
        moved = cv2.warpPerspective(images[0], between.numpy(), (64, 64))[20:44, 20:44]
        difference = np.abs(moved - images[1][20:44, 20:44]).mean()
        assert difference < 0.02
        assert np.abs(images[0] - images[1])[20:44, 20:44].mean() > 3 * difference


def test_view_depends_only_on_its_key_and_the_seed(folder):
    data = places(folder)
    data.setup("fit")
    dataset = data.sets["train"]
    one, again = dataset.view((1, 3, 2)), dataset.view((1, 3, 2))
    assert torch.equal(one["image"], again["image"])
    for key in ((0, 3, 2), (1, 3, 1)):
        assert not torch.equal(one["image"], dataset.view(key)["image"])
    other = places(folder, seed=1)
    other.setup("fit")
    assert not torch.equal(one["image"], other.sets["train"].view((1, 3, 2))["image"])


def test_splits_use_different_images(folder):
    data = places(folder)
    data.setup("fit")
    data.setup("test")
    widths = [{p.shape[1] for p in data.sets[split].images} for split in ("train", "val", "test")]
    assert sorted(width for found in widths for width in found) == [*range(100, 106)]


def test_batches_contain_consecutive_views_and_the_first_is_the_gallery(folder):
    data = places(folder)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (6, 3, 32, 32)
    assert batch["image"].dtype == torch.float32
    assert batch["homography"].shape == (6, 3, 3)
    assert batch["place"][::3].tolist() == batch["place"][2::3].tolist()
    assert batch["view"].tolist() == [0, 1, 2] * 2
    whole = list(data.val_dataloader())
    place, query = (torch.cat([b[key] for b in whole]) for key in ("place", "query"))
    assert place.tolist() == sorted([*range(len(data.sets["val"]))] * 3)
    assert (~query).sum() == len(data.sets["val"])
    assert torch.equal(whole[0]["image"], next(iter(data.val_dataloader()))["image"])


def test_workers_do_not_change_the_batches(folder):
    batches = []
    for workers in (0, 2):
        data = places(folder, num_workers=workers)
        data.setup("fit")
        batches.append(list(data.train_dataloader()))
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["place"], other["place"])


def test_too_few_places_and_predict_raise(folder):
    with pytest.raises(
        InputError, match=r"the val images contain 6 places of 32x32 pixels, .* needs 7"
    ):
        places(folder, places=7).setup("validate")
    with pytest.raises(InputError, match="cannot be used in predict"):
        places(folder).setup("predict")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 40 + 2}, "side must be a multiple of 8, at least 32 pixels, got 42"),
        ({"turn": 181.0}, "turn must lie between 0 and 180 degrees, got 181"),
        ({"zoom": 0.9}, "zoom must lie between 1 and 4, got 0.9"),
        ({"tilt": 0.3}, "tilt must lie between 0 and 0.2 sides, got 0.3"),
        ({"light": 1.1}, "light must lie between 0 and 1, got 1.1"),
        ({"views": 1}, "places and views must be at least 2"),
        ({"batches": 0}, "batches must be at least 1"),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        SyntheticPlaces(**settings)
