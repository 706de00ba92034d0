"""Features of pictures on a grid of cells: those of trained networks, and some made by hand."""

import abc
import functools
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

from patchmatch.core.errors import InputError
from patchmatch.ops.contrast import local_contrast_normalization
from patchmatch.templates.handcrafted import opponent_colors, orientation_histograms

HANDCRAFTED = "handcrafted"
#: Layers that match templates well, by the name of the network in torchvision.
LAYERS = {"vgg19": ("features.3", "features.8", "features.17")}
CELL = 4  # pixels
MARGIN = 24  # pixels around a picture, repeated from its border: a cell of VGG-19 sees 24
TILE = 512  # pixels of a picture that are described at once
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB


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

    @functools.cached_property
    def channels(self) -> list[int]:
        """How many numbers of each kind describe a cell."""
        device = next(self.parameters(), torch.empty(0)).device
        with torch.no_grad():
            return [m.shape[1] for m in self.describe(torch.zeros(1, 3, 64, 64, device=device))]

    def forward(
        self, images: Float[Tensor, "B 3 H W"], rows: slice | None = None
    ) -> list[Float[Tensor, "B _ h w"]]:
        """Return the maps of each kind of features: h and w are H and W in cells, rounded up.

        Args:
            images: RGB in [0, 1].
            rows: Describe these rows of cells alone, ``slice(first, last)``; None for all.
        """
        height, width = images.shape[-2:]
        step = math.lcm(self.stride, 8)
        first, last = (0, -(-height // self.stride)) if rows is None else (rows.start, rows.stop)
        top, bottom = first * self.stride // step * step, -(-last * self.stride // step) * step
        below, right = MARGIN + -height % step, MARGIN + -width % step
        padded = F.pad(images, (MARGIN, right, MARGIN, below), mode="replicate")
        maps: list[Tensor] = []
        for y in range(top, bottom, TILE):  # in tiles, for the first layers are large
            end = min(y + TILE, bottom)
            for x in range(0, width, TILE):
                tile = padded[..., y : end + 2 * MARGIN, x : x + TILE + 2 * MARGIN]
                parts = [self._on_grid(f, tile.shape[-2:]) for f in self.describe(tile)]
                if not maps:
                    size = last - first, -(-width // self.stride)
                    maps = [_empty_map(part, size) for part in parts]
                row, column, margin = y // self.stride, x // self.stride, MARGIN // self.stride
                skipped = max(0, first - row)
                for features, part in zip(maps, parts, strict=True):
                    whole = features[..., max(0, row - first) : end // self.stride - first, :]
                    place = whole[..., column : column + TILE // self.stride]
                    inner = part[..., margin + skipped :, margin:]
                    place.copy_(inner[..., : place.shape[-2], : place.shape[-1]])
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
            _neighbourhood(local_contrast_normalization(cells, 9), 5),
            _neighbourhood(F.avg_pool2d(cells, 3, 1, 1, count_include_pad=False), 1),
        ]


def _empty_map(like: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map of another size; the numbers of a cell lie side by side."""
    kind = {"dtype": like.dtype, "device": like.device, "memory_format": torch.channels_last}
    return torch.empty(*like.shape[:2], *size, **kind)


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
