"""Feature extractors of NCNet: ResNet-34 with ImageNet weights, or the shipped LoFTR."""

import abc
import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.luma import luma
from patchmatch.pairs.patch2pix.net import BACKBONES, CONTRAST_FLOOR, load_backbone
from patchmatch.pairs.pretrained import AUTO, download_weights, read_weights

RESNET = "resnet34"
NAMES = (*BACKBONES, RESNET)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]
ADDRESS = "https://download.pytorch.org/models/resnet34-b627a593.pth"
# Numbers of the modules in a network of torchvision that is stored as a sequence.
SEQUENCE = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
STAGES = ("relu", "layer1", "layer2", "layer3")  # modules whose output a pyramid has
UNUSED = re.compile(r"layer4\.|fc\.")  # of the state_dict of torchvision's network


class Features(nn.Module, abc.ABC):
    """Frozen feature extractor; cell (x, y) is at pixel ``stride`` (x, y)."""

    stride: int

    @abc.abstractmethod
    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Return the features of RGB images in [0, 1]; sides are multiples of the stride."""

    def train(self, mode: bool = True) -> "Features":
        """Keep the statistics of the training of the extractor."""
        return super().train(False)


class LoFTRFeatures(Features):
    """Convolutions of the shipped LoFTR, at 1/8 of the size.

    Args:
        name: Name in ``BACKBONES``.
    """

    stride = 8

    def __init__(self, name: str) -> None:
        super().__init__()
        self.net, _ = load_backbone(BACKBONES[name])
        self.requires_grad_(False).eval()  # Trainer.fit keeps the mode of each module

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Return the features of RGB images in [0, 1]."""
        coarse, _ = self.net(normalize_contrast(luma(image), CONTRAST_FLOOR))
        return coarse.float()


class ResNetFeatures(Features):
    """ResNet-34 (He et al. 2016) up to its third stage, with random weights.

    Args:
        change_stride: Remove the stride of the third stage: features at 1/8 of the size, not 1/16.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, change_stride: bool = True) -> None:
        super().__init__()
        from torchvision.models import resnet34

        net = resnet34(weights=None)
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
        self.net = nn.Sequential()
        for name in names:
            self.net.add_module(name, getattr(net, name))
        if change_stride:
            first: Any = net.layer3[0]
            first.conv1.stride = first.downsample[0].stride = (1, 1)
        self.stride = 8 if change_stride else 16
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()  # Trainer.fit keeps the mode of each module

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Return the features of RGB images in [0, 1]."""
        return self.stages(image)[-1].float()

    @torch.no_grad()
    def stages(self, image: Float[Tensor, "B C H W"]) -> tuple[Tensor, ...]:
        """Return the normalised image, and the features at 1/2, 1/4 and 1/8 and of the last stage.

        Args:
            image: RGB in [0, 1].
        """
        features = (image - self.mean) / self.std
        found = [features]
        for name, module in self.net.named_children():
            features = module(features)
            if name in STAGES:
                found.append(features)
        return tuple(found)


def torchvision_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of ResNet-34 with the names of torchvision and without unused stages.

    Args:
        weights: State_dict of torchvision's network, or of its modules as a numbered sequence under
            any prefix that ends with ``model.``, as in NCNet's checkpoints.
    """
    named = {}
    for key, value in weights.items():
        number, _, rest = key.rpartition("model.")[2].partition(".")
        key = f"{SEQUENCE[number]}.{rest}" if number in SEQUENCE else key
        if not UNUSED.match(key):
            named[key] = value
    return named


def build_features(name: str, change_stride: bool) -> Features:
    """Return a feature extractor; a ResNet has random weights, which ``load_resnet`` replaces.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in NAMES:
        raise ValueError(f"backbone must be one of {', '.join(NAMES)}, got {name}")
    return ResNetFeatures(change_stride) if name == RESNET else LoFTRFeatures(name)


def load_resnet(features: ResNetFeatures, weights: str) -> None:
    """Load the ImageNet weights of ResNet-34.

    Args:
        features: The extractor to change.
        weights: ``auto``, which downloads them once, or a file.

    Raises:
        InputError: If they are missing, damaged or of another network.
    """
    option = "--model.backbone_weights"
    if weights != AUTO:
        read_weights("ResNet-34", features.net, weights, option, convert=torchvision_names)
        return

    def download() -> nn.Module:
        from torchvision.models import ResNet34_Weights, resnet34

        return resnet34(weights=ResNet34_Weights.IMAGENET1K_V1)

    net = download_weights("ResNet-34", download, option, ADDRESS)
    features.net.load_state_dict(torchvision_names(net.state_dict()))
