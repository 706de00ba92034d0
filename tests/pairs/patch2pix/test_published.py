"""The network of the paper: published weights by name and shape, patches, matching, wrong files."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from textures import blobs
from torch.utils.data import DataLoader
from torchvision.models import resnet34

import patchmatch
from patchmatch.cli import main
from patchmatch.core.checkpoints import load_trained
from patchmatch.core.errors import InputError
from patchmatch.pairs.patch2pix.data import EpipolarDataset
from patchmatch.pairs.patch2pix.matcher import Patch2PixMatcher
from patchmatch.pairs.patch2pix.paper_net import Levels, PaperNet, sample_patches
from patchmatch.synthetic.scene_sampling import SceneRange

STATISTICS = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def normalisation(name, count):
    values = {f"{name}.{key}": torch.full((count,), value) for key, value in STATISTICS.items()}
    return values | {f"{name}.num_batches_tracked": torch.tensor(7)}


def regressor(name):
    """Return the tensors of a published regressor, whose last layer moves nothing."""
    found = {
        f"{name}.conv.0.weight": 0.01 * torch.randn(512, 518, 3, 3),
        f"{name}.conv.2.weight": 0.01 * torch.randn(512, 512, 3, 3),
        f"{name}.fc.0.weight": 0.01 * torch.randn(512, 512),
        f"{name}.fc.0.bias": torch.zeros(512),
        f"{name}.fc.3.weight": 0.01 * torch.randn(256, 512),
        f"{name}.fc.3.bias": torch.zeros(256),
        f"{name}.fc.6.weight": torch.zeros(5, 256),
        f"{name}.fc.6.bias": torch.tensor([0.5493] * 4 + [3.0]),
    }
    for layer, count in (("conv.1", 512), ("conv.3", 512), ("fc.1", 512), ("fc.4", 256)):
        found |= normalisation(f"{name}.{layer}", count)
    return found


def published():
    """Return the content of a published checkpoint."""
    torch.manual_seed(0)
    backbone = resnet34(weights=None).state_dict()
    weights = {f"extract.{key}": v for key, v in backbone.items() if not key.startswith("fc.")}
    for index, (outputs, inputs) in enumerate(((16, 1), (1, 16))):
        kernel = 1e-3 * torch.rand(3, outputs, inputs, 3, 3, 3)
        kernel[1, :, :, 1, 1, 1] += 1 / inputs  # close to the identity
        weights[f"ncn.conv.{2 * index}.weight"] = kernel
        weights[f"ncn.conv.{2 * index}.bias"] = 1e-3 * torch.rand(outputs)
    weights |= regressor("regress_mid") | regressor("regress_fine")
    settings = Namespace(
        conv_dims=[512, 512], conv_kers=[3, 3], conv_strs=[2, 1], fc_dims=[512, 256],
        feat_comb="pre", psize=[16, 16], pshift=8, panc=8, shared=False, feat_dim=259,
    )  # fmt: skip
    return {
        "last_epoch": 24, "best_vals": [np.float64(3.5), np.array([1.0, 2.0])],
        "backbone": "ResNet34", "feat_idx": [0, 1, 2, 3], "change_stride": True,
        "regressor_config": settings, "state_dict": weights, "optim": {"state": {}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def content():
    return published()


@pytest.fixture(scope="module")
def weights_file(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "patch2pix_pretrained.pth"
    torch.save(content, path)
    return path


def matcher(path, **options):
    return Patch2PixMatcher(backbone="resnet34", weights=str(path), align=False, **options).eval()


def test_published_weights_by_name_and_shape(content, weights_file):
    chosen = matcher(weights_file)
    chosen.prepare()
    weights, net = content["state_dict"], chosen.net
    pairs = {
        "extract.layer3.5.bn2.weight": net.backbone.net.layer3[5].bn2.weight,
        "extract.layer3.0.downsample.0.weight": net.backbone.net.layer3[0].downsample[0].weight,
        "regress_mid.conv.2.weight": net.mid.convolutions[2].weight,
        "regress_fine.fc.3.weight": net.fine.layers[3].weight,
        "regress_fine.fc.6.bias": net.fine.layers[6].bias,
        "ncn.conv.2.bias": net.consensus.conv[1].bias,
    }
    for name, value in pairs.items():
        assert torch.equal(weights[name], value)
    used = {k for k in weights if not k.startswith("extract.layer4.")}
    assert len(used) == len(net.state_dict())


def test_a_patch_has_the_pixels_around_a_point_from_all_levels():
    torch.manual_seed(0)
    sizes = ((3, 40, 56), (64, 20, 28), (64, 10, 14), (128, 5, 7))
    levels = tuple(torch.randn(2, *size) for size in sizes)
    features = Levels(levels=levels, coarse=levels[-1])
    points, pair = torch.tensor([[20.2, 11.9], [1.0, 39.0]]), torch.tensor([1, 0])
    patches = sample_patches(features, pair, points)
    assert patches.shape == (2, 259, 16, 16)
    for row, (x, y), dx, dy in ((0, (20, 12), 3, 15), (0, (20, 12), 0, 0), (1, (1, 39), 2, 14)):
        x, y = max(0, x + dx - 8), min(39, y + dy - 8)
        expected = torch.cat(
            [v[pair[row], :, y // s, x // s] for v, s in zip(levels, (1, 2, 4, 8), strict=True)]
        )
        assert torch.allclose(patches[row, :, dy, dx], expected / expected.norm(), atol=1e-5)


def test_published_weights_match_images(weights_file):
    image = blobs(160, 208, 0, spacing=10)
    left, right = image[:, :-16], image[:, 16:]
    options = {"backbone": "resnet34", "weights": str(weights_file), "align": False}
    found = patchmatch.match_images(left, right, "patch2pix", panc=1, **options)
    offset = found.keypoints1 - found.keypoints0 - torch.tensor([-16.0, 0])
    assert len(found) > 20
    assert (offset.norm(dim=1) < 0.1).float().mean() > 0.7  # the last layer moves nothing
    assert ((found.keypoints0 - 3.4) % 8 < 0.2).float().mean() > 0.8  # centres of cells
    anchors = patchmatch.match_images(left, right, "patch2pix", panc=8, proposals=20, **options)
    offset = anchors.keypoints1 - anchors.keypoints0 - torch.tensor([-16.0, 0])
    assert ((offset.abs() - 8).abs() < 0.1).float().mean() > 0.7  # the first of equal anchors
    mask = np.zeros(left.shape[:2], bool)
    mask[:, :100] = True
    masked = patchmatch.match_images(left, right, "patch2pix", panc=1, mask0=mask, **options)
    assert 0 < len(masked) < len(found)
    assert masked.keypoints0[:, 0].max() < 100


def test_confidences_and_displacements_follow_their_definition():
    net = PaperNet().eval()
    net.mid.layers[6].bias.data = torch.tensor([-1.0, 0.2, 0.5493, 9.0, 0.7])
    features = net.extract(torch.rand(1, 3, 64, 80))
    points = torch.tensor([[30.0, 20.0]])
    refined = net.mid(features, features, torch.tensor([0]), points, points)
    expected = torch.tensor([-8, 16 * np.tanh(0.2) - 8, 0, 8])
    moves = torch.cat([refined.points0 - points, refined.points1 - points], dim=1)[0]
    assert torch.allclose(moves, expected.float(), atol=1e-2)
    assert refined.logits.item() == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "ResNet50"}, "its backbone is ResNet50, and that of the network ResNet34"),
        (
            {"change_stride": False},
            "its change_stride is False.*the same --model.change_stride",
        ),
        ({"feat_idx": [1, 2, 3]}, "its feat_idx is"),
        ({"regressor_config": Namespace(psize=[8, 8])}, r"its psize is \[8, 8\]"),
        ({"state_dict": {"extract.conv1.weight": torch.zeros(3)}}, "not the weights of Patch2Pix"),
    ],
)
def test_weights_of_other_networks_are_errors(content, tmp_path, change, message):
    torch.save(content | change, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        matcher(tmp_path / "other.pth").prepare()


def test_missing_and_useless_weights_are_errors(tmp_path, capsys):
    with pytest.raises(
        InputError, match=r"x.pth: no such file; check the path, or give patch2pix_pret"
    ):
        matcher(tmp_path / "x.pth").prepare()
    with pytest.raises(InputError, match=r"no weights for --model.backbone resnet34 are shipped"):
        Patch2PixMatcher(backbone="resnet34").prepare()
    with pytest.raises(SystemExit) as stop:
        main(
            ["predict", "-c", "match_patch2pix", "--data.pairs", "a,b", "--model.weights", "x.pth"]
        )
    assert stop.value.code == 2
    assert "weights are published for backbone resnet34 only" in capsys.readouterr().err


def test_a_training_starts_from_the_weights_of_ncnet(content, tmp_path):
    kept = ("extract.", "ncn.")
    stored = {k: v for k, v in content["state_dict"].items() if k.startswith(kept)}
    torch.save(stored, tmp_path / "ncn_ivd_5ep.pth")
    with pytest.raises(InputError, match=r"fine.convolutions.0.weight: expected shape"):
        matcher(tmp_path / "ncn_ivd_5ep.pth").prepare()
    chosen = matcher(tmp_path / "ncn_ivd_5ep.pth", ptmax=4, panc=8, jitter=0.0)
    before = chosen.net.mid.layers[6].bias.clone()
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    run = Trainer(accelerator="cpu", max_steps=1, max_epochs=-1, **dict.fromkeys(quiet, False))
    sources = [blobs(160, 190, seed, spacing=10) for seed in range(2)]
    scenes = EpipolarDataset(sources, 2, 0, 64, 64, SceneRange(disturbed=None))
    run.fit(chosen, DataLoader(scenes, batch_size=2))
    assert torch.equal(chosen.net.backbone.net.conv1.weight, stored["extract.conv1.weight"])
    assert not torch.equal(chosen.net.mid.layers[6].bias, before)
    run.save_checkpoint(tmp_path / "mine.ckpt")
    loaded = load_trained(Patch2PixMatcher, tmp_path / "mine.ckpt", {})
    assert loaded.is_loaded
    assert torch.equal(loaded.net.mid.layers[6].bias, chosen.net.mid.layers[6].bias)
