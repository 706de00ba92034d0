"""Features that were tuned here: a backbone, what is added to its maps, and an embedding."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.checkpoints import check_class, check_weights, read_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.templates.backbones import (
    CELL,
    Backbone,
    NetworkFeatures,
    load_backbone,
    make_backbone,
)

CHECKPOINT = ".ckpt"
TUNER = "PlaceMatcher"  # the class whose checkpoints hold tuned features
SETTINGS = ("features", "layers", "stride", "head", "embedding")  # of it, in the order of __init__
SLOW = 0.05  # share of a batch in the mean and deviation of the channels


class TunedFeatures(Backbone):
    """A backbone whose maps a residual convolution may change, and an embedding of the whole.

    As long as nothing is trained, its maps match as those of the backbone do: the convolutions
    begin with zeros.

    Args:
        name: ``handcrafted``, or a network of torchvision.
        layers: Names of its layers in torchvision; None for the proven ones.
        stride: Side of a cell in pixels.
        head: Side in cells of the convolution that changes each map; 0 for none.
        embedding: Length of the embedding.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str] | None = None,
        stride: int = CELL,
        head: int = 1,
        embedding: int = 128,
    ) -> None:
        super().__init__(stride)
        self.name = name
        self.backbone = make_backbone(name, layers, stride).requires_grad_(requires_grad=False)
        channels = self.backbone.eval().channels
        self.even = nn.ModuleList(
            nn.BatchNorm2d(count, affine=False, momentum=SLOW) for count in channels
        )
        self.reach = head // 2
        self.heads = nn.ModuleList(_zeroed(count, head) for count in channels if head)
        self.embed = nn.Linear(2 * sum(channels), embedding, bias=False)
        nn.init.orthogonal_(self.embed.weight)

    def train(self, mode: bool = True) -> "TunedFeatures":
        """Switch to training; means and deviations inside the backbone stay as they are."""
        super().train(mode)
        self.backbone.eval()
        return self

    def describe(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the maps of the backbone; the convolutions come on the grid, in ``forward``."""
        return self.backbone.describe(images)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], rows: slice | None = None
    ) -> list[Float[Tensor, "B _ h w"]]:
        """Return the tuned maps of each kind of features, all on the grid of cells.

        Args:
            images: RGB in [0, 1].
            rows: Rows of cells, as in ``Backbone``.
        """
        count = -(-images.shape[-2] // self.stride)
        rows = slice(0, count) if rows is None else rows
        # the convolutions see beyond these rows
        wide = slice(max(0, rows.start - self.reach), min(count, rows.stop + self.reach))
        maps = self.backbone(images, wide)
        maps = [even(features) for even, features in zip(self.even, maps, strict=True)]
        if len(self.heads):
            maps = [f + head(f) for f, head in zip(maps, self.heads, strict=True)]
        inner = slice(rows.start - wide.start, rows.stop - wide.start)
        return [features[..., inner, :] for features in maps]

    def pooled(self, maps: Sequence[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B D"]:
        """Return mean and deviation of every channel; each kind of features counts the same."""
        kinds = []
        for features in maps:
            mean, deviation = features.mean(dim=(2, 3)), features.var(dim=(2, 3)).add(1e-6).sqrt()
            kinds.append(F.normalize(torch.cat([mean, deviation - 1], dim=1), dim=1))
        return torch.cat(kinds, dim=1) * len(kinds) ** -0.5

    def embedding(self, maps: Sequence[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B D"]:
        """Return one vector of length 1 for the maps of each picture."""
        return F.normalize(self.embed(self.pooled(maps)), dim=1)

    def parameters_of(self, layer: str) -> list[nn.Parameter]:
        """Return the parameters of a layer of the network and of all beneath it.

        Raises:
            ValueError: If there are none.
        """
        own = self.backbone.net if isinstance(self.backbone, NetworkFeatures) else nn.Module()
        found = {key: p for key, p in own.named_parameters() if f"{key}.".startswith(f"{layer}.")}
        if not found:
            have = sorted({key.rpartition(".")[0] for key, _ in own.named_parameters()})
            raise ValueError(
                f"tune: {self.name} has no layer {layer} with weights; it has "
                f"{', '.join(have) or 'none at all'}"
            )
        return list(found.values())


def load_features(
    name: str = "vgg19",
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    stride: int = CELL,
) -> Backbone:
    """Return features by name, or those of a checkpoint that were tuned here.

    Args:
        name: A checkpoint (``.ckpt``) of a ``PlaceMatcher``, which brings weights and layers with
            it; or what ``load_backbone`` takes.
        weights: As for ``load_backbone``.
        layers: As for ``load_backbone``.
        stride: Side of a cell in pixels; a checkpoint has its own.

    Raises:
        InputError: If they cannot be had, or the checkpoint is of something else.
    """
    if not name.endswith(CHECKPOINT):
        return load_backbone(name, weights, layers, stride)
    if weights is not None or layers is not None:
        raise InputError(f"features {name}: brings weights and layers with it; give neither")
    checkpoint = read_checkpoint(name)
    check_class(name, checkpoint, TUNER)
    had = checkpoint["hyper_parameters"]
    lacks = [key for key in SETTINGS if key not in had]
    if lacks:
        raise InputError(f"{name}: lacks the setting {lacks[0]}; give a checkpoint of this version")
    if had["stride"] != stride:
        raise InputError(
            f"features {name}: were tuned for cells of {had['stride']} pixels, got a stride of "
            f"{stride}; give --model.stride {had['stride']}"
        )
    tuned = TunedFeatures(*(had[key] for key in SETTINGS))
    weights_of_net = {
        key.removeprefix("net."): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith("net.")
    }
    check_weights(name, {"state_dict": weights_of_net}, tuned)
    tuned.load_state_dict(weights_of_net)
    return tuned.eval().requires_grad_(requires_grad=False)


def _zeroed(channels: int, side: int) -> nn.Conv2d:
    head = nn.Conv2d(channels, channels, side, padding=side // 2, padding_mode="replicate")
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
