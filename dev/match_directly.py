"""The matchers without patchmatch, as their libraries' tutorials call them; and random weights.

What ``benchmark_match.py`` compares with. Random weights cost as much time and memory as trained
ones; they are for that alone.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from patchmatch.pairs.geometry import estimate_homography
from patchmatch.pairs.kornia_matchers import REGION, AffNetHardNetMatcher
from patchmatch.pairs.loftr.matcher import LoFTRMatcher, SE2LoFTRMatcher
from patchmatch.pairs.loftr.se2 import se2_loftr
from patchmatch.pairs.matcher import Found, PairMatcher
from patchmatch.pairs.results import Matches

RATIO = 0.8
LONGEST = 840  # pixels of the longer side that LoFTR is given
MOVED = 10  # pixels by which image 1 of the speed pair is image 0 moved to the left


def opencv_sift(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """SIFT, brute force, ratio test."""
    return _by_descriptors(cv2.SIFT.create(), image0, image1)


def opencv_asift(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """AffineFeature over SIFT, with as many tilts as ours, brute force, ratio test."""
    return _by_descriptors(cv2.AffineFeature.create(cv2.SIFT.create(), 4), image0, image1)


def kornia_loftr(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """LoFTR of kornia with random weights, on pictures that were resized."""
    net = _once(_random_loftr)
    grays, scales = [], []
    for image in (image0, image1):
        gray = _gray(image)
        scales.append(max(1, max(gray.shape) / LONGEST))
        small = cv2.resize(
            gray, None, fx=1 / scales[-1], fy=1 / scales[-1], interpolation=cv2.INTER_AREA
        )
        grays.append(torch.from_numpy(small).float()[None, None] / 255)
    with torch.no_grad():
        found = net({"image0": grays[0], "image1": grays[1]})
    points0, points1 = (found[f"keypoints{i}"].float() * scales[i] for i in (0, 1))
    return _matches(points0, points1)


def kornia_affnet_hardnet(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """SIFT keypoints, AffNet, HardNet and the matching of kornia, with random weights."""
    from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori, match_smnn

    affnet, hardnet = _once(_random_affnet), _once(_random_hardnet)
    points, descriptors = [], []
    for image in (image0, image1):
        gray = _gray(image)
        keypoints = cv2.SIFT.create(10_000).detect(gray, None)
        if not keypoints:
            return _matches(torch.zeros(0, 2), torch.zeros(0, 2))
        places = torch.tensor([k.pt for k in keypoints])
        radius = torch.tensor([REGION * k.size / 2 for k in keypoints]).view(1, -1, 1, 1)
        angle = torch.tensor([-k.angle for k in keypoints]).view(1, -1, 1)
        tensor = torch.from_numpy(gray).float()[None, None] / 255
        with torch.no_grad():
            regions = affnet(laf_from_center_scale_ori(places[None], radius, angle), tensor)
            patches = extract_patches_from_pyramid(tensor, regions, 32)[0]  # (N, 1, 32, 32)
            descriptors.append(torch.cat([hardnet(part) for part in patches.split(1024)]))
        points.append(places)
    _, index = match_smnn(*descriptors, RATIO)
    return _matches(points[0][index[:, 0]], points[1][index[:, 1]])


#: What does the same without patchmatch, by the name of ours.
DIRECTLY: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], Matches]]] = {
    "sift": ("OpenCV", opencv_sift),
    "asift": ("OpenCV", opencv_asift),
    "affnet_hardnet": ("kornia, OpenCV", kornia_affnet_hardnet),
    "loftr": ("kornia", kornia_loftr),
}


def give_random_weights(matcher: PairMatcher) -> bool:
    """Give a matcher random weights, for a measurement of time; False where it has none.

    LoFTR's then answers with the truth of the speed pair, after computing, so that its tiles are
    sought where they belong.
    """
    if isinstance(matcher, AffNetHardNetMatcher):
        matcher.shape, matcher.descriptor = _once(_random_affnet), _once(_random_hardnet)
        return True
    if isinstance(matcher, LoFTRMatcher | SE2LoFTRMatcher):
        random = _random_loftr if isinstance(matcher, LoFTRMatcher) else se2_loftr
        matcher.net = _once(random)
        compute = matcher.find_at_once

        def answer(image0: torch.Tensor, image1: torch.Tensor, *valid: torch.Tensor) -> Found:
            compute(image0, image1, *valid)
            return _true(image0, image1)

        matcher.find_at_once = answer  # type: ignore[method-assign]
        return True
    return False


def _true(image0: torch.Tensor, image1: torch.Tensor) -> Found:
    """Return where a grid of image 0 is in image 1, by the correlation of both."""
    one, other = (image[0, 0] - image.mean() for image in (image0, image1))
    size = [a + b for a, b in zip(one.shape, other.shape, strict=True)]
    product = torch.fft.rfft2(other, size) * torch.fft.rfft2(one, size).conj()
    best = int(torch.fft.irfft2(product, size).argmax())
    moved = torch.tensor([best % size[1], best // size[1]])
    wrapped = moved >= torch.tensor(other.shape).flip(0)
    moved = moved - wrapped * torch.tensor(size).flip(0)
    y, x = torch.meshgrid(*(torch.arange(16, n - 16, 8) for n in one.shape), indexing="ij")
    points = torch.stack([x, y], dim=-1).view(-1, 2).float()
    return Found(points, points + moved, torch.ones(len(points)))


def _by_descriptors(feature: cv2.Feature2D, image0: np.ndarray, image1: np.ndarray) -> Matches:
    (keypoints0, values0), (keypoints1, values1) = (
        feature.detectAndCompute(_gray(image), None) for image in (image0, image1)
    )
    good: Sequence[cv2.DMatch] = []
    if values0 is not None and values1 is not None and len(values1) > 1:
        couples = cv2.BFMatcher().knnMatch(values0, values1, k=2)
        good = [first for first, second in couples if first.distance < RATIO * second.distance]
    points0 = torch.tensor([keypoints0[m.queryIdx].pt for m in good]).reshape(-1, 2)
    points1 = torch.tensor([keypoints1[m.trainIdx].pt for m in good]).reshape(-1, 2)
    return _matches(points0, points1)


def _matches(points0: torch.Tensor, points1: torch.Tensor) -> Matches:
    found = estimate_homography(points0.numpy(), points1.numpy())
    homography = None if found.model is None else torch.from_numpy(found.model)
    return Matches(points0, points1, torch.ones(len(points0)), homography=homography)


def _gray(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


_made: dict[Callable[[], torch.nn.Module], torch.nn.Module] = {}


def _once(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return a network, made on the first call."""
    if make not in _made:
        torch.manual_seed(0)
        _made[make] = make().eval()
    return _made[make]


def _random_loftr() -> torch.nn.Module:
    from kornia.feature import LoFTR

    return LoFTR(None)


def _random_hardnet() -> torch.nn.Module:
    from kornia.feature import HardNet

    return HardNet(pretrained=False)


def _random_affnet() -> torch.nn.Module:
    """Return AffNet whose last layer leaves every region round: the cost is the same."""
    from kornia.feature import LAFAffNetShapeEstimator

    net = LAFAffNetShapeEstimator(pretrained=False)
    for parameter in net.features[-3].parameters():
        torch.nn.init.zeros_(parameter)
    return net
