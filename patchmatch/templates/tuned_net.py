"""Tuned features: a backbone, residual convolutions on its maps, and an embedding of the image."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.checkpoints import check_class, check_weights, read_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.templates.backbones import (
    DEFAULT_STRIDE,
    HANDCRAFTED,
    Backbone,
    NetworkFeatures,
    build_backbone,
    load_backbone,
)

CHECKPOINT_SUFFIX = ".ckpt"
CHECKPOINT_CLASS = "PlaceMatcher"  # its checkpoints contain tuned features
#: Hyperparameters of that class, in the order of the arguments of ``TunedFeatures``.
SETTINGS = ("features", "layers", "stride", "head", "embedding")
BATCH_NORM_MOMENTUM = 0.05


class TunedFeatures(Backbone):
    """A backbone with a residual convolution on each map, and an embedding of the whole image.

    The convolutions are initialised with zeros: before training, the maps match like those of the
    backbone.

    Args:
        name: ``handcrafted``, or a network of torchvision.
        layers: Names of its layers in torchvision; None for the default layers.
        stride: Side of a cell in pixels.
        head: Kernel size of the convolutions in cells; 0 for none.
        embedding: Length of the embedding.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str] | None = None,
        stride: int = DEFAULT_STRIDE,
        head: int = 1,
        embedding: int = 128,
    ) -> None:
        super().__init__(stride)
        self.name, self.kind = name, HANDCRAFTED if name == HANDCRAFTED else "network"
        self.backbone = build_backbone(name, layers, stride).requires_grad_(requires_grad=False)
        channels = self.backbone.eval().channels
        # The attributes even, heads and embed name the tensors in checkpoints.
        self.even = nn.ModuleList(
            nn.BatchNorm2d(count, affine=False, momentum=BATCH_NORM_MOMENTUM) for count in channels
        )
        self.radius = head // 2
        self.heads = nn.ModuleList(_zero_convolution(count, head) for count in channels if head)
        self.embed = nn.Linear(2 * sum(channels), embedding, bias=False)
        nn.init.orthogonal_(self.embed.weight)

    def train(self, mode: bool = True) -> "TunedFeatures":
        """Set the mode of all but the backbone, whose batch statistics stay frozen."""
        super().train(mode)
        self.backbone.eval()
        return self

    def extract_features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the maps of the backbone; ``forward`` applies the convolutions on the grid."""
        return self.backbone.extract_features(images)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], rows: slice | None = None
    ) -> list[Float[Tensor, "B _ h w"]]:
        """Return the tuned maps on the grid of cells.

        Args:
            images: RGB in [0, 1].
            rows: Rows of cells to compute, ``slice(first, last)``; None for all.
        """
        count = -(-images.shape[-2] // self.stride)
        rows = slice(0, count) if rows is None else rows
        # The receptive field of the convolutions extends beyond these rows.
        padded = slice(max(0, rows.start - self.radius), min(count, rows.stop + self.radius))
        maps = self.backbone(images, padded)
        maps = [even(features) for even, features in zip(self.even, maps, strict=True)]
        if len(self.heads):
            maps = [f + head(f) for f, head in zip(maps, self.heads, strict=True)]
        inner = slice(rows.start - padded.start, rows.stop - padded.start)
        return [features[..., inner, :] for features in maps]

    def pooled(self, maps: Sequence[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B D"]:
        """Return mean and standard deviation of every channel, normalised to length 1."""
        kinds = []
        for features in maps:
            mean, std = features.mean(dim=(2, 3)), features.var(dim=(2, 3)).add(1e-6).sqrt()
            kinds.append(F.normalize(torch.cat([mean, std - 1], dim=1), dim=1))
        return torch.cat(kinds, dim=1) * len(kinds) ** -0.5

    def embedding(self, maps: Sequence[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B D"]:
        """Return the embedding of each image, a vector of length 1, from its maps."""
        return F.normalize(self.embed(self.pooled(maps)), dim=1)

    def parameters_of(self, layer: str) -> list[nn.Parameter]:
        """Return the parameters of a layer of the network and of its sublayers.

        Raises:
            ValueError: If the layer does not exist or has no parameters.
        """
        own = self.backbone.net if isinstance(self.backbone, NetworkFeatures) else nn.Module()
        found = {key: p for key, p in own.named_parameters() if f"{key}.".startswith(f"{layer}.")}
        if not found:
            have = sorted({key.rpartition(".")[0] for key, _ in own.named_parameters()})
            raise ValueError(
                f"tune: {self.name} has no layer {layer} with weights; its layers with weights: "
                f"{', '.join(have) or 'none'}"
            )
        return list(found.values())


def load_features(
    name: str = "vgg19",
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    stride: int = DEFAULT_STRIDE,
) -> Backbone:
    """Return a backbone by name, or tuned features from a checkpoint.

    Args:
        name: A checkpoint (``.ckpt``) of ``PlaceMatcher``, which contains weights and layers; or a
            name for ``load_backbone``.
        weights: As for ``load_backbone``.
        layers: As for ``load_backbone``.
        stride: Side of a cell in pixels; must be that of the checkpoint.

    Raises:
        InputError: If they cannot be loaded, or the checkpoint is of another class or stride.
    """
    if not name.endswith(CHECKPOINT_SUFFIX):
        return load_backbone(name, weights, layers, stride)
    if weights is not None or layers is not None:
        raise InputError(f"features {name}: a checkpoint contains weights and layers; omit both")
    checkpoint = read_checkpoint(name)
    check_class(name, checkpoint, CHECKPOINT_CLASS)
    settings = checkpoint["hyper_parameters"]
    missing = [key for key in SETTINGS if key not in settings]
    if missing:
        raise InputError(
            f"{name}: the setting {missing[0]} is missing; give a checkpoint of this version"
        )
    if settings["stride"] != stride:
        raise InputError(
            f"features {name}: expected the stride {settings['stride']} of the checkpoint, got "
            f"{stride}; give --model.stride {settings['stride']}"
        )
    tuned = TunedFeatures(*(settings[key] for key in SETTINGS))
    net_weights = {
        key.removeprefix("net."): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith("net.")
    }
    check_weights(name, {"state_dict": net_weights}, tuned)
    tuned.load_state_dict(net_weights)
    return tuned.eval().requires_grad_(requires_grad=False)


def _zero_convolution(channels: int, side: int) -> nn.Conv2d:
    head = nn.Conv2d(channels, channels, side, padding=side // 2, padding_mode="replicate")
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
