"""Random views of a square location in an image: viewpoint and illumination."""

import cv2
import numpy as np

from patchmatch.synthetic.crops import antialias, rotation

MAX_OFFSET = 0.1  # of the side: between the centres of a location and of its view
GAIN, GAMMA, TINT = (0.6, 1.6), (0.6, 1.6), 0.12  # tint: of the logarithm of the gain of a channel
SHADOW = (0.4, 0.9)  # gain inside a shadow
BLUR = (0.4, 1.5)  # pixels
NOISE = (2.0, 10.0)  # gray levels of 255


def draw_homography(
    side: int, turn: float, zoom: float, tilt: float, rng: np.random.Generator
) -> np.ndarray:
    """Sample a viewpoint: a homography (3, 3) float64 from pixels of a location to its view.

    Args:
        side: Side of the location and of the view in pixels.
        turn: Largest rotation in degrees.
        zoom: Largest change of scale, at least 1.
        tilt: Largest offset of a corner in x and in y, in sides.
        rng: Random generator.
    """
    angle = np.deg2rad(rng.uniform(-turn, turn))
    scale = zoom ** rng.uniform(-1, 1)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    moved = scale * corners @ rotation(angle).T + rng.uniform(-tilt, tilt, (4, 2))
    moved += rng.uniform(-MAX_OFFSET, MAX_OFFSET, 2)
    middle = (side - 1) / 2
    source, target = ((points * side + middle).astype(np.float32) for points in (corners, moved))
    return cv2.getPerspectiveTransform(source, target)


def warp_view(
    image: np.ndarray, corner: tuple[int, int], homography: np.ndarray, side: int
) -> np.ndarray:
    """Return a view of a location, (side, side, 3) float32 in [0, 1], mirrored beyond the image.

    Args:
        image: (H, W, 3) uint8.
        corner: x and y of the top left pixel of the location.
        homography: From pixels of the location to pixels of the view.
        side: Side of the view in pixels.
    """
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1]], np.float64)
    matrix = homography @ shift  # from the image to the view
    scale = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    image = antialias(image.astype(np.float32) / 255, 1 / scale)
    view = cv2.warpPerspective(
        image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return view.clip(0, 1)


def jitter_illumination(view: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a view, (H, W, 3) float32 in [0, 1], with random illumination, blur and noise.

    Args:
        view: (H, W, 3) float32 in [0, 1].
        share: Probability of each change: gain with gamma, tint, blur, strong noise; half of it
            for a shadow. Weak noise is added otherwise.
        rng: Random generator.
    """
    if rng.random() < share:
        gain, gamma = (np.exp(rng.uniform(*np.log(span))) for span in (GAIN, GAMMA))
        view = gain * view**gamma
    if rng.random() < share:
        view = view * np.exp(rng.uniform(-TINT, TINT, 3))
    if rng.random() < share / 2:
        view = view * _shadow(view.shape[:2], rng)[..., None]
    if rng.random() < share:
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(*BLUR))
    noise = rng.uniform(*NOISE) if rng.random() < share else rng.uniform(0, NOISE[0])
    view = view + rng.normal(0, noise / 255, view.shape)
    return view.clip(0, 1).astype(np.float32)


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the gain (H, W) of a shadow with a straight, soft edge."""
    angle, softness = rng.uniform(0, 2 * np.pi), rng.uniform(1, 8)
    y, x = np.mgrid[: size[0], : size[1]]
    edge = rng.uniform(0.2, 0.8, 2) * size
    distance = (x - edge[1]) * np.cos(angle) + (y - edge[0]) * np.sin(angle)
    lit = 1 / (1 + np.exp(-distance / softness))
    return lit + (1 - lit) * rng.uniform(*SHADOW)
