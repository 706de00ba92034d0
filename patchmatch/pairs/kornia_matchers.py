"""HardNet descriptors of AffNet regions, with kornia's pretrained weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.keypoints import DESCRIPTOR_SIZE, detect_in_tensor
from patchmatch.pairs.pretrained import download_weights, half_precision, read_weights

REGION = 6.0  # radius of the described region in standard deviations of the blob
PATCHES_AT_ONCE = 2048
REGIONS_AT_ONCE = 5000  # each batch builds an image pyramid, and each region takes 130 kB


class AffNetHardNetMatcher(FeatureMatcher):
    """HardNet descriptors of SIFT keypoints in regions shaped by AffNet (Mishkin et al. 2018).

    Args:
        affnet_weights: File with the weights of AffNet, AffNet.pth of kornia; null downloads them.
        hardnet_weights: File with the weights of HardNet, checkpoint_liberty_with_aug.pth of
            kornia; null downloads them.
        affine: Estimate affine regions by AffNet; false describes circular ones.
        contrast: Contrast threshold of SIFT; a lower value finds more keypoints in flat regions.
            Null chooses it by the image: 0.04, or 0.01 in dark and soft images with few keypoints.
        half: Compute descriptors in half precision, on CUDA only.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_affnet_hardnet.yaml"

    def __init__(
        self,
        affnet_weights: str | None = None,
        hardnet_weights: str | None = None,
        affine: bool = True,
        contrast: float | None = None,
        half: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.half_precision = half
        self.affnet_weights, self.hardnet_weights = affnet_weights, hardnet_weights
        self.affine, self.contrast = affine, contrast
        self.affnet: nn.Module | None = None
        self.hardnet: nn.Module | None = None

    def prepare(self) -> None:
        """Load the weights on the first call."""
        from kornia.feature import HardNet, LAFAffNetShapeEstimator, affine_shape, hardnet

        if self.hardnet is None:
            address = hardnet.urls["liberty_aug"][0]
            net = self._load("HardNet", HardNet, self.hardnet_weights, address)
            self.hardnet = net.to(self.device)
        if self.affine and self.affnet is None:
            address = affine_shape.urls["affnet"][0]
            net = self._load("AffNet", LAFAffNetShapeEstimator, self.affnet_weights, address)
            self.affnet = net.to(self.device)

    def _load(
        self, name: str, build: Callable[..., nn.Module], path: str | None, address: str
    ) -> nn.Module:
        option = f"--model.{name.lower()}_weights"
        if path is None:
            return download_weights(name, partial(build, pretrained=True), option, address)
        # kornia's checkpoint of AffNet contains weights that its network does not have
        return read_weights(name, build(pretrained=False), path, option, strict=name != "AffNet")

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return keypoints of a gray image (1, 1, H, W), with radius and angle as descriptors.

        ``compute_descriptors`` replaces them once the strongest keypoints of all tiles are known.
        """
        found = detect_in_tensor(image, valid, self.contrast)
        # size is a diameter, and angles of OpenCV are clockwise on the screen
        shapes = torch.stack([REGION * found.size / 2, -found.angle], dim=1)
        return Features(points=found.points, descriptors=shapes, response=found.response)

    def compute_descriptors(self, image: Tensor, features: Features) -> Features:
        """Return the keypoints with HardNet descriptors of their affine regions."""
        from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori

        self.prepare()
        assert self.hardnet is not None
        if not len(features.response):
            empty = features.descriptors.new_zeros(0, DESCRIPTOR_SIZE)
            return replace(features, descriptors=empty)
        radius, angle = features.descriptors.unbind(dim=1)
        regions = laf_from_center_scale_ori(
            features.points[None], radius[None, :, None, None], angle[None, :, None]
        )  # (1, N, 2, 3)
        if self.affnet is not None:
            chunks = regions.split(REGIONS_AT_ONCE, dim=1)
            regions = torch.cat([self.affnet(chunk, image) for chunk in chunks], dim=1)
        # not in chunks, since each call builds a pyramid of the whole image
        patches = extract_patches_from_pyramid(image, regions, 32)[0]  # (N, 1, 32, 32)
        with half_precision(patches, self.half_precision):
            found = [self.hardnet(chunk).float() for chunk in patches.split(PATCHES_AT_ONCE)]
        return replace(features, descriptors=torch.cat(found))
