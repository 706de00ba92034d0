import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.templates.university1652 import VIEWS, University1652, images_by_place


def fill(folder, counts):
    """Write so many pictures into the folder of each place; their colour tells the place."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = np.full((40, 50, 3), (int(name), 10 * i, 200), np.uint8)
            write_image(folder / name / f"image-{i + 1}.png", picture)


@pytest.fixture
def tree(tmp_path):
    """Ten places to train on, one of them empty, one seen from the street alone."""
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


def test_places_not_pictures_are_split(tree):
    data = prepared(tree, val_share=0.3)
    places = [{p.path.parent.name for p in data.sets[split].pictures} for split in ("train", "val")]
    assert not places[0] & places[1]
    assert len(places[0] | places[1]) == 10
    assert "0010" not in places[0] | places[1]  # it has no pictures
    again = prepared(tree, val_share=0.3, seed=5)
    assert {p.path for p in again.sets["val"].pictures} == {
        p.path for p in data.sets["val"].pictures
    }


def test_a_batch_has_views_of_places_of_different_kinds(tree):
    data = prepared(tree, val_share=0.1, light=0.0, views=4, places=3)
    for batch in data.train_dataloader():
        assert batch["image"].shape == (12, 3, 32, 32)
        assert batch["homography"].isnan().all()
        for i in range(0, 12, 4):
            assert len(set(batch["place"][i : i + 4].tolist())) == 1
            kinds = batch["view"][i : i + 2].tolist()
            assert kinds[0] != kinds[1]  # in turn
            red = batch["image"][i : i + 4, 0].mean(dim=(1, 2)) * 255
            assert red.std() < 1  # the colour of the one place


def test_a_place_with_a_single_picture_is_not_trained_on(tree):
    kinds = [k for place in prepared(tree, val_share=0.01).sets["train"].places for k in place]
    assert "0011" not in {picture.path.parent.name for kind in kinds for picture in kind}


def test_epochs_differ_and_the_same_epoch_does_not(tree):
    def images(epoch):
        loader = prepared(tree).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return torch.cat([batch["image"] for batch in loader])

    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))


def test_validation_seeks_drone_views_among_satellite_views(tree):
    data = prepared(tree, "validate", val_share=0.3)
    batches = list(data.val_dataloader())
    view, query, place = (
        torch.cat([b[key] for b in batches]) for key in ("view", "query", "place")
    )
    assert query.tolist() == (view == VIEWS.index("drone")).tolist()
    assert set(view.tolist()) == {VIEWS.index("drone"), VIEWS.index("satellite")}
    assert len(place) == len(data.sets["val"].pictures)
    assert torch.equal(batches[0]["image"], next(iter(data.val_dataloader()))["image"])


def test_the_test_set_keeps_query_and_gallery_apart(tree):
    data = prepared(tree, "test")
    (batch, other) = data.test_dataloader()
    query = torch.cat([batch["query"], other["query"]])
    place = torch.cat([batch["place"], other["place"]])
    assert query.sum() == 3
    assert (~query).sum() == 3
    assert len(set(place[query].tolist())) == 2
    assert len(set(place[~query].tolist())) == 3  # one of them only distracts


def test_pictures_are_rgb_in_natural_order(tree):
    fill(tree / "more", {"0100": 11})
    paths = images_by_place(tree / "more")["0100"]
    assert [path.stem for path in paths][:3] == ["image-1", "image-2", "image-3"]
    assert paths[-1].stem == "image-11"
    item = prepared(tree, "test").sets["test"].view(0)
    expected = np.array([20, 0, 200]) / 255
    np.testing.assert_allclose(item["image"].mean(dim=(1, 2)), expected, atol=1e-3)


def test_what_is_missing_is_told(tree, tmp_path):
    with pytest.raises(InputError, match="holds pictures of 0 places under train/"):
        prepared(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"gallery_drone: no such folder; give another"):
        prepared(tree, "test", query="satellite", gallery="drone")
    with pytest.raises(InputError, match=r"has 8 places with two pictures .* needs 30"):
        prepared(tree, places=30)
    with pytest.raises(InputError, match="it predicts nothing"):
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
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        University1652(**settings)
