"""Trains a patch descriptor, and matches images with it."""

from typing import Any

import torch
from torch import Tensor

from patchmatch.pairs.descriptor.data import PatchBatch
from patchmatch.pairs.descriptor.loss import (
    descriptor_distances,
    hardest_in_batch_loss,
    same_blob_mask,
)
from patchmatch.pairs.descriptor.metrics import FalsePositiveRate, nearest_neighbour_accuracy
from patchmatch.pairs.descriptor.net import DescriptorNet
from patchmatch.pairs.descriptor.oriented import oriented_patches
from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.keypoints import detect_in_tensor, normalize_descriptors
from patchmatch.pairs.trainable import TrainablePairMatcher

CPU_CHUNK, GPU_CHUNK = 1024, 16384  # patches: for the cache of a CPU, the memory of a GPU
STAGES = ("val", "test")


class DescriptorMatcher(TrainablePairMatcher, FeatureMatcher):
    """SIFT keypoints described by a small network, trained on synthetic pairs (after HardNet).

    Trained with a triplet loss and the hardest negative in the batch (Mishchuk et al. 2017).

    Args:
        width: Channels of the first layers of the network.
        length: Length of a descriptor.
        patch_size: Side of the described patches in pixels.
        margin: Margin of the triplet loss.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        contrast: Contrast threshold of SIFT; a lower value finds more keypoints in flat regions.
            Null chooses it by the image: 0.04, or 0.01 in dark and soft images with few keypoints.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_descriptor.yaml"
    shipped_weights = "descriptor.ckpt"
    checkpoint_settings = frozenset(
        {"width", "length", "patch_size", "margin", "lr", "weight_decay"}
    )

    def __init__(
        self,
        width: int = 24,
        length: int = 128,
        patch_size: int = 32,
        margin: float = 1.0,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
        contrast: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if contrast is not None and not 0 <= contrast < 1:
            raise ValueError(f"contrast must be at least 0 and below 1, got {contrast}")
        if not 0 < margin <= 2:
            raise ValueError(f"margin must be above 0 and at most 2, got {margin}")
        self.net = DescriptorNet(width, length, patch_size)
        self.margin, self.lr, self.weight_decay = margin, lr, weight_decay
        self.contrast = contrast
        names = [f"{stage}_{method}" for stage in STAGES for method in ("net", "rootsift")]
        self.false_positive_rates = torch.nn.ModuleDict({n: FalsePositiveRate() for n in names})

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the keypoints of a gray image (1, 1, H, W) with their descriptors."""
        keypoints = detect_in_tensor(image, valid, self.contrast)
        # The caller keeps at most max_keypoints: describe no others.
        order = keypoints.response.argsort(descending=True, stable=True)
        keypoints = keypoints[order[: self.max_keypoints]]
        chunk = CPU_CHUNK if image.device.type == "cpu" else GPU_CHUNK
        patch_size = self.net.patch_size
        indices = torch.arange(len(keypoints.points), device=image.device)
        chunks = (keypoints[index] for index in indices.split(chunk))
        descriptors = [
            self.net(oriented_patches(image, k.points, k.size, k.angle, patch_size)) for k in chunks
        ]
        return Features(
            points=keypoints.points,
            descriptors=torch.cat(descriptors),
            response=keypoints.response,
        )

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss, distance, same_blob = self._loss(batch)
        self.log("train/loss", loss, batch_size=len(distance), prog_bar=True)
        accuracy = nearest_neighbour_accuracy(distance, same_blob)
        self.log("train/right", accuracy, batch_size=len(distance))
        return loss

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Evaluate a batch of validation images, with RootSIFT for comparison."""
        self._evaluate("val", batch)

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Evaluate a batch of test images, with RootSIFT for comparison."""
        self._evaluate("test", batch)

    def _loss(self, batch: PatchBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, all distances (N, N), and the mask (N, N) of pairs of one blob."""
        count = batch["patches0"].shape[:2].numel()
        patches = torch.cat([batch["patches0"].flatten(0, 1), batch["patches1"].flatten(0, 1)])
        descriptors = self.net(patches)  # (2 N, D), N patches of the whole batch
        distance = descriptor_distances(descriptors[:count], descriptors[count:])
        same_blob = same_blob_mask(batch["blobs"].flatten(0, 1))
        return hardest_in_batch_loss(distance, same_blob, self.margin), distance, same_blob

    def _evaluate(self, stage: str, batch: PatchBatch) -> None:
        loss, distance, same_blob = self._loss(batch)
        self.log(f"{stage}/loss", loss, batch_size=len(distance))
        sift0, sift1 = (
            normalize_descriptors(batch[name].flatten(0, 1), True).to(distance)
            for name in ("sift0", "sift1")
        )
        self._log_metrics(stage, "net", distance, same_blob)
        self._log_metrics(stage, "rootsift", descriptor_distances(sift0, sift1), same_blob)

    def _log_metrics(self, stage: str, method: str, distance: Tensor, same_blob: Tensor) -> None:
        name, count = f"{stage}_{method}", len(distance)
        prefix = f"{stage}/" if method == "net" else f"{stage}/{method}_"
        rate = self.false_positive_rates[name]
        assert isinstance(rate, FalsePositiveRate)
        is_match = torch.eye(count, dtype=torch.bool, device=distance.device)
        counted = is_match | ~same_blob
        rate.update(distance[counted], is_match[counted])
        attribute = f"false_positive_rates.{name}"
        self.log(f"{prefix}fpr95", rate, batch_size=count, metric_attribute=attribute)
        accuracy = nearest_neighbour_accuracy(distance, same_blob)
        self.log(f"{prefix}right", accuracy, batch_size=count, prog_bar=method == "net")
