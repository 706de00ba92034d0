import pytest
import torch
import torchvision

from patchmatch.core.errors import InputError
from patchmatch.templates.backbones import HandcraftedFeatures
from patchmatch.templates.tuned_net import TunedFeatures, load_features


def random_images(count=2, height=40, width=56, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=generator)


def test_untrained_maps_are_the_standardised_maps_of_the_backbone():
    net = TunedFeatures("handcrafted").eval()
    with torch.no_grad():
        for even in net.even:
            even.running_mean.uniform_(-1, 1)
            even.running_var.uniform_(0.5, 2)
        tuned, plain = net(random_images()), HandcraftedFeatures()(random_images())
    for even, one, other in zip(net.even, tuned, plain, strict=True):
        mean, std = even.running_mean, (even.running_var + even.eps).sqrt()
        expected = (other - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", [0, 1, 3])
def test_maps_are_on_one_grid(head):
    net = TunedFeatures("handcrafted", head=head, embedding=7).eval()
    maps = net(random_images(3, 41, 30))
    assert {tuple(m.shape[-2:]) for m in maps} == {(11, 8)}
    assert net.embedding(maps).shape == (3, 7)
    assert len(net.heads) == (len(maps) if head else 0)


@pytest.mark.parametrize("head", [0, 1, 3])
@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 7), (10, 11)])
def test_selected_rows_equal_those_of_the_whole_image(head, first, last):
    net = TunedFeatures("handcrafted", head=head).eval()
    with torch.no_grad():
        for layer in net.heads:
            torch.nn.init.normal_(layer.weight, std=0.1)
        whole, found = (
            net(random_images(2, 41, 30)),
            net(random_images(2, 41, 30), slice(first, last)),
        )
    for expected, part in zip(whole, found, strict=True):
        torch.testing.assert_close(part, expected[..., first:last, :], atol=1e-4, rtol=1e-4)


def test_convention_embeddings_have_length_one():
    net = TunedFeatures("handcrafted", embedding=5).eval()
    with torch.no_grad():
        embedding = net.embedding(net(random_images(3)))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


def test_head_has_the_requested_receptive_field():
    for head, radius in ((1, 0), (3, 1)):
        net = TunedFeatures("handcrafted", head=head)
        with torch.no_grad():
            for layer in net.heads:
                layer.weight.fill_(1)
        features = torch.zeros(1, net.heads[0].in_channels, 9, 11)
        features[0, 0, 4, 5] = 1
        rows, columns = net.heads[0](features)[0, 0].nonzero().T
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (2 * radius, 2 * radius)


def test_parameters_of_a_layer_include_its_sublayers():
    net = TunedFeatures("resnet18", ("layer1",))
    assert len(net.parameters_of("layer1.1")) == 6  # two convolutions, two normalisations
    assert len(net.parameters_of("layer1.1.conv1")) == 1
    with pytest.raises(
        ValueError, match=r"resnet18 has no layer layer2 with weights; its layers with weights: bn1"
    ):
        net.parameters_of("layer2")
    with pytest.raises(ValueError, match=r"handcrafted has no layer x .* none"):
        TunedFeatures("handcrafted").parameters_of("x")


def test_batch_norms_of_the_backbone_stay_frozen():
    net = TunedFeatures("resnet18", ("layer1",)).train()
    before = net.backbone.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    net(random_images())
    assert all(torch.equal(value, before[key]) for key, value in net.backbone.state_dict().items())
    assert not torch.equal(net.even[0].running_mean, torch.zeros(64))  # our own are updated


def test_network_input_is_normalised_as_in_torchvision(monkeypatch):
    net = TunedFeatures("resnet18", ("layer1",)).eval()
    seen = []
    net.backbone.net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0] = 1  # red
    net(image)
    expected = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    red = (1 - expected.mean[0]) / expected.std[0]
    blue = -expected.mean[2] / expected.std[2]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(
        [red, -expected.mean[1] / expected.std[1], blue], abs=1e-4
    )


@pytest.mark.parametrize("given", [{"weights": "w.pth"}, {"layers": ("layer1",)}])
def test_checkpoint_excludes_weights_and_layers(given):
    with pytest.raises(InputError, match=r"x\.ckpt: a checkpoint contains weights and layers"):
        load_features("x.ckpt", **given)


def test_other_checkpoints_raise_one_line(tmp_path):
    with pytest.raises(InputError, match=r"gone\.ckpt: no such checkpoint"):
        load_features("gone.ckpt")
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "a.ShiftMatcher"}}, path)
    with pytest.raises(InputError, match="of PlaceMatcher, got one of ShiftMatcher"):
        load_features(str(path))
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "a.PlaceMatcher"}}, path)
    with pytest.raises(InputError, match="the setting features is missing"):
        load_features(str(path))


def test_tensors_of_another_network_raise_one_line(tmp_path):
    net = TunedFeatures("resnet18", ("layer1",), embedding=8)
    settings = {"features": "resnet34", "layers": ("layer1",), "stride": 4, "head": 1}
    checkpoint = {
        "state_dict": {f"net.{key}": value for key, value in net.state_dict().items()},
        "hyper_parameters": {**settings, "embedding": 8, "_class_path": "a.PlaceMatcher"},
    }
    path = tmp_path / "n.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=r"\d+ tensors do not fit the model") as caught:
        load_features(str(path))
    assert "\n" not in str(caught.value)
    checkpoint["hyper_parameters"]["features"] = "resnet18"
    torch.save(checkpoint, path)
    loaded = load_features(str(path))
    with torch.no_grad():
        one, other = loaded(random_images()), net.eval()(random_images())
    torch.testing.assert_close(one[0], other[0])
    with pytest.raises(InputError, match="expected the stride 4 of the checkpoint, got 8"):
        load_features(str(path), stride=8)
