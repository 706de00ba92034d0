"""The network of the paper: ResNet-34, NCNet's proposals, regressors on patches of 16 pixels."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.pairs.patch2pix.backbone import ResNetFeatures
from patchmatch.pairs.patch2pix.consensus import Consensus, best_matches, pooled_correlation
from patchmatch.pairs.patch2pix.net import RefinementNet
from patchmatch.pairs.patch2pix.regressor import Refined

PATCH = 16  # pixels along the side of a patch (``psize``)
STRIDES = (1, 2, 4, 8)  # of the levels that a patch is made of: the image and three stages
CHANNELS = (3, 64, 64, 128)
HIDDEN = (512, 512, 512, 256)  # of the two convolutions, and of the fully connected layers
RELOCATE = 2  # side of the blocks of cells whose maxima NCNet filters (``ksize``)
EPSILON = 1e-6  # of the norm of a feature vector


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Features of a batch of images.

    Attributes:
        levels: (B, C, H / s, W / s) each, of ``CHANNELS`` at ``STRIDES``; the first is the
            normalised image.
        coarse: (B, 256, h, w), the third stage, for the proposals.
    """

    levels: tuple[Tensor, ...]
    coarse: Tensor

    def __getitem__(self, index: slice) -> "Levels":
        """Return the features of some images of the batch."""
        return Levels(levels=tuple(v[index] for v in self.levels), coarse=self.coarse[index])


class PatchRegressor(nn.Module):
    """Regressor of the paper: displacements of both ends, and a confidence (section 3.3).

    The patches of both images, of all levels of the pyramid, are concatenated; two convolutions and
    max-pooling reduce them to a vector, three fully connected layers reduce that to five numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = HIDDEN
        self.convolutions = nn.Sequential(
            nn.Conv2d(2 * sum(CHANNELS), first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(PATCH // 2),
        )
        self.layers = nn.Sequential(
            nn.Linear(second, third), nn.BatchNorm1d(third), nn.ReLU(),
            nn.Linear(third, fourth), nn.BatchNorm1d(fourth), nn.ReLU(),
            nn.Linear(fourth, 5),
        )  # fmt: skip
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        # It starts from no displacement: tanh(0.549) is 0.5, the middle of the range.
        last.bias.data = torch.tensor([0.5] * 4 + [0.0]).atanh()

    @property
    def reach(self) -> float:
        """Largest displacement of an end in x and in y, in pixels."""
        return PATCH / 2

    def project(self, features: Levels) -> Levels:
        """Return the features: the patches have all of their channels."""
        return features

    def forward(
        self,
        features0: Levels,
        features1: Levels,
        pair: Int[Tensor, "M"],
        points0: Float[Tensor, "M 2"],
        points1: Float[Tensor, "M 2"],
    ) -> Refined:
        """Return the refined matches.

        Args:
            features0: Features of images 0.
            features1: Features of images 1.
            pair: Index of the image pair of each match.
            points0: x and y in pixels of image 0.
            points1: x and y in pixels of image 1.
        """
        patches0 = sample_patches(features0, pair, points0)
        patches1 = sample_patches(features1, pair, points1)
        hidden = self.convolutions(torch.cat([patches0, patches1], dim=1)).flatten(1)
        out = self.layers(hidden).float()
        moves = PATCH * torch.tanh(out[:, :4].relu()) - PATCH / 2
        return Refined(
            points0=points0 + moves[:, :2], points1=points1 + moves[:, 2:], logits=out[:, 4]
        )


def sample_patches(
    features: Levels, pair: Int[Tensor, "M"], points: Float[Tensor, "M 2"]
) -> Float[Tensor, "M C S S"]:
    """Return the features of patches at each of their pixels, of length 1, without interpolation.

    A patch has the pixels from 8 before the pixel that contains the point to 7 after it. Pixels
    outside the image have the features of its border.

    Args:
        features: Features of images.
        pair: Index of the image of each point.
        points: x and y in pixels; (0, 0) is the centre of the top-left pixel.
    """
    window = torch.arange(PATCH, device=points.device) - PATCH // 2
    pixels = (points + 0.5).floor().long()[:, :, None] + window  # (M, 2, S)
    sampled = []
    for level, stride in zip(features.levels, STRIDES, strict=True):
        cells = pixels.div(stride, rounding_mode="floor")
        x = cells[:, 0].clamp(0, level.shape[3] - 1)
        y = cells[:, 1].clamp(0, level.shape[2] - 1)
        sampled.append(level[pair[:, None, None], :, y[:, :, None], x[:, None, :]])  # (M, S, S, C)
    patches = torch.cat(sampled, dim=3).float()
    norm = (patches.square().sum(dim=3, keepdim=True) + EPSILON).sqrt()
    return (patches / norm).movedim(3, 1)


class PaperNet(RefinementNet):
    """Patch2Pix as published: ResNet-34 with ImageNet weights, NCNet, regressors of 512 channels.

    The weights are random; ``load_published`` and ``load_resnet`` replace them.

    Args:
        change_stride: Coarse features at 1/8 of the size, in place of 1/16.
    """

    shift = PATCH / 2
    chunk = 256  # matches that are refined at once, 0.5 GB

    def __init__(self, change_stride: bool = True) -> None:
        super().__init__()
        self.backbone = ResNetFeatures(change_stride)
        self.stride = self.backbone.stride
        self.consensus = Consensus().requires_grad_(False)  # proposals have no gradient
        self.mid, self.fine = PatchRegressor(), PatchRegressor()

    @torch.no_grad()
    def extract(self, image: Float[Tensor, "B C H W"]) -> Levels:
        """Return the features of RGB or gray images in [0, 1], extended to whole blocks of cells.

        A gray image has three equal channels.
        """
        block = RELOCATE * self.stride
        bottom, right = (-side % block for side in image.shape[-2:])
        padded = F.pad(image.expand(-1, 3, -1, -1), (0, right, 0, bottom), mode="replicate")
        levels = self.backbone.stages(padded)
        return Levels(levels=levels[:-1], coarse=levels[-1].float())

    @torch.no_grad()
    def propose(
        self,
        features0: Levels,
        features1: Levels,
        valid0: Bool[Tensor, "H W"] | None = None,
        valid1: Bool[Tensor, "H1 W1"] | None = None,
    ) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
        """Return NCNet's matches of cells of one pair, see ``RefinementNet.propose``."""
        pooled = pooled_correlation(features0.coarse, features1.coarse, RELOCATE)
        assert pooled.offsets is not None
        found = best_matches(self.consensus(pooled.scores)[0], pooled.offsets[0], RELOCATE)
        kept = found.mutual
        for cells, valid in ((found.cells0, valid0), (found.cells1, valid1)):
            if valid is not None:
                kept = kept & valid[cells[:, 1], cells[:, 0]]
        order = found.score.argsort(descending=True, stable=True)
        order = order[kept[order]]
        centre = (self.stride - 1) / 2
        points0, points1 = (
            self.stride * cells[order].float() + centre for cells in (found.cells0, found.cells1)
        )
        return points0, points1
