"""Random photometric changes and occluders."""

from collections.abc import Sequence

import cv2
import numpy as np

GAIN = (0.5, 1.8)
GAMMA = (0.6, 1.7)
TINT = 0.15  # standard deviation of the logarithm of the gain of a channel
SHADOW = (0.35, 0.8)  # gain inside a shadow
BLUR = (0.4, 1.8)  # pixels
MOTION_BLUR = (3, 9)  # pixels
NOISE = (1.0, 12.0)  # gray levels of 255
MAX_WEAK_NOISE = 1.5  # gray levels of 255
OCCLUDER = (0.12, 0.35)  # of the side of an image
RIM = 2  # pixels around an occluder where blur and interpolation mix it with the image


def jitter_photometry(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return an image with random photometric changes.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        share: Probability of each change: gain with gamma, tint, shadow, blur, strong noise. Weak
            noise is always added.
        rng: Random generator.
    """
    if rng.random() < share:
        image = _gain_gamma(image, rng)
    if rng.random() < share:
        image = image * np.exp(rng.normal(0, TINT, 3)).astype(np.float32)
    if rng.random() < share:
        image = image * _shadow(image.shape[:2], rng)[..., None]
    if rng.random() < share:
        image = _blur(image, rng)
    level = rng.uniform(*NOISE) if rng.random() < share else rng.uniform(0, MAX_WEAK_NOISE)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(level / 255)
    return (image + noise).clip(0, 1)


def occlude(
    image: np.ndarray, filling: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cover a random convex polygon of an image.

    Args:
        image: (H, W, 3) float32.
        filling: Texture of the occluder, of the shape of the image.
        rng: Random generator.

    Returns:
        The image, and a mask (H, W) bool, False at the occluder and within ``RIM`` pixels of it.
    """
    height, width = image.shape[:2]
    axes = rng.uniform(*OCCLUDER, 2) * min(height, width) / 2
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * axes
    corners += rng.uniform(0, 1, 2) * [width, height]
    covered = np.zeros((height, width), np.uint8)
    cv2.fillPoly(covered, [cv2.convexHull(np.rint(corners).astype(np.int32))], 1)
    rim = cv2.dilate(covered, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))
    return np.where(covered[..., None] > 0, filling, image), rim == 0


def disturb_views(
    images: Sequence[np.ndarray],
    sources: Sequence[np.ndarray],
    share: float | None,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return views with occluders and photometric changes, and their pixels without occluders.

    Args:
        images: (H, W, 3) float32 RGB in [0, 1].
        sources: Images that occluders are cut from, (H, W, 3) uint8 RGB.
        share: Probability of each photometric change and of an occluder; None changes nothing.
        rng: Source of randomness.
    """
    images, visible = list(images), [np.ones(image.shape[:2], bool) for image in images]
    if share is None:
        return images, visible
    for i, image in enumerate(images):
        if rng.random() < share:
            other = sources[int(rng.integers(len(sources)))]
            texture = cv2.resize(other, image.shape[1::-1]).astype(np.float32) / 255
            image, visible[i] = occlude(image, texture, rng)
        images[i] = jitter_photometry(image, share, rng).astype(np.float32)
    return images, visible


def _gain_gamma(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply gain, saturation at 1, and gamma."""
    gain = np.exp(rng.uniform(*np.log(GAIN)))
    gamma = np.exp(rng.uniform(*np.log(GAMMA)))
    return (image * np.float32(gain)).clip(0, 1) ** np.float32(gamma)


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the gain (H, W) of a shadow with a straight edge, sharp or soft."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    distance = (x - rng.uniform(0, size[1])) * np.cos(angle)
    distance = distance + (y - rng.uniform(0, size[0])) * np.sin(angle)
    softness = rng.uniform(1, 30)
    darkest = rng.uniform(*SHADOW)
    gain = darkest + (1 - darkest) * (0.5 + 0.5 * np.tanh(distance / softness))
    return gain.astype(np.float32)


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply Gaussian blur, or motion blur of a random direction."""
    if rng.random() < 0.7:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR))
    length = int(rng.integers(*MOTION_BLUR))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = (length - 1) / 2
    end = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, stop = (np.rint(middle + sign * end).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
