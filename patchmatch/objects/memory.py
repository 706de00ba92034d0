"""A memory of the scene: recent colors of the background at every pixel.

Each pixel keeps samples of the colors that it showed while nothing moved there, as in ViBe (Barnich
and Van Droogenbroeck 2011). A color that is near to two of them is background. As in PBAS (Hofmann
et al. 2012), the distance that counts as near adapts to how much the pixel varies.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  #: uint8 or float32; OpenCV does not declare which it returns
Planes = NDArray[Any]  #: (C, H, W) uint8, one plane for each color
Mask = NDArray[Any]  #: (H, W) uint8, 0 or 255

SAMPLES = 16  # of each pixel, a little below ViBe's 20
UPDATE = 1 / 8  # probability per frame that a background pixel renews a sample
MIN_DISTANCE = 8.0  # gray levels: compression and rounding differ by less
NOISE_DISTANCE = 4.0  # standard deviations of the noise of a frame
VARIATION = 2.5  # times the mean distance of the background from its samples
MEMORY_OF_VARIATION = 0.03  # weight of a frame in that mean
MARGIN = 64  # pixels by which the random choice of pixels, drawn once, is displaced at random


class SceneMemory:
    """Samples of the background of every pixel.

    Args:
        planes: The first frame, (C, H, W) uint8.
        seed: Seed of the random choices.

    Attributes:
        background: (C, H, W) float32, the running mean of the background.
    """

    def __init__(self, planes: Planes, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        height, width = planes.shape[1:]
        self.samples: NDArray[Any] = np.empty((SAMPLES, *planes.shape), np.uint8)
        everywhere = np.full((height, width), 255, np.uint8)
        self.background = planes.astype(np.float32)
        self.variation = np.zeros((height, width), np.float32)
        chosen = self._random.random((height + MARGIN, width + MARGIN)) < UPDATE
        self._chosen = chosen.astype(np.uint8) * 255
        self.learn_at_once(planes, everywhere)

    def distance(self, planes: Planes) -> NDArray[np.uint8]:
        """Return the second smallest distance of every pixel from its samples.

        The distance of two colors is the largest difference of a channel.

        Returns:
            (H, W) uint8, gray levels.
        """
        shape = planes.shape[1:]
        flat = planes.reshape(-1, shape[1])  # (C H, W)
        first = np.full(shape, 255, np.uint8)
        second, larger = first.copy(), np.empty(shape, np.uint8)
        difference = np.empty_like(flat)
        channels = difference.reshape(planes.shape)
        for sample in self.samples.reshape(len(self.samples), *flat.shape):
            cv2.absdiff(flat, sample, difference)
            distance = channels[0]
            for channel in channels[1:]:
                cv2.max(distance, channel, distance)
            cv2.max(first, distance, larger)
            cv2.min(second, larger, second)
            cv2.min(first, distance, first)
        return second

    def threshold(self, noise: float) -> NDArray[np.float32]:
        """Return the distance up to which a color is background, (H, W) float32 gray levels.

        Args:
            noise: Standard deviation of the noise of a frame in gray levels.
        """
        return VARIATION * self.variation + (MIN_DISTANCE + NOISE_DISTANCE * noise)

    def learn(self, planes: Planes, distance: NDArray[np.uint8], still: Mask, rate: float) -> None:
        """Renew samples where the frame shows the background.

        Args:
            planes: The frame.
            distance: Its ``distance``.
            still: 255 where it shows the background.
            rate: Weight of the frame in the running mean.
        """
        y, x = self._random.integers(MARGIN, size=2)
        chosen = self._chosen[y : y + still.shape[0], x : x + still.shape[1]]
        chosen = cv2.bitwise_and(chosen, still)
        self._write(int(self._random.integers(SAMPLES)), planes, chosen)
        for mean, plane in zip(self.background, planes, strict=True):
            cv2.accumulateWeighted(plane, mean, rate, still)
        cv2.accumulateWeighted(distance, self.variation, MEMORY_OF_VARIATION, still)

    def learn_at_once(self, planes: Planes, where: Mask) -> None:
        """Replace all samples by the colors of the frame, at the pixel and around it."""
        for index in range(SAMPLES):
            dy, dx = self._random.integers(-1, 2, 2) if index % 2 else (0, 0)
            self._write(index, np.roll(planes, (dy, dx), (1, 2)) if dy or dx else planes, where)
        inside = where > 0
        self.background[:, inside] = planes[:, inside]
        self.variation[inside] = 0

    def _write(self, index: int, planes: Planes, where: Mask) -> None:
        for plane, sample in zip(planes, self.samples[index], strict=True):
            cv2.copyTo(plane, where, sample)
