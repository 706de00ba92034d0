"""Descriptors of AffNet regions, with kornia's networks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.pairs.features import FeatureMatcher, Features
from patchmatch.pairs.keypoints import DESCRIPTOR_SIZE, detect_in_tensor
from patchmatch.pairs.pretrained import AUTO, download_weights, half_precision, read_weights

PATCH = 32  # side in pixels of the described patches
REGION = 6.0  # radius of the described region in standard deviations of the blob
PATCHES_AT_ONCE = 2048
REGIONS_AT_ONCE = 5000  # each batch builds an image pyramid, and each region takes 130 kB


DESCRIPTORS = ("hardnet", "tfeat", "hardtfeat", "mkd")


class AffNetHardNetMatcher(FeatureMatcher):
    """Descriptors of SIFT keypoints in regions shaped by AffNet (Mishkin et al. 2018).

    Args:
        descriptor: Descriptor of the regions: hardnet (Mishchuk et al. 2017), tfeat (Balntas et
            al. 2016), hardtfeat (the network of TFeat trained with the loss of HardNet; requires
            descriptor_weights), or mkd (Mukundan et al. 2019, without whitening; requires no
            weights).
        affnet_weights: File with the weights of AffNet, AffNet.pth of kornia; auto downloads them.
        descriptor_weights: File with the weights of the descriptor, as kornia downloads them
            (checkpoint_liberty_with_aug.pth for HardNet); auto downloads them.
        orinet_weights: File with the weights of OriNet, OriNet.pth of kornia, or auto to download
            them: OriNet estimates the orientation of a region; null keeps that of SIFT.
        affine: Estimate affine regions by AffNet; false describes circular ones.
        contrast: Contrast threshold of SIFT; a lower value finds more keypoints in flat regions.
            Null chooses it by the image: 0.04, or 0.01 in dark and soft images with few keypoints.
        half: Compute descriptors in half precision, on CUDA only.
        options: Options of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_affnet_hardnet.yaml"

    def __init__(
        self,
        descriptor: str = "hardnet",
        affnet_weights: str = AUTO,
        descriptor_weights: str = AUTO,
        orinet_weights: str | None = None,
        affine: bool = True,
        contrast: float | None = None,
        half: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if descriptor not in DESCRIPTORS:
            names = ", ".join(DESCRIPTORS)
            raise ValueError(f"descriptor must be one of {names}, got {descriptor}")
        self.descriptor, self.half_precision = descriptor, half
        self.affnet_weights, self.descriptor_weights = affnet_weights, descriptor_weights
        self.orinet_weights = orinet_weights
        self.affine, self.contrast = affine, contrast
        self.affnet: nn.Module | None = None
        self.orienter: nn.Module | None = None
        self.describe: nn.Module | None = None

    def prepare(self) -> None:
        """Load the weights on the first call."""
        from kornia.feature import (
            LAFAffNetShapeEstimator,
            LAFOrienter,
            OriNet,
            affine_shape,
            orientation,
        )

        if self.describe is None:
            self.describe = self._load_descriptor().to(self.device)
        if self.affine and self.affnet is None:
            address = affine_shape.urls["affnet"][0]
            option = "--model.affnet_weights"
            net = _load("AffNet", LAFAffNetShapeEstimator, self.affnet_weights, option, address)
            self.affnet = net.to(self.device)
        if self.orinet_weights is not None and self.orienter is None:
            address = orientation.urls["orinet"][0]
            net = _load("OriNet", OriNet, self.orinet_weights, "--model.orinet_weights", address)
            self.orienter = LAFOrienter(PATCH, angle_detector=net).to(self.device)

    def _load_descriptor(self) -> nn.Module:
        """Return the network that describes patches (N, 1, 32, 32)."""
        from kornia.feature import HardNet, MKDDescriptor, TFeat, hardnet, tfeat

        option, weights = "--model.descriptor_weights", self.descriptor_weights
        match self.descriptor:
            case "hardnet":
                return _load("HardNet", HardNet, weights, option, hardnet.urls["liberty_aug"][0])
            case "tfeat":
                return _load("TFeat", TFeat, weights, option, tfeat.urls["liberty"][0])
            case "mkd":
                # its whitening is a download
                return MKDDescriptor(PATCH, whitening=None)  # pyright: ignore[reportArgumentType]
        if weights == AUTO:
            raise InputError(
                "HardTFeat: its weights cannot be downloaded; give a state_dict of kornia's TFeat, "
                f"trained with the loss of HardNet, as {option}"
            )
        return read_weights("HardTFeat", TFeat(pretrained=False), weights, option)

    def extract_features(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return keypoints of a gray image (1, 1, H, W), with radius and angle as descriptors.

        ``compute_descriptors`` replaces them once the strongest keypoints of all tiles are known.
        """
        found = detect_in_tensor(image, valid, self.contrast)
        # size is a diameter, and angles of OpenCV are clockwise on the screen
        shapes = torch.stack([REGION * found.size / 2, -found.angle], dim=1)
        return Features(points=found.points, descriptors=shapes, response=found.response)

    def compute_descriptors(self, image: Tensor, features: Features) -> Features:
        """Return the keypoints with descriptors of their affine regions."""
        from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori

        self.prepare()
        assert self.describe is not None
        if not len(features.response):
            empty = features.descriptors.new_zeros(0, DESCRIPTOR_SIZE)
            return replace(features, descriptors=empty)
        radius, angle = features.descriptors.unbind(dim=1)
        regions = laf_from_center_scale_ori(
            features.points[None], radius[None, :, None, None], angle[None, :, None]
        )  # (1, N, 2, 3)
        for estimate in (self.affnet, self.orienter):
            if estimate is not None:
                chunks = regions.split(REGIONS_AT_ONCE, dim=1)
                regions = torch.cat([estimate(chunk, image) for chunk in chunks], dim=1)
        # not in chunks, since each call builds a pyramid of the whole image
        patches = extract_patches_from_pyramid(image, regions, PATCH)[0]  # (N, 1, 32, 32)
        with half_precision(patches, self.half_precision):
            found = [self.describe(chunk).float() for chunk in patches.split(PATCHES_AT_ONCE)]
        # TFeat does not normalise its output
        return replace(features, descriptors=F.normalize(torch.cat(found), dim=1))


def _load(
    name: str, build: Callable[..., nn.Module], weights: str, option: str, address: str
) -> nn.Module:
    """Return a network of kornia with downloaded weights or those of a file."""
    if weights == AUTO:
        return download_weights(name, partial(build, pretrained=True), option, address)
    # the checkpoints of AffNet and OriNet contain weights that kornia's networks do not have
    strict = name not in ("AffNet", "OriNet")
    return read_weights(name, build(pretrained=False), weights, option, strict=strict)
