"""Image features on a grid of cells: of trained networks, and hand-crafted."""

import abc
import functools
import math
from collections.abc import Sequence
from urllib.error import URLError

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from patchmatch.core.errors import InputError, first_line
from patchmatch.core.weights import read_state_dict
from patchmatch.ops.contrast import local_contrast_normalization
from patchmatch.templates.handcrafted import opponent_colors, orientation_histograms

HANDCRAFTED = "handcrafted"
#: Layers used by default, by the name of the network in torchvision.
DEFAULT_LAYERS = {"vgg19": ("features.3", "features.8", "features.17")}
DEFAULT_STRIDE = 4  # pixels
STRIDES = (1, 2, 4, 8)  # pixels
MARGIN = 24  # pixels of replicated border: as far as the receptive field of VGG-19 reaches
TILE = 512  # side of the tiles in pixels: bounds the memory of the first layers
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB


class Backbone(nn.Module, abc.ABC):
    """Base of feature extractors, which return several maps of features on one grid.

    Cell (row, column) covers the pixels from ``stride * column`` to the right and from
    ``stride * row`` down, ``stride`` of each. The border of the image is replicated.

    Args:
        stride: Side of a cell in pixels.

    Attributes:
        kind: network or handcrafted.
    """

    kind = "network"

    def __init__(self, stride: int = DEFAULT_STRIDE) -> None:
        super().__init__()
        self.stride = stride

    @functools.cached_property
    def channels(self) -> list[int]:
        """Number of channels of each map."""
        device = next(self.parameters(), torch.empty(0)).device
        with torch.no_grad():
            maps = self.extract_features(torch.zeros(1, 3, 64, 64, device=device))
        return [features.shape[1] for features in maps]

    def forward(
        self, images: Float[Tensor, "B 3 H W"], rows: slice | None = None
    ) -> list[Float[Tensor, "B _ h w"]]:
        """Return the maps; h and w are H and W in cells, rounded up.

        Args:
            images: RGB in [0, 1].
            rows: Rows of cells to compute, ``slice(first, last)``; None for all.
        """
        height, width = images.shape[-2:]
        step = math.lcm(self.stride, 8)
        first, last = (0, -(-height // self.stride)) if rows is None else (rows.start, rows.stop)
        top, bottom = first * self.stride // step * step, -(-last * self.stride // step) * step
        below, right = MARGIN + -height % step, MARGIN + -width % step
        padded = F.pad(images, (MARGIN, right, MARGIN, below), mode="replicate")
        maps: list[Tensor] = []
        for y in range(top, bottom, TILE):
            end = min(y + TILE, bottom)
            for x in range(0, width, TILE):
                tile = padded[..., y : end + 2 * MARGIN, x : x + TILE + 2 * MARGIN]
                parts = [self._resample(f, tile.shape[-2:]) for f in self.extract_features(tile)]
                if not maps:
                    size = last - first, -(-width // self.stride)
                    maps = [_empty_map(features, size) for features in parts]
                row, column, margin = y // self.stride, x // self.stride, MARGIN // self.stride
                skipped = max(0, first - row)
                for features, source in zip(maps, parts, strict=True):
                    target = features[..., max(0, row - first) : end // self.stride - first, :]
                    target = target[..., column : column + TILE // self.stride]
                    inner = source[..., margin + skipped :, margin:]
                    target.copy_(inner[..., : target.shape[-2], : target.shape[-1]])
        return maps

    @abc.abstractmethod
    def extract_features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the maps, each at its own resolution.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 8.
        """

    def _resample(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Average or interpolate the features of an image of a size to the grid of cells."""
        rows, columns = size[0] // self.stride, size[1] // self.stride
        if features.shape[-2] % rows == 0 and features.shape[-1] % columns == 0:
            return F.adaptive_avg_pool2d(features, (rows, columns))
        return F.interpolate(features, (rows, columns), mode="bilinear", align_corners=False)


class NetworkFeatures(Backbone):
    """Activations of layers of a torchvision network.

    Args:
        name: A model of torchvision, such as vgg19 or resnet50.
        layers: Layers by their names in torchvision, ``features.3`` or ``layer1.0.relu``.
        stride: Side of a cell in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Sequence[str], stride: int = DEFAULT_STRIDE) -> None:
        super().__init__(stride)
        try:
            model = torchvision.models.get_model(name, weights=None)
        except ValueError as error:
            raise InputError(
                f"features {name}: unknown network; give {HANDCRAFTED}, vgg19 or another model of "
                "torchvision.models"
            ) from error
        for module in model.modules():
            if hasattr(module, "inplace"):
                # An in-place layer would overwrite the activations of the layer before it.
                module.__dict__["inplace"] = False
        try:
            self.net = create_feature_extractor(model.eval(), list(layers))
        except ValueError as error:
            raise InputError(f"features {name}: unknown layers: {error}") from error
        self.layers = tuple(layers)
        mean, std = torch.tensor((_IMAGENET_MEAN, _IMAGENET_STD), device="cpu")[..., None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def extract_features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the activations of the layers, in the order of ``layers``."""
        normalized = (images - self.mean) / self.std
        activations = self.net(normalized.contiguous(memory_format=torch.channels_last))
        return [activations[layer] for layer in self.layers]


class HandcraftedFeatures(Backbone):
    """Hand-crafted baseline without weights.

    Its maps are histograms of gradient orientations (Dalal and Triggs, CVPR 2005) of 3x3 cells,
    colours of 5x5 cells after local contrast normalisation, and smoothed colours.
    """

    kind = HANDCRAFTED

    def extract_features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the three maps on the grid of cells."""
        colors = F.avg_pool2d(opponent_colors(images), self.stride)
        return [
            _concatenate_neighbours(orientation_histograms(images, self.stride), 3),
            _concatenate_neighbours(local_contrast_normalization(colors, 9), 5),
            F.avg_pool2d(colors, 3, 1, 1, count_include_pad=False),
        ]


def _empty_map(like: Tensor, size: Sequence[int]) -> Tensor:
    """Return an empty map of another size, with the channels of a cell contiguous in memory."""
    kind = {"dtype": like.dtype, "device": like.device, "memory_format": torch.channels_last}
    return torch.empty(*like.shape[:2], *size, **kind)


def _concatenate_neighbours(cells: Float[Tensor, "B C h w"], side: int) -> Float[Tensor, "B _ h w"]:
    """Concatenate the channels of all cells of the square around each cell."""
    rows, columns = cells.shape[-2:]
    padded = F.pad(cells, (side // 2,) * 4, mode="replicate")
    return torch.cat(
        [padded[..., y : y + rows, x : x + columns] for y in range(side) for x in range(side)],
        dim=1,
    )


def require_stride(stride: int) -> None:
    """Raise ValueError unless a stride is one of ``STRIDES``."""
    if stride not in STRIDES:
        raise ValueError(f"stride must be 1, 2, 4 or 8 pixels, got {stride}")


def load_backbone(
    name: str = "vgg19",
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    stride: int = DEFAULT_STRIDE,
) -> Backbone:
    """Return a backbone with its weights, in evaluation mode and without gradients.

    Args:
        name: ``handcrafted``, or a network of torchvision.
        weights: File with the weights of the network, or of its part ``features``; None for the
            weights that torchvision downloads.
        layers: Names of layers in torchvision; None for the default layers, which only VGG-19 has.
        stride: Side of a cell in pixels.

    Raises:
        InputError: If the network or a layer does not exist, or if the weights cannot be read or
            belong to another network.
    """
    # The unused layers, up to half a gigabyte of them, are never allocated.
    backbone = build_backbone(name, layers, stride, device="meta")
    load_backbone_weights(backbone, name, weights)
    return backbone.eval().requires_grad_(requires_grad=False)


def build_backbone(
    name: str, layers: Sequence[str] | None, stride: int, device: str = "cpu"
) -> Backbone:
    """Return a backbone without loading weights; arguments as for ``load_backbone``."""
    if name == HANDCRAFTED:
        return HandcraftedFeatures(stride)
    if layers is None:
        if name not in DEFAULT_LAYERS:
            raise InputError(f"features {name}: give layers too, for example layer1 of a resnet")
        layers = DEFAULT_LAYERS[name]
    with torch.device(device):
        return NetworkFeatures(name, layers, stride)


def load_backbone_weights(backbone: Backbone, name: str, weights: str | None) -> None:
    """Load the weights of a backbone's network; arguments as for ``load_backbone``."""
    if not isinstance(backbone, NetworkFeatures):
        if weights is not None:
            raise InputError(f"{weights}: {HANDCRAFTED} features have no weights; omit weights")
        return
    advice = f"give the weights of {name}, or the features {HANDCRAFTED}, which need none"
    found = _download(name) if weights is None else read_state_dict(weights, advice)
    needed = backbone.net.state_dict()
    have = {key: found.get(key, found.get(key.removeprefix("features."))) for key in needed}
    wrong = [key for key, value in needed.items() if not _fits(value, have[key])]
    if wrong:
        raise InputError(
            f"{weights or 'downloaded weights'}: weights of another network than {name}: "
            f"{len(wrong)} tensors do not fit, the first is {wrong[0]}; give weights of {name}"
        )
    if any(parameter.is_meta for parameter in backbone.net.parameters()):
        backbone.net.to_empty(device="cpu")
    backbone.net.load_state_dict(have)
    backbone.net.to(memory_format=torch.channels_last)  # a third faster on a CPU


def _fits(needed: Tensor, have: object) -> bool:
    return isinstance(have, Tensor) and have.shape == needed.shape


def _download(name: str) -> dict[str, Tensor]:
    """Return the weights that torchvision provides for a network, cached or downloaded."""
    try:
        choice = torchvision.models.get_model_weights(name)
        return dict(next(iter(choice)).get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"features {name}: the weights cannot be downloaded ({first_line(error)}); give a "
            f"file of weights, or the features {HANDCRAFTED}, which need none"
        ) from error
