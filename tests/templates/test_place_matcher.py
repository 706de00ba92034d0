import pytest
import torch
import torchvision
from pytorch_lightning import Trainer
from textures import texture

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.core.samplers import ShardSampler
from patchmatch.io import write_image
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.places import place_loader, split_keys
from patchmatch.templates.retrieval import retrieval_sums
from patchmatch.templates.synthetic_places import SyntheticPlaces, SyntheticViews
from patchmatch.templates.tuned_net import load_features


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(6):
        write_image(folder / f"{i}.png", texture(68, 100, i))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return str(path)


def trainer(**options):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def resnet(weights, **options):
    return PlaceMatcher("resnet18", weights, ("layer1",), embedding=16, **options)


def data(folder, **options):
    return SyntheticPlaces(
        str(folder), **{"batches": 2, "places": 2, "views": 2, "side": 32, **options}
    )


def views(count=4, each=3):
    dataset = SyntheticViews([texture(130, 170, 5)], 0, side=32, turn=10, zoom=1.1, tilt=0.05)
    return dataset[[(0, place, view) for place in range(count) for view in range(each)]]


def test_training_overfits_four_places():
    torch.manual_seed(0)
    matcher, batch = PlaceMatcher("handcrafted", radius=0, lr=5e-3), views()
    optimizer = torch.optim.AdamW(matcher.parameters(), matcher.lr)

    def losses():
        maps = matcher.net(batch["image"])
        return matcher._losses(batch, maps, matcher.net.embedding(maps))

    loss, quality, found = losses()
    for _ in range(25):
        optimizer.zero_grad()
        losses()[0].backward()
        optimizer.step()
    after = losses()
    assert after[0] < loss - 1
    assert after[1] > quality + 0.5
    assert after[2].mean() > found.mean() + 0.1
    embedding, query = matcher.net.embedding(matcher.net(batch["image"])), batch["query"]
    place = batch["place"]
    hits, _, count = retrieval_sums(
        embedding[query], place[query], embedding[~query], place[~query], (1,)
    )
    assert hits[0] == count == 8


def test_true_matches_follow_the_homography():
    matcher, batch = PlaceMatcher("handcrafted", radius=1).eval(), views(3, 2)
    batch["image"] = batch["image"][[0, 0, 2, 2, 4, 4]]  # both views are identical
    batch["homography"] = torch.eye(3).expand(6, 3, 3)
    with torch.no_grad():
        quality, found = matcher.matches(batch, matcher.net(batch["image"]))
        assert len(found) == 3 * 64
        assert found.mean() == 1
        batch["homography"] = batch["homography"].clone()
        batch["homography"][1::2, 0, 2] = 8  # wrong by two cells
        worse, missed = matcher.matches(batch, matcher.net(batch["image"]))
    assert len(missed) == 3 * 48
    assert missed.mean() == 0
    assert worse.mean() < quality.mean() - 3


def test_images_without_homographies_have_only_the_triplet_loss():
    matcher, batch = PlaceMatcher("handcrafted", margin=1.0), views(3, 2)
    batch["homography"] = torch.full((6, 3, 3), torch.nan)
    maps = matcher.net(batch["image"])
    loss, quality, found = matcher._losses(batch, maps, matcher.net.embedding(maps))
    assert len(found) == 0
    assert quality == 0
    assert loss > 0
    loss.backward()


def test_places_with_a_single_view_are_skipped():
    matcher, batch = PlaceMatcher("handcrafted").eval(), views(3, 2)
    keep = [0, 2, 3, 5]  # the first and last place have one view
    batch = {key: value[keep] for key, value in batch.items()}
    _, found = matcher.matches(batch, matcher.net(batch["image"]))
    assert 0 < len(found) <= 64


def test_tuned_weights_are_saved_and_used(folder, weights, tmp_path):
    matcher = resnet(weights, tune=("layer1.1",), tune_lr=1e-2, lr=1e-2)
    run = trainer(max_epochs=1)
    run.fit(matcher, data(folder))
    path = tmp_path / "tuned.ckpt"
    run.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    original = torch.load(weights, weights_only=True)
    saved = {
        key.removeprefix("net.backbone.net."): value
        for key, value in content["state_dict"].items()
        if "backbone" in key
    }
    assert not torch.equal(saved["layer1.1.conv1.weight"], original["layer1.1.conv1.weight"])
    assert torch.equal(saved["layer1.0.conv1.weight"], original["layer1.0.conv1.weight"])
    assert torch.equal(saved["conv1.weight"], original["conv1.weight"])
    assert content["state_dict"]["net.heads.0.weight"].abs().max() > 0
    assert "weights" not in content["hyper_parameters"]

    scene = texture(100, 130, 9)
    image = torch.from_numpy(scene).movedim(-1, 0)[None] / 255
    with torch.no_grad():
        expected = matcher.eval().net(image)
    torch.testing.assert_close(load_features(str(path))(image), expected)
    used = TemplateMatcher(str(path))
    used.configure_model()
    torch.testing.assert_close(used.backbone(image), expected)
    found = patchmatch.match_template(scene, scene[40:80, 50:90], features=path, threshold=0)
    torch.testing.assert_close(found.boxes[0], torch.tensor([50.0, 40, 90, 80]), atol=4, rtol=0)


