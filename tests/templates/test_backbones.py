import pytest
import torch
import torchvision

from patchmatch.core.errors import InputError
from patchmatch.templates.backbones import HandcraftedFeatures, NetworkFeatures, load_backbone


def random_image(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights of the first layers of VGG-19, with the names inside its ``features``."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(torchvision.models.vgg19().features[:17].state_dict(), path)
    return str(path)


def test_activations_are_not_overwritten_by_the_next_layer(vgg_file):
    layers = ("features.2", "features.3", "features.8")
    backbone = load_backbone("vgg19", vgg_file, layers)
    image = random_image(16, 24)
    before, after, deeper = backbone.extract_features(image)
    assert before.min() < 0  # an in-place ReLU follows
    torch.testing.assert_close(before.relu(), after)
    net = torchvision.models.vgg19().features[:17]
    net.load_state_dict(torch.load(vgg_file, weights_only=True))
    normalized = (image - backbone.mean) / backbone.std
    torch.testing.assert_close(deeper, net[:9](normalized), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["network", "handcrafted"])
def test_tiles_give_the_features_of_the_whole_image(kind, vgg_file, monkeypatch):
    backbone = load_backbone("vgg19", vgg_file) if kind == "network" else HandcraftedFeatures()
    image = random_image(90, 150)
    whole = backbone(image)
    monkeypatch.setattr("patchmatch.templates.backbones.TILE", 64)
    for expected, found in zip(whole, backbone(image), strict=True):
        assert expected.shape[-2:] == (23, 38)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["network", "handcrafted"])
@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 12), (11, 23), (22, 23)])
def test_selected_rows_equal_those_of_the_whole_image(kind, first, last, vgg_file, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.backbones.TILE", 64)
    backbone = load_backbone("vgg19", vgg_file) if kind == "network" else HandcraftedFeatures()
    image = random_image(90, 150)  # 23 rows of cells
    for whole, found in zip(backbone(image), backbone(image, slice(first, last)), strict=True):
        torch.testing.assert_close(found, whole[..., first:last, :], atol=1e-4, rtol=1e-3)


def test_channels_are_the_channel_counts_of_the_maps(vgg_file):
    backbone = load_backbone("vgg19", vgg_file)
    assert (
        backbone.channels == [m.shape[1] for m in backbone(random_image(16, 40))] == [64, 128, 256]
    )


def test_features_are_translation_equivariant():
    backbone = HandcraftedFeatures()
    image = random_image(80, 120)
    for whole, part in zip(backbone(image), backbone(image[..., 8:, 12:]), strict=True):
        torch.testing.assert_close(part[..., 8:-8, 8:-8], whole[..., 10:-8, 11:-8])


def test_network_input_is_rgb(vgg_file):
    backbone = load_backbone("vgg19", vgg_file)
    image = random_image(16, 16)
    assert not torch.allclose(backbone(image)[0], backbone(image.flip(1))[0])
    assert backbone.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_layers_of_another_torchvision_network_are_features(tmp_path):
    path = tmp_path / "r.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    backbone = load_backbone("resnet18", str(path), ["layer1", "layer2"])
    assert [f.shape[1:] for f in backbone(random_image(37, 50))] == [(64, 10, 13), (128, 10, 13)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg99",), "features vgg99: give layers too"),
        (("vgg99", None, ["x"]), "features vgg99: unknown network"),
        (("vgg19", "gone.pth"), "gone.pth: no such file.*handcrafted"),
        (("handcrafted", "gone.pth"), "have no weights"),
        (("vgg11", "", ["features.99"]), "features vgg11: unknown layers"),
    ],
)
def test_missing_networks_layers_and_files_raise_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(*arguments)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_raise(tmp_path, vgg_file):
    with pytest.raises(InputError, match="weights of another network than vgg11"):
        load_backbone("vgg11", vgg_file, ["features.8"])
    path = tmp_path / "text.pth"
    path.write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_backbone("vgg19", str(path))


def test_failed_download_recommends_handcrafted_features(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.VGG19_Weights.get_state_dict", fail)
    with pytest.raises(InputError, match=r"cannot be downloaded \(no route.*handcrafted"):
        load_backbone("vgg19")


def test_networks_have_no_inplace_layer():
    net = NetworkFeatures("vgg19", ["features.3"]).net
    assert not any(getattr(module, "inplace", False) for module in net.modules())
