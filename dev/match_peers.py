"""OpenCV and kornia matchers called without patchmatch, and random weights to time networks with.

``benchmark_match.py`` compares with them. Random weights take the same time and memory as trained
ones; their matches are meaningless.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.pairs.geometry import estimate_homography
from patchmatch.pairs.kornia_matchers import REGION, AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.loftr.se2 import se2_loftr
from patchmatch.pairs.matcher import PairMatcher
from patchmatch.pairs.results import Correspondences, Matches

RATIO = 0.8
LOFTR_SIZE = 840  # longest side in pixels of the images that LoFTR gets
SHIFT = 10  # pixels by which image 1 of the timed pair is shifted to the left


def opencv_sift(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Match by SIFT, brute-force search and ratio test."""
    return _match_features(cv2.SIFT.create(), image0, image1)


def opencv_asift(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Match by AffineFeature over SIFT with four tilts, brute-force search and ratio test."""
    return _match_features(cv2.AffineFeature.create(cv2.SIFT.create(), 4), image0, image1)


def kornia_loftr(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Match by LoFTR of kornia with random weights, on downscaled images."""
    net = _cached(_random_loftr)
    tensors, scales = [], []
    for image in (image0, image1):
        gray = _gray(image)
        scales.append(max(1, max(gray.shape) / LOFTR_SIZE))
        small = cv2.resize(
            gray, None, fx=1 / scales[-1], fy=1 / scales[-1], interpolation=cv2.INTER_AREA
        )
        tensors.append(torch.from_numpy(small).float()[None, None] / 255)
    with torch.no_grad():
        found = net({"image0": tensors[0], "image1": tensors[1]})
    points0, points1 = (found[f"keypoints{i}"].float() * scales[i] for i in (0, 1))
    return _matches(points0, points1)


def kornia_affnet_hardnet(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Match by SIFT keypoints, AffNet and HardNet of kornia, with random weights."""
    from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori, match_smnn

    affnet, hardnet = _cached(_random_affnet), _cached(_random_hardnet)
    points, descriptors = [], []
    for image in (image0, image1):
        gray = _gray(image)
        keypoints = cv2.SIFT.create(10_000).detect(gray, None)
        if not keypoints:
            return _matches(torch.zeros(0, 2), torch.zeros(0, 2))
        centres = torch.tensor([k.pt for k in keypoints])
        radius = torch.tensor([REGION * k.size / 2 for k in keypoints]).view(1, -1, 1, 1)
        angle = torch.tensor([-k.angle for k in keypoints]).view(1, -1, 1)
        tensor = torch.from_numpy(gray).float()[None, None] / 255
        with torch.no_grad():
            regions = affnet(laf_from_center_scale_ori(centres[None], radius, angle), tensor)
            patches = extract_patches_from_pyramid(tensor, regions, 32)[0]  # (N, 1, 32, 32)
            descriptors.append(torch.cat([hardnet(chunk) for chunk in patches.split(1024)]))
        points.append(centres)
    _, index = match_smnn(*descriptors, RATIO)
    return _matches(points[0][index[:, 0]], points[1][index[:, 1]])


#: Libraries and function of the equivalent of our matchers, by our name.
PEERS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], Matches]]] = {
    "sift": ("OpenCV", opencv_sift),
    "asift": ("OpenCV", opencv_asift),
    "affnet_hardnet": ("kornia, OpenCV", kornia_affnet_hardnet),
    "loftr": ("kornia", kornia_loftr),
}


def set_random_weights(matcher: PairMatcher) -> bool:
    """Give a matcher random weights to time it; return False if it has no weights.

    LoFTR then computes as usual, but returns the true matches of the timed pair, so that its tiles
    are located correctly.
    """
    if isinstance(matcher, AffNetHardNetMatcher):
        matcher.affnet, matcher.describe = _cached(_random_affnet), _cached(_random_hardnet)
        return True
    if isinstance(matcher, LoFTRMatcher | SE2LoFTRMatcher):
        matcher.net = _cached(_random_loftr if isinstance(matcher, LoFTRMatcher) else se2_loftr)
        matcher.is_trained = True
        compute = matcher.match_tile

        def match_tile(image0: Tensor, image1: Tensor, *valid: Tensor) -> Correspondences:
            compute(image0, image1, *valid)
            return _true_matches(image0, image1)

        matcher.match_tile = match_tile  # type: ignore[method-assign]
        return True
    return False


def _true_matches(image0: Tensor, image1: Tensor) -> Correspondences:
    """Return matches on a grid under the shift that maximises the cross-correlation."""
    signal0, signal1 = (image[0, 0] - image.mean() for image in (image0, image1))
    size = [a + b for a, b in zip(signal0.shape, signal1.shape, strict=True)]
    product = torch.fft.rfft2(signal1, size) * torch.fft.rfft2(signal0, size).conj()
    best = int(torch.fft.irfft2(product, size).argmax())
    shift = torch.tensor([best % size[1], best // size[1]])
    negative = shift >= torch.tensor(signal1.shape).flip(0)
    shift = shift - negative * torch.tensor(size).flip(0)
    y, x = torch.meshgrid(*(torch.arange(16, n - 16, 8) for n in signal0.shape), indexing="ij")
    points = torch.stack([x, y], dim=-1).view(-1, 2).float()
    return Correspondences(points0=points, points1=points + shift, score=torch.ones(len(points)))


def _match_features(feature: cv2.Feature2D, image0: np.ndarray, image1: np.ndarray) -> Matches:
    (keypoints0, values0), (keypoints1, values1) = (
        feature.detectAndCompute(_gray(image), None) for image in (image0, image1)
    )
    good: Sequence[cv2.DMatch] = []
    if values0 is not None and values1 is not None and len(values1) > 1:
        neighbours = cv2.BFMatcher().knnMatch(values0, values1, k=2)
        good = [first for first, second in neighbours if first.distance < RATIO * second.distance]
    points0 = torch.tensor([keypoints0[m.queryIdx].pt for m in good]).reshape(-1, 2)
    points1 = torch.tensor([keypoints1[m.trainIdx].pt for m in good]).reshape(-1, 2)
    return _matches(points0, points1)


def _matches(points0: Tensor, points1: Tensor) -> Matches:
    estimate = estimate_homography(points0.numpy(), points1.numpy())
    homography = None if estimate.model is None else torch.from_numpy(estimate.model)
    return Matches(
        keypoints0=points0,
        keypoints1=points1,
        score=torch.ones(len(points0)),
        homography=homography,
    )


def _gray(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


_networks: dict[Callable[[], torch.nn.Module], torch.nn.Module] = {}


def _cached(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return a network that is built on the first call."""
    if build not in _networks:
        torch.manual_seed(0)
        _networks[build] = build().eval()
    return _networks[build]


def _random_loftr() -> torch.nn.Module:
    from kornia.feature import LoFTR

    return LoFTR(None)


def _random_hardnet() -> torch.nn.Module:
    from kornia.feature import HardNet

    return HardNet(pretrained=False)


def _random_affnet() -> torch.nn.Module:
    """Return AffNet with a last layer of zeros, which keeps the regions circular."""
    from kornia.feature import LAFAffNetShapeEstimator

    net = LAFAffNetShapeEstimator(pretrained=False)
    for parameter in net.features[-3].parameters():
        torch.nn.init.zeros_(parameter)
    return net
