"""Learned matchers of kornia with their pretrained weights: AffNet with HardNet, and LoFTR."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchmatch.errors import InputError
from patchmatch.matchers.features import FeatureMatcher, Features, as_bytes
from patchmatch.matchers.pairs import Found, PairMatcher
from patchmatch.matchers.sift import SIZE, detect

REGION = 6.0  # radius of the region that is described, in standard deviations of its blob
PATCHES_AT_ONCE = 1024
MODELS = ("outdoor", "indoor", "indoor_new")
COARSE = 8  # pixels a side of what LoFTR matches first


class AffNetHardNetMatcher(FeatureMatcher):
    """HardNet descriptors of affine regions: SIFT's blobs, shaped by AffNet (Mishkin et al. 2018).

    Args:
        affnet_weights: File with AffNet's weights, AffNet.pth of kornia; null downloads them once.
        hardnet_weights: File with HardNet's weights, checkpoint_liberty_with_aug.pth; null
            downloads them once.
        affine: Whether AffNet shapes the regions; false describes round ones.
        contrast: How much a place must stand out.
        options: Of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_affnet_hardnet.yaml"

    def __init__(
        self,
        affnet_weights: str | None = None,
        hardnet_weights: str | None = None,
        affine: bool = True,
        contrast: float = 0.04,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.affnet_weights, self.hardnet_weights = affnet_weights, hardnet_weights
        self.affine, self.contrast = affine, contrast
        self.shape: nn.Module | None = None
        self.descriptor: nn.Module | None = None

    def prepare(self) -> None:
        """Fetch the weights, once."""
        from kornia.feature import HardNet, LAFAffNetShapeEstimator, affine_shape, hardnet

        if self.descriptor is None:
            self.descriptor = _with_weights(
                "HardNet",
                HardNet,
                self.hardnet_weights,
                "--model.hardnet_weights",
                hardnet.urls["liberty_aug"][0],
            ).to(self.device)
        if self.affine and self.shape is None:
            self.shape = _with_weights(
                "AffNet",
                LAFAffNetShapeEstimator,
                self.affnet_weights,
                "--model.affnet_weights",
                affine_shape.urls["affnet"][0],
            ).to(self.device)

    def describe(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the HardNet descriptors of the affine regions of a gray image (1, 1, H, W)."""
        from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori

        self.prepare()
        assert self.descriptor is not None
        mask = None if valid is None else valid[0].cpu().numpy().astype(np.uint8)
        keypoints, _ = detect(as_bytes(image), self.contrast, mask)
        strongest = sorted(keypoints, key=lambda k: -k.response)[: self.max_keypoints]
        if not strongest:
            empty = torch.zeros(0, 2, device=image.device)
            return Features(empty, empty.new_zeros(0, SIZE), empty.new_zeros(0))
        points = torch.tensor([k.pt for k in strongest], device=image.device)
        # OpenCV's size is a diameter of the blob, its angle clockwise as y points down
        radius = torch.tensor([REGION * k.size / 2 for k in strongest], device=image.device)
        angle = torch.tensor([-k.angle for k in strongest], device=image.device)
        regions = laf_from_center_scale_ori(
            points[None], radius[None, :, None, None], angle[None, :, None]
        )  # (1, N, 2, 3)
        found = []
        for part in regions.split(PATCHES_AT_ONCE, dim=1):
            shaped = part if self.shape is None else self.shape(part, image)
            patches = extract_patches_from_pyramid(image, shaped, 32)[0]  # (N, 1, 32, 32)
            found.append(self.descriptor(patches))
        response = torch.tensor([k.response for k in strongest], device=image.device)
        return Features(points, torch.cat(found), response)


class LoFTRMatcher(PairMatcher):
    """LoFTR (Sun et al. 2021): matches on a grid by a transformer, refined between pixels.

    Args:
        pretrained: Which weights to download once: outdoor (MegaDepth), indoor or indoor_new
            (ScanNet).
        weights: File with the weights, loftr_outdoor.ckpt of kornia for example, for machines
            without network. ``pretrained`` still tells which they are.
        max_size: Pixels to which the longest side of each image is reduced inside; time and memory
            grow fast with it.
        half: Whether to compute in half precision, on CUDA alone.
        options: Of ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"

    def __init__(
        self,
        pretrained: str = "outdoor",
        weights: str | None = None,
        max_size: int | None = 840,
        half: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, **options)
        if pretrained not in MODELS:
            raise ValueError(f"pretrained must be one of {', '.join(MODELS)}, got {pretrained}")
        self.pretrained, self.weights, self.half_precision = pretrained, weights, half
        self.net: nn.Module | None = None

    def prepare(self) -> None:
        """Fetch the weights, once."""
        from kornia.feature.loftr.loftr import urls

        if self.net is None:
            address = urls[self.pretrained][0]
            net = _with_weights("LoFTR", self._build, self.weights, "--model.weights", address)
            self.net = net.to(self.device)

    def _build(self, pretrained: bool) -> nn.Module:
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import default_cfg

        if pretrained:
            return LoFTR(self.pretrained)
        # these weights were trained with another encoding of places than the other two
        coarse = {**default_cfg["coarse"], "temp_bug_fix": self.pretrained == "indoor_new"}
        return LoFTR(None, {**default_cfg, "coarse": coarse})

    def find(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Found:
        """Match two gray images; what is not valid is painted gray."""
        self.prepare()
        assert self.net is not None
        images = [
            image if valid is None else torch.where(valid[:, None], image, 0.5)
            for image, valid in ((image0, valid0), (image1, valid1))
        ]
        half = self.half_precision and image0.is_cuda
        with torch.autocast(image0.device.type, enabled=half):
            found = self.net({f"image{i}": image for i, image in enumerate(images)})
        # LoFTR counts from the corner of the top-left pixel, the house from its centre
        points0, points1 = (found[f"keypoints{i}"].float() - 0.5 for i in (0, 1))
        return Found(points0, points1, found["confidence"].float())


def _with_weights(
    name: str, build: Callable[..., nn.Module], path: str | None, option: str, address: str
) -> nn.Module:
    """Return a network with pretrained weights, from a file or kornia's download.

    Args:
        name: What errors call it.
        build: Makes it, told whether to download.
        path: The file; None to download.
        option: Which option names the file.
        address: Where the file is to be had.

    Raises:
        InputError: If there is no such file, it holds other weights, or nothing can be downloaded.
    """
    if path is None:
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")  # of one address that fails before the next
                return build(pretrained=True).eval()
        except Exception as error:  # every library on the way to the network has its own
            text = str(error).strip() or type(error).__name__
            reason = text.rpartition("Last error: ")[2].partition(". Cache path")[0]
            raise InputError(
                f"the weights of {name} cannot be downloaded ({reason}); fetch {address} on "
                f"another machine and give the file as {option}"
            ) from error
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; {option} must name the weights of {name}")
    net = build(pretrained=False)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, Mapping):
            content = content.get("state_dict", content)
        # kornia's own AffNet checkpoint holds what its network has no use for
        missing = net.load_state_dict(content, strict=name != "AffNet").missing_keys
    except Exception as error:  # damaged in any way, or of another network
        raise InputError(
            f"{path}: these are not the weights of {name} as kornia has them; download them again"
        ) from error
    if missing:
        raise InputError(
            f"{path}: these are not the weights of {name}: {missing[0]} is missing; give the right "
            f"file as {option}"
        )
    return net.eval()
