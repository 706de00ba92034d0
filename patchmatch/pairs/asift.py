"""Affine-simulated SIFT: features of a picture as it would look from the side."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.pairs.features import FeatureMatcher, Features, as_bytes
from patchmatch.pairs.sift import detect, unit_descriptors

STEP = 72.0  # degrees that the camera turns between two views, times the tilt (Morel and Yu 2009)
BLUR = 0.8  # of sqrt(tilt^2 - 1): what keeps the tilted picture from aliasing
BORDER = 8  # pixels beside the edge of a tilted picture that show more edge than picture


class ASIFTMatcher(FeatureMatcher):
    """SIFT over simulated views (ASIFT, Morel and Yu 2009), for severe changes of viewpoint.

    Both pictures are tilted by 1, sqrt 2, 2, ... in several directions; features of all views are
    carried back to the picture and matched at once. A second nearest descriptor beside the nearest
    is the same place in another view, and does not count in the ratio test.

    Args:
        tilts: How many tilts beyond the frontal view: 5 reach a factor of 5.7, about 80 degrees.
        root: Whether descriptors are RootSIFT.
        contrast: How much a place must stand out.
        options: Of ``FeatureMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_asift.yaml"
    apart = 10.0

    def __init__(
        self,
        tilts: int = 4,
        root: bool = True,
        contrast: float = 0.04,
        max_keypoints: int = 20_000,
        **options: Any,
    ) -> None:
        super().__init__(max_keypoints=max_keypoints, **options)
        if not 0 <= tilts <= 8:
            raise ValueError(f"tilts must lie between 0 and 8, got {tilts}")
        self.tilts, self.root, self.contrast = tilts, root, contrast

    def describe(self, image: Tensor, valid: Tensor | None) -> Features:
        """Return the SIFT features of all views of a gray image (1, 1, H, W), carried back."""
        picture = as_bytes(image)
        mask = np.full(picture.shape, 255, np.uint8)
        if valid is not None:
            mask *= valid[0].cpu().numpy()
        points, descriptors, response = [], [], []
        for tilt, turn in views(self.tilts):
            view, view_mask, back = simulate(picture, mask, tilt, turn)
            keypoints, values = detect(view, self.contrast, view_mask)
            places = np.array([k.pt for k in keypoints]).reshape(-1, 2)
            points.append(torch.from_numpy(places @ back[:, :2].T + back[:, 2]).float())
            descriptors.append(unit_descriptors(values, self.root))
            response.append(torch.tensor([k.response for k in keypoints]))
        return Features(
            torch.cat(points).to(image.device),
            torch.cat(descriptors).to(image.device),
            torch.cat(response).to(image.device),
        )


def views(tilts: int) -> list[tuple[float, float]]:
    """Return tilt and direction in degrees of each view, the frontal one first."""
    chosen = [(1.0, 0.0)]
    for k in range(1, tilts + 1):
        tilt = math.sqrt(2) ** k
        count = math.ceil(180 / (STEP / tilt) - 1e-9)
        chosen += [(tilt, i * STEP / tilt) for i in range(count)]
    return chosen


def simulate(
    picture: np.ndarray, mask: np.ndarray, tilt: float, turn: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how a flat picture looks from the side.

    Args:
        picture: (H, W) uint8.
        mask: (H, W) uint8, not zero where the picture counts.
        tilt: Factor by which the picture is foreshortened, along x once it is turned.
        turn: Degrees by which it is turned before.

    Returns:
        The view, its mask, and (2, 3) the affine map from points of the view to the picture's.
    """
    if tilt == 1 and turn == 0:
        return picture, mask, np.eye(2, 3)
    height, width = picture.shape
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ rotation.T
    low = corners.min(axis=0)
    full = np.ceil(corners.max(axis=0) - low).astype(int)
    turned = np.c_[rotation, -low]
    size = (max(1, int(full[0])), max(1, int(full[1])))
    view = cv2.warpAffine(picture, turned, size, borderMode=cv2.BORDER_REPLICATE)
    view = cv2.GaussianBlur(view, (0, 0), sigmaX=BLUR * math.sqrt(tilt**2 - 1), sigmaY=0.01)
    squeeze = np.array([[1 / tilt, 0, 0], [0, 1, 0]])
    size = (max(1, math.ceil(size[0] / tilt)), size[1])
    view = cv2.warpAffine(view, squeeze, size, borderMode=cv2.BORDER_REPLICATE)
    whole = np.vstack([squeeze[:, :2] @ turned, [0, 0, 1]])
    seen = cv2.warpAffine(mask, whole[:2], size, flags=cv2.INTER_NEAREST)
    seen = cv2.erode(seen, np.ones((2 * BORDER + 1,) * 2, np.uint8), borderValue=0)
    return view, seen, np.linalg.inv(whole)[:2]
