"""Learned features of kornia with their pretrained weights: AffNet with HardNet."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchmatch.pairs.descriptor.keypoints import detect_sift_keypoints
from patchmatch.pairs.features import FeatureMatcher, Features, as_bytes
from patchmatch.pairs.pretrained import download_weights, half_precision, read_weights
from patchmatch.pairs.sift import SIZE

REGION = 6.0  # radius of the region that is described, in standard deviations of its blob
PATCHES_AT_ONCE = 2048
REGIONS_AT_ONCE = 5000  # every part costs a pyramid of the picture, and each region 130 kB


class AffNetHardNetMatcher(FeatureMatcher):
    """HardNet descriptors of affine regions: SIFT's blobs, shaped by AffNet (Mishkin et al. 2018).

    Args:
        affnet_weights: File with AffNet's weights, AffNet.pth of kornia; null downloads them once.
        hardnet_weights: File with HardNet's weights, checkpoint_liberty_with_aug.pth; null
            downloads them once.
        affine: Whether AffNet shapes the regions; false describes round ones.
        contrast: How much a place must stand out.
        half: Whether to describe in half precision, on CUDA alone.
        options: Of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_affnet_hardnet.yaml"

    def __init__(
        self,
        affnet_weights: str | None = None,
        hardnet_weights: str | None = None,
        affine: bool = True,
        contrast: float = 0.04,
        half: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.half_precision = half
        self.affnet_weights, self.hardnet_weights = affnet_weights, hardnet_weights
        self.affine, self.contrast = affine, contrast
        self.shape: nn.Module | None = None
        self.descriptor: nn.Module | None = None

    def prepare(self) -> None:
        """Fetch the weights, once."""
        from kornia.feature import HardNet, LAFAffNetShapeEstimator, affine_shape, hardnet

        if self.descriptor is None:
            address = hardnet.urls["liberty_aug"][0]
            net = self._load("HardNet", HardNet, self.hardnet_weights, address)
            self.descriptor = net.to(self.device)
        if self.affine and self.shape is None:
            address = affine_shape.urls["affnet"][0]
            net = self._load("AffNet", LAFAffNetShapeEstimator, self.affnet_weights, address)
            self.shape = net.to(self.device)

    def _load(
        self, name: str, build: Callable[..., nn.Module], path: str | None, address: str
    ) -> nn.Module:
        option = f"--model.{name.lower()}_weights"
        if path is None:
            return download_weights(name, partial(build, pretrained=True), option, address)
        # kornia's own AffNet checkpoint holds what its network has no use for
        return read_weights(name, build(pretrained=False), path, option, strict=name != "AffNet")

    def describe(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the blobs of a gray image (1, 1, H, W), with radius and angle of each."""
        mask = None if valid is None else valid[0].cpu().numpy().astype(np.uint8)
        found = detect_sift_keypoints(as_bytes(image), self.contrast, mask)
        # OpenCV's size is a diameter of the blob, its angle clockwise as y points down
        shapes = torch.stack([REGION * found.size / 2, -found.angle], dim=1)
        return Features(*(part.to(image.device) for part in (found.points, shapes, found.response)))

    def complete(self, image: Tensor, features: Features) -> Features:
        """Return the HardNet descriptors of the affine regions of blobs that were kept."""
        from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori

        self.prepare()
        assert self.descriptor is not None
        if not len(features.response):
            return replace(features, descriptors=features.descriptors.new_zeros(0, SIZE))
        radius, angle = features.descriptors.unbind(dim=1)
        regions = laf_from_center_scale_ori(
            features.points[None], radius[None, :, None, None], angle[None, :, None]
        )  # (1, N, 2, 3)
        if self.shape is not None:
            parts = regions.split(REGIONS_AT_ONCE, dim=1)
            regions = torch.cat([self.shape(part, image) for part in parts], dim=1)
        # at once, since every call makes a pyramid of the whole picture
        patches = extract_patches_from_pyramid(image, regions, 32)[0]  # (N, 1, 32, 32)
        with half_precision(patches, self.half_precision):
            found = [self.descriptor(part).float() for part in patches.split(PATCHES_AT_ONCE)]
        return replace(features, descriptors=torch.cat(found))
