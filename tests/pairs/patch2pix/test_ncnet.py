"""NCNet: weights, training, matching and wrong input."""

import pytest
import torch
from pytorch_lightning import Trainer
from torchvision.models import resnet34

from patchmatch.core.checkpoints import load_trained
from patchmatch.core.errors import InputError
from patchmatch.pairs import trainable
from patchmatch.pairs.loftr.data import FlowPairs
from patchmatch.pairs.patch2pix.backbone import ResNetFeatures, load_resnet
from patchmatch.pairs.patch2pix.consensus import consensus_weights, weak_loss
from patchmatch.pairs.patch2pix.ncnet import NCNetMatcher

SEQUENCE = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6}


def texture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    size = (height, width)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def resnet_weights():
    torch.manual_seed(1)
    return resnet34(weights=None).state_dict()


@pytest.mark.parametrize("change_stride", [True, False])
def test_resnet_features(tmp_path, resnet_weights, change_stride):
    torch.save(resnet_weights, tmp_path / "resnet34.pth")
    features = ResNetFeatures(change_stride)
    load_resnet(features, str(tmp_path / "resnet34.pth"))
    stride = 8 if change_stride else 16
    found = features(torch.rand(1, 3, 64, 96))
    assert features.stride == stride
    assert found.shape == (1, 256, 64 // stride, 96 // stride)
    assert torch.equal(features.net.layer3[0].conv1.weight, resnet_weights["layer3.0.conv1.weight"])


def test_resnet_weights_of_a_numbered_sequence(tmp_path, resnet_weights):
    stored = {}
    for key, value in resnet_weights.items():
        name, _, rest = key.partition(".")
        if name in SEQUENCE:
            stored[f"FeatureExtraction.model.{SEQUENCE[name]}.{rest}"] = value
    torch.save({"state_dict": stored}, tmp_path / "ncnet.pth")
    features = ResNetFeatures()
    load_resnet(features, str(tmp_path / "ncnet.pth"))
    assert torch.equal(features.net.bn1.weight, resnet_weights["bn1.weight"])
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"not the weights of ResNet-34.*backbone_weights"):
        load_resnet(features, str(tmp_path / "other.pth"))


def published(channels=(16, 1), kernel=3):
    """Return consensus layers as published: (k, D, C, k, k, k) under NeighConsensus.conv."""
    stored, inputs = {"FeatureExtraction.model.0.weight": torch.zeros(1)}, 1
    for index, outputs in enumerate(channels):
        shape = (kernel, outputs, inputs, kernel, kernel, kernel)
        stored[f"NeighConsensus.conv.{2 * index}.weight"] = torch.rand(shape)
        stored[f"NeighConsensus.conv.{2 * index}.bias"] = torch.rand(outputs)
        inputs = outputs
    return stored


def test_published_weights_fit_by_shape(tmp_path):
    stored = published()
    torch.save({"state_dict": stored}, tmp_path / "published.pth")
    matcher = NCNetMatcher(weights=str(tmp_path / "published.pth"))
    matcher.prepare()
    found = matcher.consensus.conv[0].weight
    assert found[5, 0, 2, 1, 0, 1] == stored["NeighConsensus.conv.0.weight"][2, 5, 0, 1, 0, 1]
    assert set(consensus_weights(stored)) == set(matcher.consensus.state_dict())
    torch.save(published((8, 1)), tmp_path / "smaller.pth")
    with pytest.raises(InputError, match=r"smaller.pth: the consensus layers do not fit"):
        NCNetMatcher(weights=str(tmp_path / "smaller.pth")).prepare()


def test_weights_are_never_random():
    with pytest.raises(InputError, match=r"no weights for --model.backbone resnet34"):
        NCNetMatcher(backbone="resnet34").prepare()
    with pytest.raises(ValueError, match="backbone must be one of loftr, resnet34"):
        NCNetMatcher(backbone="vgg")
    with pytest.raises(ValueError, match="relocate must be at least 1"):
        NCNetMatcher(relocate=0)


def test_a_shifted_image_is_matched():
    matcher = NCNetMatcher(align=False).eval()
    scene = texture(176, 240)
    image0, image1 = scene[..., :160, :208], scene[..., 16:176, 32:240]
    found = matcher.match(image0, image1)
    error = (found.keypoints1 - found.keypoints0 - torch.tensor([-32, -16])).norm(dim=1)
    assert (error < 1).sum() > 30
    assert (error < 1).float().mean() > 0.8
    assert (found.score[:-1] >= found.score[1:]).all()


def test_odd_sizes_masks_and_uniform_images():
    matcher = NCNetMatcher(align=False).eval()
    scene = texture(120, 150)
    valid = torch.ones(1, 93, 121, dtype=torch.bool)
    valid[..., :60] = False
    found = matcher.match(scene[..., :93, :121], scene[..., :101, :150], valid)
    assert len(found)
    assert (found.keypoints0[:, 0] >= 59.5).all()
    assert (found.keypoints0 < torch.tensor([121, 93])).all()
    gray = torch.full((1, 3, 48, 64), 0.5)
    uniform = matcher.match(gray, gray)
    assert len(uniform.keypoints0) == len(uniform.score)  # whatever is found, no error


def test_more_memory_finds_the_same_shift_without_relocalisation():
    matcher = NCNetMatcher(relocate=1, align=False).eval()
    scene = texture(96, 128)
    found = matcher.match(scene[..., :80, :112], scene[..., 16:96, 16:128])
    error = (found.keypoints1 - found.keypoints0 + 16).norm(dim=1)
    assert (error < 1).float().mean() > 0.8


@pytest.fixture(scope="module")
def four_pairs():
    """A batch of four generated pairs of 96 pixels."""
    data = FlowPairs(
        source="embedded", train_pairs=4, eval_pairs=2, canvases=2, side=96, scenes=0.5,
        turn=10.0, zoom=0.2, batch_size=4,
    )  # fmt: skip
    data.setup("fit")
    return data, next(iter(data.train_dataloader()))


def test_the_loss_of_four_pairs_falls(four_pairs):
    torch.manual_seed(0)
    matcher = NCNetMatcher()
    optimizer = torch.optim.Adam(matcher.consensus.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = matcher.training_step(four_pairs[1], 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert weak_loss(torch.rand(1, 2, 2, 2, 2), torch.rand(1, 2, 2, 2, 2)).isfinite()
    single = {name: value[:1] for name, value in four_pairs[1].items()}
    with pytest.raises(InputError, match="at least 2 pairs in a batch"):
        matcher.training_step(single, 0)


def test_a_checkpoint_keeps_the_matches(tmp_path, four_pairs, monkeypatch):
    data, batch = four_pairs
    matcher = NCNetMatcher(channels=(4, 1), lr=1e-3)
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(matcher, data)
    assert {"val/within_8", "val/matches"} <= set(trainer.callback_metrics)
    trainer.save_checkpoint(tmp_path / "ncnet.ckpt")
    loaded = load_trained(NCNetMatcher, tmp_path / "ncnet.ckpt", {"align": False})
    first, second = (
        m.eval().match(batch["image0"][:1], batch["image1"][:1]) for m in (matcher, loaded)
    )
    assert torch.equal(first.keypoints1, second.keypoints1)
    # The shipped weights have other layers.
    monkeypatch.setattr(trainable, "shipped_checkpoint", lambda name: tmp_path / name)
    with pytest.raises(InputError, match=r"do not fit the model"):
        NCNetMatcher().prepare()
