import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.templates.university1652 import VIEWS, University1652, images_by_place


def fill(folder, counts):
    """Write a number of images into the folder of each place; their red value is its number."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = np.full((40, 50, 3), (int(name), 10 * i, 200), np.uint8)
            write_image(folder / name / f"image-{i + 1}.png", image)


@pytest.fixture
def tree(tmp_path):
    """Training and test folders: one place has no images, another one only a street view."""
    names = [f"{i:04d}" for i in range(1, 10)]
    fill(tmp_path / "train" / "satellite", dict.fromkeys(names, 1) | {"0010": 0})
    fill(tmp_path / "train" / "drone", dict.fromkeys(names, 3) | {"0010": 0})
    fill(tmp_path / "train" / "street", {"0002": 2, "0011": 1})
    fill(tmp_path / "test" / "query_satellite", {"0020": 1})
    fill(tmp_path / "test" / "query_drone", {"0020": 2, "0021": 0, "0022": 1})
    fill(tmp_path / "test" / "gallery_satellite", {"0020": 1, "0022": 1, "0023": 1})
    return tmp_path


def university(tree, **options):
    return University1652(str(tree), **{"places": 2, "views": 2, "side": 32, **options})


def prepared(tree, stage="fit", **options):
    data = university(tree, **options)
    data.setup(stage)
    return data


def test_validation_uses_whole_places(tree):
    data = prepared(tree, val_share=0.3)
    places = [{p.path.parent.name for p in data.sets[split].images} for split in ("train", "val")]
    assert not places[0] & places[1]
    assert len(places[0] | places[1]) == 10
    assert "0010" not in places[0] | places[1]  # has no images
    again = prepared(tree, val_share=0.3, seed=5)
    assert {p.path for p in again.sets["val"].images} == {p.path for p in data.sets["val"].images}


def test_batch_alternates_the_kinds_of_views(tree):
    data = prepared(tree, val_share=0.1, light=0.0, views=4, places=3)
    for batch in data.train_dataloader():
        assert batch["image"].shape == (12, 3, 32, 32)
        assert batch["homography"].isnan().all()
        for i in range(0, 12, 4):
            assert len(set(batch["place"][i : i + 4].tolist())) == 1
            kinds = batch["view"][i : i + 2].tolist()
            assert kinds[0] != kinds[1]  # alternating
            red = batch["image"][i : i + 4, 0].mean(dim=(1, 2)) * 255
            assert red.std() < 1  # the same place


def test_places_with_a_single_image_are_not_trained_on(tree):
    kinds = [k for place in prepared(tree, val_share=0.01).sets["train"].places for k in place]
    assert "0011" not in {image.path.parent.name for kind in kinds for image in kind}


def test_batches_depend_on_the_epoch(tree):
    def images(epoch):
        loader = prepared(tree).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return torch.cat([batch["image"] for batch in loader])

    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))


def test_validation_queries_are_drone_views_and_its_gallery_satellite_views(tree):
    data = prepared(tree, "validate", val_share=0.3)
    batches = list(data.val_dataloader())
    view, query, place = (
        torch.cat([b[key] for b in batches]) for key in ("view", "query", "place")
    )
    assert query.tolist() == (view == VIEWS.index("drone")).tolist()
    assert set(view.tolist()) == {VIEWS.index("drone"), VIEWS.index("satellite")}
    assert len(place) == len(data.sets["val"].images)
    assert torch.equal(batches[0]["image"], next(iter(data.val_dataloader()))["image"])


def test_test_set_separates_queries_and_gallery(tree):
    data = prepared(tree, "test")
    (batch, other) = data.test_dataloader()
    query = torch.cat([batch["query"], other["query"]])
    place = torch.cat([batch["place"], other["place"]])
    assert query.sum() == 3
    assert (~query).sum() == 3
    assert len(set(place[query].tolist())) == 2
    assert len(set(place[~query].tolist())) == 3  # one is a distractor


def test_images_are_rgb_in_natural_order(tree):
    fill(tree / "more", {"0100": 11})
    paths = images_by_place(tree / "more")["0100"]
    assert [path.stem for path in paths][:3] == ["image-1", "image-2", "image-3"]
    assert paths[-1].stem == "image-11"
    item = prepared(tree, "test").sets["test"].view(0)
    expected = np.array([20, 0, 200]) / 255
    np.testing.assert_allclose(item["image"].mean(dim=(1, 2)), expected, atol=1e-3)


def test_missing_folders_and_images_raise(tree, tmp_path):
    with pytest.raises(InputError, match="has images of 0 places under train/"):
        prepared(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"gallery_drone: folder not found; give another"):
        prepared(tree, "test", query="satellite", gallery="drone")
    with pytest.raises(InputError, match=r"has 8 training places with two images, .* needs 30"):
        prepared(tree, places=30)
    with pytest.raises(InputError, match="University1652 is a training set"):
        prepared(tree, "predict")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query": "moon"}, "query must be one of satellite, street, drone, google, got 'moon'"),
        ({"query": "satellite"}, "must be different views, both are satellite"),
        ({"val_share": 1.0}, "val_share must lie between 0 and 1"),
        ({"side": 20}, "side must be a multiple of 8"),
        ({"batches": 0}, "batches must be at least 1"),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        University1652(**settings)
