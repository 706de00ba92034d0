"""Training a descriptor of patches, and matching pictures by it."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.core.trained import TrainedPairs
from patchmatch.pairs.descriptor.data import PatchBatch, find_keypoints
from patchmatch.pairs.descriptor.distances import FalsePositiveRate
from patchmatch.pairs.descriptor.net import DescriptorNet
from patchmatch.pairs.descriptor.oriented import oriented_patches
from patchmatch.pairs.features import FeatureMatcher, Features, as_bytes
from patchmatch.pairs.sift import unit_descriptors

PATCHES_AT_ONCE = 1024
STAGES = ("val", "test")


class DescriptorMatcher(TrainedPairs, FeatureMatcher):
    """SIFT's keypoints, described by a small net that was trained on pairs made automatically.

    HardNet's way (Mishchuk et al. 2017): patches of one place attract each other, and each repels
    the one of another place that is most like it.

    Args:
        width: Channels of the first layers of the net.
        length: Numbers in a descriptor.
        patch_size: Side in pixels of the patches that are described.
        margin: By how much more than the right one the nearest wrong descriptor is to be apart.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        contrast: How much a place must stand out to be a keypoint; less finds more in faint
            pictures.
        options: Of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_descriptor.yaml"
    shipped_weights = "descriptor.ckpt"
    trained = frozenset({"width", "length", "patch_size", "margin", "lr", "weight_decay"})

    def __init__(
        self,
        width: int = 24,
        length: int = 128,
        patch_size: int = 32,
        margin: float = 1.0,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
        contrast: float = 0.04,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 <= contrast < 1:
            raise ValueError(f"contrast must be at least 0 and below 1, got {contrast}")
        if not 0 < margin <= 2:
            raise ValueError(f"margin must lie above 0 and not above 2, got {margin}")
        self.net = DescriptorNet(width, length, patch_size)
        self.margin, self.lr, self.weight_decay = margin, lr, weight_decay
        self.contrast = contrast
        names = [f"{stage}_{kind}" for stage in STAGES for kind in ("net", "rootsift")]
        self.rates = torch.nn.ModuleDict({name: FalsePositiveRate() for name in names})

    def describe(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the descriptors of the keypoints of a gray image (1, 1, H, W)."""
        mask = None if valid is None else valid[0].cpu().numpy().astype(np.uint8)
        found = find_keypoints(as_bytes(image), self.contrast, mask)
        side = self.net.patch_size
        # as clear as those that are kept: the others need no description
        found = found[found.response.argsort(descending=True, stable=True)[: self.max_keypoints]]
        points, size, angle = (
            part.to(image.device) for part in (found.points, found.size, found.angle)
        )
        descriptors = [
            self.net(oriented_patches(image, points[part], size[part], angle[part], side))
            for part in torch.arange(len(points), device=image.device).split(PATCHES_AT_ONCE)
        ]
        return Features(points, torch.cat(descriptors), found.response.to(image.device))

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss, distance, same = self._compared(batch)
        self.log("train/loss", loss, batch_size=len(distance), prog_bar=True)
        self.log("train/right", nearest_share(distance, same), batch_size=len(distance))
        return loss

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Measure a batch of held-out pictures, beside RootSIFT."""
        self._measure("val", batch)

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Measure a batch of test pictures, beside RootSIFT."""
        self._measure("test", batch)

    def _compared(self, batch: PatchBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, all distances, and which places are the same."""
        count = batch["patches0"].shape[:2].numel()
        both = torch.cat([batch["patches0"].flatten(0, 1), batch["patches1"].flatten(0, 1)])
        descriptors = self.net(both)  # (2 B N, D)
        distance = distances(descriptors[:count], descriptors[count:])
        same = same_places(batch["place"].flatten(0, 1))
        return hardest_triplet_loss(distance, same, self.margin), distance, same

    def _measure(self, stage: str, batch: PatchBatch) -> None:
        loss, distance, same = self._compared(batch)
        sift = [
            unit_descriptors(batch[name].flatten(0, 1).cpu().numpy(), True).to(distance)
            for name in ("sift0", "sift1")
        ]
        count = len(distance)
        self.log(f"{stage}/loss", loss, batch_size=count)
        belongs = torch.eye(count, dtype=torch.bool, device=distance.device)
        counted = belongs | ~same
        for kind, apart in (("net", distance), ("rootsift", distances(sift[0], sift[1]))):
            rate = self.rates[f"{stage}_{kind}"]
            assert isinstance(rate, FalsePositiveRate)
            rate.update(apart[counted], belongs[counted])
            before = f"{stage}/" if kind == "net" else f"{stage}/{kind}_"
            self.log(
                f"{before}fpr95", rate, batch_size=count, metric_attribute=f"rates.{stage}_{kind}"
            )
            share = nearest_share(apart, same)
            self.log(f"{before}right", share, batch_size=count, prog_bar=kind == "net")


def distances(
    descriptors0: Float[Tensor, "N D"], descriptors1: Float[Tensor, "M D"]
) -> Float[Tensor, "N M"]:
    """Return how far descriptors of length one are apart, in [0, 2]."""
    return (2 - 2 * descriptors0 @ descriptors1.T).clamp_min(1e-6).sqrt()


def same_places(place: Float[Tensor, "N 4"]) -> Bool[Tensor, "N N"]:
    """Tell which keypoints lie in one blob of one picture, themselves included.

    Args:
        place: Number of the picture, x and y in it, and diameter of the blob.
    """
    apart = torch.cdist(place[:, 1:3], place[:, 1:3])
    near = apart < torch.maximum(place[:, None, 3], place[:, 3])
    same = near & (place[:, None, 0] == place[:, 0])
    return same | torch.eye(len(place), dtype=torch.bool, device=place.device)


def hardest_triplet_loss(
    distance: Float[Tensor, "N N"], same: Bool[Tensor, "N N"], margin: float
) -> Float[Tensor, ""]:
    """Return the triplet loss with the hardest negative of the batch (Mishchuk et al. 2017).

    Args:
        distance: Of every descriptor of image 0 from every one of image 1; those of a pair on the
            diagonal.
        same: Which show one place; none of these is a negative.
        margin: By how much the negative is to be farther.
    """
    others = distance.masked_fill(same, torch.inf)
    negative = torch.minimum(others.amin(dim=0), others.amin(dim=1))
    return (margin + distance.diagonal() - negative).clamp_min(0).mean()


def nearest_share(distance: Float[Tensor, "N N"], same: Bool[Tensor, "N N"]) -> Float[Tensor, ""]:
    """Return for which share of descriptors the right one is nearer than any of another place."""
    others = distance.masked_fill(same, torch.inf)
    return (distance.diagonal() < others.amin(dim=1)).float().mean()
