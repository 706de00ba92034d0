import pytest
import torch
import torchvision

from patchmatch.core.errors import InputError
from patchmatch.templates.backbones import HandcraftedFeatures, NetworkFeatures, load_backbone


def picture(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights of the first layers of VGG-19, named as within its ``features``."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(torchvision.models.vgg19().features[:17].state_dict(), path)
    return str(path)


def test_layers_are_read_after_their_own_relu_and_before_what_overwrites_them(vgg_file):
    layers = ("features.2", "features.3", "features.8")
    backbone = load_backbone("vgg19", vgg_file, layers)
    image = picture(16, 24)
    before, after, deeper = backbone.describe(image)
    assert before.min() < 0  # not overwritten by the ReLU that follows
    torch.testing.assert_close(before.relu(), after)
    net = torchvision.models.vgg19().features[:17]
    net.load_state_dict(torch.load(vgg_file, weights_only=True))
    evened = (image - backbone.mean) / backbone.deviation
    torch.testing.assert_close(deeper, net[:9](evened), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["network", "handcrafted"])
def test_a_large_picture_in_tiles_is_the_same_as_whole(kind, vgg_file, monkeypatch):
    backbone = load_backbone("vgg19", vgg_file) if kind == "network" else HandcraftedFeatures()
    image = picture(90, 150)
    whole = backbone(image)
    monkeypatch.setattr("patchmatch.templates.backbones.TILE", 64)
    for expected, found in zip(whole, backbone(image), strict=True):
        assert expected.shape[-2:] == (23, 38)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["network", "handcrafted"])
@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 12), (11, 23), (22, 23)])
def test_some_rows_of_cells_are_those_of_the_whole(kind, first, last, vgg_file, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.backbones.TILE", 64)
    backbone = load_backbone("vgg19", vgg_file) if kind == "network" else HandcraftedFeatures()
    image = picture(90, 150)  # 23 rows of cells
    for whole, found in zip(backbone(image), backbone(image, slice(first, last)), strict=True):
        torch.testing.assert_close(found, whole[..., first:last, :], atol=1e-4, rtol=1e-3)


def test_channels_are_those_of_the_maps(vgg_file):
    backbone = load_backbone("vgg19", vgg_file)
    assert backbone.channels == [m.shape[1] for m in backbone(picture(16, 40))] == [64, 128, 256]


def test_features_move_with_the_picture():
    backbone = HandcraftedFeatures()
    image = picture(80, 120)
    for whole, part in zip(backbone(image), backbone(image[..., 8:, 12:]), strict=True):
        torch.testing.assert_close(part[..., 8:-8, 8:-8], whole[..., 10:-8, 11:-8])


def test_the_colour_of_the_network_is_red_first(vgg_file):
    backbone = load_backbone("vgg19", vgg_file)
    image = picture(16, 16)
    assert not torch.allclose(backbone(image)[0], backbone(image.flip(1))[0])
    assert backbone.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_another_network_of_torchvision_is_described_by_its_layers(tmp_path):
    path = tmp_path / "r.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    backbone = load_backbone("resnet18", str(path), ["layer1", "layer2"])
    assert [f.shape[1:] for f in backbone(picture(37, 50))] == [(64, 10, 13), (128, 10, 13)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg99",), "features vgg99: name the layers too"),
        (("vgg99", None, ["x"]), "torchvision has no such network"),
        (("vgg19", "gone.pth"), "gone.pth: no such file of weights.*handcrafted"),
        (("handcrafted", "gone.pth"), "have no weights"),
        (("vgg11", "", ["features.99"]), "has no such layers"),
    ],
)
def test_what_does_not_exist_is_named_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(*arguments)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path, vgg_file):
    with pytest.raises(InputError, match="weights of another network than vgg11"):
        load_backbone("vgg11", vgg_file, ["features.8"])
    path = tmp_path / "text.pth"
    path.write_text("no weights")
    with pytest.raises(InputError, match="holds no weights, or damaged ones"):
        load_backbone("vgg19", str(path))


def test_without_network_the_handcrafted_features_are_named(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.VGG19_Weights.get_state_dict", refuse)
    with pytest.raises(InputError, match=r"cannot be downloaded \(no route.*handcrafted"):
        load_backbone("vgg19")


def test_a_network_has_no_inplace_layer():
    net = NetworkFeatures("vgg19", ["features.3"]).net
    assert not any(getattr(module, "inplace", False) for module in net.modules())
