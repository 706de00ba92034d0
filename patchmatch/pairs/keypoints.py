"""SIFT keypoints of OpenCV."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

DESCRIPTOR_SIZE = 128  # of SIFT and HardNet
CONTRAST, LOWEST_CONTRAST = 0.04, 0.01  # thresholds of SIFT: the usual one, and of faint images
ENOUGH_KEYPOINTS = 2000  # in an image or tile; if there are fewer, the lowest threshold applies
LOW_CONTRAST = 0.25  # range of values below which an image is stretched, as thresholds are absolute


@dataclass(frozen=True, kw_only=True)
class Keypoints:
    """SIFT keypoints of an image.

    Attributes:
        points: (N, 2) float32, x and y in pixels.
        size: (N,) float32, diameter of the blob in pixels.
        angle: (N,) float32, orientation in degrees, clockwise from the x axis.
        response: (N,) float32, contrast of the blob.
        descriptors: (N, 128) float32, SIFT descriptors of OpenCV; (N, 0) if not computed.
    """

    points: Tensor
    size: Tensor
    angle: Tensor
    response: Tensor
    descriptors: Tensor

    def __getitem__(self, index: Tensor) -> "Keypoints":
        """Return the keypoints at a long or bool index."""
        return Keypoints(**{name: values[index] for name, values in vars(self).items()})

    def to(self, device: torch.device) -> "Keypoints":
        """Return the keypoints on a device."""
        return Keypoints(**{name: values.to(device) for name, values in vars(self).items()})


def detect_sift_keypoints(
    image: np.ndarray,
    contrast: float | None = CONTRAST,
    mask: np.ndarray | None = None,
    describe: bool = False,
) -> Keypoints:
    """Return the SIFT keypoints of an image, on the CPU.

    Args:
        image: (H, W) uint8, gray.
        contrast: Contrast threshold of SIFT; None chooses it by the image: 0.04, or 0.01 and the
            2,000 strongest keypoints if there are fewer than that.
        mask: (H, W) uint8, nonzero where keypoints may lie; None for everywhere.
        describe: Whether to compute SIFT descriptors as well.
    """
    if contrast is None:
        found = detect_sift_keypoints(image, CONTRAST, mask, describe)
        if len(found.points) >= ENOUGH_KEYPOINTS:
            return found
        found = detect_sift_keypoints(image, LOWEST_CONTRAST, mask, describe)
        strongest = found.response.argsort(descending=True, stable=True)[:ENOUGH_KEYPOINTS]
        return found[strongest.sort().values]
    # without enable_precise_upscale OpenCV shifts every keypoint by a quarter of a pixel
    sift = cv2.SIFT.create(contrastThreshold=contrast, enable_precise_upscale=True)
    descriptors = None
    if describe:
        found, descriptors = sift.detectAndCompute(image, mask)
    else:
        found = sift.detect(image, mask)
    rows = np.array([(*k.pt, k.size, k.angle, k.response) for k in found], np.float32)
    table = torch.from_numpy(rows.reshape(-1, 5))
    if descriptors is None:
        descriptors = np.zeros((len(table), DESCRIPTOR_SIZE if describe else 0), np.float32)
    return Keypoints(
        points=table[:, :2],
        size=table[:, 2],
        angle=table[:, 3],
        response=table[:, 4],
        descriptors=torch.from_numpy(descriptors),
    )


def detect_in_tensor(
    image: Float[Tensor, "1 1 H W"],
    valid: Bool[Tensor, "1 H W"] | None,
    contrast: float | None,
    describe: bool = False,
) -> Keypoints:
    """Return the SIFT keypoints of a gray image in [0, 1], on its device.

    Args:
        image: Gray, in [0, 1].
        valid: Where keypoints may lie; None for everywhere.
        contrast: Contrast threshold of SIFT; None chooses it by the image.
        describe: Whether to compute SIFT descriptors as well.
    """
    mask = None if valid is None else valid[0].cpu().numpy().astype(np.uint8)
    return detect_sift_keypoints(to_uint8(image), contrast, mask, describe).to(image.device)


def to_uint8(image: Float[Tensor, "1 1 H W"]) -> np.ndarray:
    """Return a gray image in [0, 1] as (H, W) uint8 for OpenCV.

    An image of low contrast, such as 12-bit values in a 16-bit file, is stretched to the full
    range.
    """
    gray = image[0, 0].float().cpu()
    low, high = gray.amin(), gray.amax()
    if 0 < high - low < LOW_CONTRAST:
        gray = (gray - low) / (high - low)
    return (gray * 255).round().clamp(0, 255).byte().numpy()


def normalize_descriptors(descriptors: Float[Tensor, "N D"], root: bool) -> Float[Tensor, "N D"]:
    """Scale SIFT descriptors to length one.

    Args:
        descriptors: SIFT descriptors of OpenCV.
        root: Whether to take the square roots first (RootSIFT, Arandjelovic and Zisserman 2012).
    """
    if root:
        descriptors = F.normalize(descriptors, p=1, dim=1).clamp_min(0).sqrt()
    return F.normalize(descriptors, dim=1)
