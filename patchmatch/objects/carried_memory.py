"""A memory of the scene that a moving camera carries along."""

import cv2
import numpy as np
from numpy.typing import NDArray

from patchmatch.objects.memory import (
    MIN_DISTANCE,
    NOISE_DISTANCE,
    Array,
    Mask,
    Planes,
)

RATE = 0.25  # weight of a frame in the mean: the image stays sharp although it is resampled
MIN_AGE = 2  # frames for which a pixel has been seen before the memory counts
VARIATION = 2.0
MEMORY_OF_VARIATION = 0.1
MAX_AGE = 250


def carry_planes(
    planes: Array, camera: NDArray[np.float64], interpolation: int = cv2.INTER_LINEAR
) -> Array:
    """Resample planes (C, H, W) by a homography from the frame before to the next one."""
    size = planes.shape[:0:-1]
    return np.stack(
        [
            cv2.warpPerspective(
                plane, camera, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE
            )
            for plane in planes
        ]
    )


class CarriedMemory:
    """The mean of the background, resampled by the motion of the camera.

    Attributes:
        background: (C, H, W) float32, the running mean of the background.
    """

    def __init__(self, planes: Planes) -> None:
        self.background = planes.astype(np.float32)
        self.variation = np.full(planes.shape[1:], 2.0, np.float32)
        self.age = np.ones(planes.shape[1:], np.uint8)

    def carry(self, camera: NDArray[np.float64]) -> None:
        """Resample the memory.

        Args:
            camera: (3, 3), takes points of the frame before to the next one.
        """
        size = self.age.shape[::-1]
        self.background = carry_planes(self.background, camera, cv2.INTER_CUBIC)
        self.variation = carry_planes(self.variation[None], camera)[0]
        self.age = cv2.warpPerspective(self.age, camera, size, flags=cv2.INTER_NEAREST)

    def distance(self, planes: Planes) -> Array:
        """Return the distance of every pixel from the range of the memory around it."""
        result = np.zeros(planes.shape[1:], np.uint8)
        element = np.ones((3, 3), np.uint8)
        for plane, mean in zip(planes, self.background, strict=True):
            old = cv2.convertScaleAbs(mean)
            above = cv2.subtract(plane, cv2.dilate(old, element))
            below = cv2.subtract(cv2.erode(old, element), plane)
            result = cv2.max(result, cv2.max(above, below))
        result[self.age < MIN_AGE] = 0
        return result

    def threshold(self, noise: float) -> Array:
        """Return the distance up to which a color is background; see ``SceneMemory``."""
        return VARIATION * self.variation + (MIN_DISTANCE + NOISE_DISTANCE * noise)

    def learn(self, planes: Planes, distance: Array, still: Mask, rate: float) -> None:
        """Renew the mean where the frame shows the background; see ``SceneMemory``."""
        new = ((self.age == 0) & (still > 0)).astype(np.uint8)
        for mean, plane in zip(self.background, planes, strict=True):
            cv2.accumulateWeighted(plane, mean, RATE, still)
            cv2.copyTo(plane.astype(np.float32), new, mean)
        cv2.accumulateWeighted(distance, self.variation, MEMORY_OF_VARIATION, still)
        self.variation[new > 0] = 2
        self.age = np.where(still > 0, np.minimum(self.age, MAX_AGE) + 1, self.age).astype(np.uint8)

    def learn_at_once(self, planes: Planes, where: Mask) -> None:
        """Replace the mean by the colors of the frame."""
        inside = where > 0
        self.background[:, inside] = planes[:, inside]
        self.variation[inside] = 2.0
        self.age[inside] = 1
