"""A video of a striped square that slides over a background with noise."""

import cv2
import numpy as np


def sliding(frames=40, height=96, width=160, speed=3, start=10, color=220, noise=1.5, pause=None):
    """Return frames in which a square of 20 pixels moves, and its boxes."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(90, 150, (height // 8, width // 8)).astype(np.float32)
    background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    images, boxes, x = [], [], float(start)
    for time in range(frames):
        image = background + rng.normal(0, noise, background.shape)
        left = round(x)
        if -20 < left < width:  # with stripes, so that its own motion is visible
            square = np.tile(color - 50 * (np.arange(20) // 5 % 2), (20, 1))
            image[40:60, max(0, left) : left + 20] = square[:, max(0, -left) : width - left]
        images.append(image.clip(0, 255).astype(np.uint8))
        boxes.append((left, 40, left + 20, 60))
        x += 0 if pause and time in pause else speed
    return images, boxes
