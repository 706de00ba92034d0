"""Features of pictures on a grid of cells: those of trained networks, and some made by hand."""

import abc
import math
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from patchmatch.errors import InputError

HANDCRAFTED = "handcrafted"
#: Layers that match templates well, by the name of the network in torchvision.
LAYERS = {"vgg19": ("features.3", "features.8", "features.17")}
CELL = 4  # pixels
MARGIN = 24  # pixels around a picture, repeated from its border: a cell of VGG-19 sees 24
TILE = 512  # pixels of a picture that are described at once
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
_ORIENTATIONS = 8


class Backbone(nn.Module, abc.ABC):
    """Base of what describes pictures by several maps of features, all on one grid.

    Cell (row, column) describes the ``stride`` pixels from ``stride * column`` on to the right and
    from ``stride * row`` on down. Beyond its border a picture is continued by repetition.

    Args:
        stride: Side of a cell in pixels.
    """

    def __init__(self, stride: int = CELL) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ h w"]]:
        """Return the maps of each kind of features: h and w are H and W in cells, rounded up."""
        height, width = images.shape[-2:]
        step = math.lcm(self.stride, 8)
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        below, right = MARGIN + -height % step, MARGIN + -width % step
        padded = F.pad(images, (MARGIN, right, MARGIN, below), mode="replicate")
        maps: list[Tensor] = []
        for y in range(0, height, TILE):  # in tiles, for the first layers are large
            for x in range(0, width, TILE):
                tile = padded[..., y : y + TILE + 2 * MARGIN, x : x + TILE + 2 * MARGIN]
                parts = [self._on_grid(f, tile.shape[-2:]) for f in self.describe(tile)]
                if not maps:
                    maps = [part.new_empty(*part.shape[:2], rows, columns) for part in parts]
                first, row, column = MARGIN // self.stride, y // self.stride, x // self.stride
                for features, part in zip(maps, parts, strict=True):
                    whole = features[..., row : row + TILE // self.stride, :]
                    place = whole[..., column : column + TILE // self.stride]
                    inner = part[..., first : first + place.shape[-2], :]
                    place.copy_(inner[..., first : first + place.shape[-1]])
        return maps

    @abc.abstractmethod
    def describe(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the maps of a picture whose sides are multiples of 8, each on a grid of its own.

        Args:
            images: RGB in [0, 1].
        """

    def _on_grid(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Average or interpolate features to the grid of cells."""
        rows, columns = size[0] // self.stride, size[1] // self.stride
        if features.shape[-2] % rows == 0 and features.shape[-1] % columns == 0:
            return F.adaptive_avg_pool2d(features, (rows, columns))
        return F.interpolate(features, (rows, columns), mode="bilinear", align_corners=False)


class NetworkFeatures(Backbone):
    """What layers of a network from torchvision say of a picture.

    Args:
        name: A model of torchvision, such as vgg19 or resnet50.
        layers: Layers by their names in torchvision, ``features.3`` or ``layer1.0.relu``.
        stride: Side of a cell in pixels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, layers: Sequence[str], stride: int = CELL) -> None:
        super().__init__(stride)
        try:
            model = torchvision.models.get_model(name, weights=None)
        except ValueError as error:
            raise InputError(
                f"features {name}: torchvision has no such network; give {HANDCRAFTED}, vgg19 or "
                "another one of torchvision.models"
            ) from error
        for module in model.modules():
            if hasattr(module, "inplace"):
                module.__dict__["inplace"] = (
                    False  # else the next layer overwrites the one asked for
                )
        try:
            self.net = create_feature_extractor(model.eval(), list(layers))
        except ValueError as error:
            raise InputError(f"features {name}: has no such layers: {error}") from error
        self.layers = tuple(layers)
        mean, deviation = torch.tensor((_MEAN, _DEVIATION), device="cpu")[..., None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def describe(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the layers in the order asked for."""
        evened = (images - self.mean) / self.deviation
        found = self.net(evened.contiguous(memory_format=torch.channels_last))
        return [found[layer] for layer in self.layers]


class HandcraftedFeatures(Backbone):
    """Features that need no weights.

    They are histograms of gradient orientations (Dalal and Triggs 2005), the colours of the cells
    around, free of the local contrast, and the colours themselves.
    """

    def describe(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the three kinds on the grid of cells."""
        colors = opponent_colors(images)
        cells = F.avg_pool2d(colors, self.stride)
        return [
            _neighbourhood(orientation_histograms(images, self.stride), 3),
            _neighbourhood(even_contrast(cells, 9), 5),
            _neighbourhood(F.avg_pool2d(cells, 3, 1, 1, count_include_pad=False), 1),
        ]


def opponent_colors(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return brightness, red against green, and blue against both."""
    red, green, blue = images.unbind(dim=1)
    pairs = ((red + green + blue) / 3, (red - green) / 2, (blue - (red + green) / 2) / 2)
    return torch.stack(pairs, dim=1)


def even_contrast(
    images: Float[Tensor, "B C H W"], window: int, softening: float = 0.02
) -> Float[Tensor, "B C H W"]:
    """Subtract the mean around every pixel and divide by the standard deviation there.

    Args:
        images: Any channels.
        window: Side of the square in which mean and deviation are taken, odd.
        softening: Least deviation, so that noise stays small.
    """

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)

    centre = mean(images)
    variance = (mean(images**2) - centre**2).clamp_min(0)
    return (images - centre) / (variance + softening**2).sqrt()


def orientation_histograms(
    images: Float[Tensor, "B 3 H W"], cell: int, softening: float = 0.02
) -> Float[Tensor, "B orientations _ _"]:
    """Return how strong the gradients of each direction are in every cell, free of the contrast.

    Of the three colours the strongest gradient counts, shared by the two directions beside it.

    Args:
        images: RGB in [0, 1].
        cell: Side of a cell in pixels.
        softening: Gradient below which a cell counts as plain.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    strongest = (dx**2 + dy**2).argmax(dim=1, keepdim=True)
    dx, dy = dx.gather(1, strongest), dy.gather(1, strongest)  # (B, 1, H, W)
    strength = (dx**2 + dy**2).sqrt()
    turn = torch.atan2(dy, dx) / (2 * math.pi) * _ORIENTATIONS
    directions = torch.arange(_ORIENTATIONS, device=images.device)[:, None, None]
    apart = (turn - directions).remainder(_ORIENTATIONS)
    share = (1 - torch.minimum(apart, _ORIENTATIONS - apart)).clamp_min(0)
    histograms = F.avg_pool2d(strength * share, cell)
    histograms = F.avg_pool2d(histograms, 3, 1, 1, count_include_pad=False)
    around = F.avg_pool2d(histograms.sum(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return (histograms / (around + softening)).sqrt()


def _neighbourhood(cells: Float[Tensor, "B C h w"], side: int) -> Float[Tensor, "B _ h w"]:
    """Describe every cell by the cells of the square around it as well."""
    rows, columns = cells.shape[-2:]
    padded = F.pad(cells, (side // 2,) * 4, mode="replicate")
    return torch.cat(
        [padded[..., y : y + rows, x : x + columns] for y in range(side) for x in range(side)],
        dim=1,
    )


def load_backbone(
    name: str = "vgg19",
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    stride: int = CELL,
) -> Backbone:
    """Return features by name, ready to describe.

    Args:
        name: ``handcrafted``, or a network of torchvision.
        weights: File with the weights of the network, or of its layers ``features`` alone; None
            has torchvision download those it ships for it.
        layers: Names of layers in torchvision; None for the proven ones, which VGG-19 has.
        stride: Side of a cell in pixels.

    Raises:
        InputError: If there is no such network or layer, or the weights cannot be had or are of
            another network.
    """
    # the layers that are not asked for may take half a gigabyte
    backbone = make_backbone(name, layers, stride, device="meta")
    read_weights(backbone, name, weights)
    return backbone.eval().requires_grad_(requires_grad=False)


def make_backbone(
    name: str, layers: Sequence[str] | None, stride: int, device: str = "cpu"
) -> Backbone:
    """Return features by name as ``load_backbone`` does, a network still without its weights."""
    if name == HANDCRAFTED:
        return HandcraftedFeatures(stride)
    if layers is None:
        if name not in LAYERS:
            raise InputError(f"features {name}: name the layers too, such as layer1 of a resnet")
        layers = LAYERS[name]
    with torch.device(device):
        return NetworkFeatures(name, layers, stride)


def read_weights(backbone: Backbone, name: str, weights: str | None) -> None:
    """Give the network of a backbone its weights, as ``load_backbone`` does."""
    if not isinstance(backbone, NetworkFeatures):
        if weights is not None:
            raise InputError(f"{weights}: {HANDCRAFTED} features have no weights; leave them out")
        return
    found = _download(name) if weights is None else _read(weights)
    needed = backbone.net.state_dict()
    have = {key: found.get(key, found.get(key.removeprefix("features."))) for key in needed}
    wrong = [key for key, value in needed.items() if not _fits(value, have[key])]
    if wrong:
        raise InputError(
            f"{weights or 'the download'}: holds weights of another network than {name}: "
            f"{len(wrong)} tensors do not fit, the first is {wrong[0]}; give weights of {name}"
        )
    if any(parameter.is_meta for parameter in backbone.net.parameters()):
        backbone.net.to_empty(device="cpu")
    backbone.net.load_state_dict(have)
    backbone.net.to(memory_format=torch.channels_last)  # a third faster on a CPU


def _fits(needed: Tensor, have: object) -> bool:
    return isinstance(have, Tensor) and have.shape == needed.shape


def _download(name: str) -> dict[str, Tensor]:
    """Return the weights that torchvision ships for a network, from its cache if they are there."""
    try:
        choice = torchvision.models.get_model_weights(name)
        return dict(next(iter(choice)).get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise InputError(
            f"features {name}: its weights cannot be downloaded ({reason}); give weights as a "
            f"file, or take the features {HANDCRAFTED}, which need none"
        ) from error


def _read(path: str) -> dict[str, Tensor]:
    """Read weights from a file, which may have them under ``state_dict``."""
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such file of weights; give another one, or take the features "
            f"{HANDCRAFTED}, which need none"
        )
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load has no common error for what is no checkpoint
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
        raise InputError(f"{path}: holds no weights, or damaged ones ({reason})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no weights by name; give a state_dict of torchvision")
    return content