def test_changed_checkpoint_is_read_again(folder, tmp_path):
    path, scene = tmp_path / "t.ckpt", texture(60, 80, 3)
    heatmaps = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        run = trainer(max_epochs=1)
        run.fit(PlaceMatcher("handcrafted", lr=0.1), data(folder, seed=seed))
        run.save_checkpoint(path)
        found = patchmatch.match_template(scene, scene[8:40, 8:40], features=path, threshold=0)
        heatmaps.append(found.heatmap)
    assert not torch.equal(*heatmaps)


def test_checkpoint_contains_the_weights_of_the_network(folder, weights, tmp_path):
    matcher = resnet(weights)
    run = trainer(max_epochs=1)
    run.fit(matcher, data(folder))
    run.save_checkpoint(tmp_path / "t.ckpt")
    again = PlaceMatcher.load_from_checkpoint(tmp_path / "t.ckpt")
    (one,) = trainer().validate(matcher, data(folder), verbose=False)
    (other,) = trainer().validate(again, data(folder), verbose=False)  # without a download
    assert one == other
    built = resnet(None)
    built.load_state_dict(torch.load(tmp_path / "t.ckpt", weights_only=True)["state_dict"])
    (third,) = trainer().validate(built, data(folder), verbose=False)
    assert third == one
    resumed = trainer(max_epochs=2)
    resumed.fit(resnet(None), data(folder), ckpt_path=tmp_path / "t.ckpt")
    assert resumed.current_epoch == 2


def test_layers_are_unfrozen_one_after_the_other(folder, weights):
    matcher = resnet(weights, tune=("layer1.1", "layer1.0"), unfreeze_every=1, tune_lr=1e-2)
    states = []

    def save_state():
        own = matcher.net.backbone.net.state_dict()
        states.append({key: value.clone() for key, value in own.items()})

    matcher.on_train_epoch_start = save_state
    matcher.on_train_end = save_state
    trainer(max_epochs=2).fit(matcher, data(folder))
    first, second, end = states

    def changed(one, other):
        return {key.rpartition(".")[0][:8] for key in one if not torch.equal(one[key], other[key])}

    assert changed(first, second) == {"layer1.1"}
    assert changed(second, end) == {"layer1.1", "layer1.0"}


def test_recall_is_computed_over_the_whole_set(folder):
    dataset = SyntheticViews([texture(140, 180, i) for i in (7, 8)], 0, side=32, light=0.0)
    keys = [(0, place, view) for place in range(len(dataset)) for view in range(3)]
    loader = place_loader(
        dataset, ShardSampler(split_keys(keys, 7), 0, 1), 0
    )  # batches split places
    matcher = PlaceMatcher("handcrafted").eval()
    (logged,) = trainer().validate(matcher, loader, verbose=False)
    with torch.no_grad():
        whole = dataset[keys]
        embedding = matcher.net.embedding(matcher.net(whole["image"]))
    query, place = whole["query"], whole["place"]
    hits, precision, count = retrieval_sums(
        embedding[query], place[query], embedding[~query], place[~query]
    )
    expected = [*(hits / count).tolist(), (precision / count).item()]
    names = ("recall_1", "recall_5", "recall_10", "ap")
    assert [logged[f"val/{name}"] for name in names] == pytest.approx(expected)
    assert 0 < expected[0] < 1


def test_learning_rate_is_halved_when_recall_stops_rising(folder, monkeypatch):
    matcher = PlaceMatcher("handcrafted", lr=0.01, patience=0)
    monkeypatch.setattr(matcher.retrieval, "compute", lambda: {"recall_1": torch.tensor(0.5)})
    trainer(max_epochs=3).fit(matcher, data(folder))
    rates = [group["lr"] for group in matcher.optimizers().param_groups]
    assert rates == pytest.approx([0.01 / 4])


def test_only_selected_layers_are_trained(weights):
    frozen = resnet(weights)
    assert not any(p.requires_grad for p in frozen.net.backbone.parameters())
    tuned = resnet(weights, tune=("layer1.0",), tune_lr=1e-4)
    tuned.trainer = trainer()
    groups = tuned.configure_optimizers()["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-4]
    assert len(groups[1]["params"]) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 3}, "stride must be 1, 2, 4 or 8 pixels, got 3"),
        ({"head": 2}, "head must be 0 or an odd number of cells, got 2"),
        ({"embedding": 0}, "embedding must be at least 1"),
        ({"tune": ("features.1",)}, "handcrafted has no layer features.1"),
        ({"head": 0, "triplet_weight": 0.0}, "there are no parameters to train"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"radius": -1}, "radius must be at least 0 cells"),
        ({"unfreeze_every": -1}, "unfreeze_every must be at least 0"),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        PlaceMatcher("handcrafted", **settings)


def test_missing_weights_raise_when_training_starts(folder):
    with pytest.raises(InputError, match=r"gone\.pth: no such file"):
        trainer(max_epochs=1).fit(resnet("gone.pth"), data(folder))
    with pytest.raises(InputError, match="handcrafted features have no weights"):
        trainer(max_epochs=1).fit(PlaceMatcher("handcrafted", "w.pth"), data(folder))
