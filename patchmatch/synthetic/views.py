"""Views of a place in a picture: from another side, and in another light."""

import cv2
import numpy as np

from patchmatch.synthetic.crops import antialias, rotation

CLOSER = 0.1  # of the side: how far a place lies from the middle of its view
GAIN, GAMMA, CAST = (0.6, 1.6), (0.6, 1.6), 0.12  # of brightness; of each colour by itself
SHADE = (0.4, 0.9)  # what a shadow leaves
BLUR = (0.4, 1.5)  # pixels
NOISE = (2.0, 10.0)  # grey levels of 255


def draw_homography(
    side: int, turn: float, zoom: float, tilt: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw how a square place is seen, (3, 3) float64: from its pixels to those of a view.

    Args:
        side: Of the place and of its view, in pixels.
        turn: Largest rotation in degrees.
        zoom: Largest change of size, above or equal to 1.
        tilt: How far a corner may leave its place, in sides.
        rng: Where the chance comes from.
    """
    angle = np.deg2rad(rng.uniform(-turn, turn))
    size = zoom ** rng.uniform(-1, 1)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    seen = size * corners @ rotation(angle).T + rng.uniform(-tilt, tilt, (4, 2))
    seen += rng.uniform(-CLOSER, CLOSER, 2)
    middle = (side - 1) / 2
    place, view = ((corner * side + middle).astype(np.float32) for corner in (corners, seen))
    return cv2.getPerspectiveTransform(place, view)


def warp_view(
    picture: np.ndarray, corner: tuple[int, int], homography: np.ndarray, side: int
) -> np.ndarray:
    """Return a view of a place, (side, side, 3) float32 in [0, 1].

    Beyond its border the picture is mirrored.

    Args:
        picture: (H, W, 3) uint8.
        corner: x and y of the top left pixel of the place.
        homography: From pixels of the place to pixels of the view.
        side: Of the view in pixels.
    """
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1]], np.float64)
    matrix = homography @ shift  # from the picture to the view
    size = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    picture = antialias(picture.astype(np.float32) / 255, 1 / size)
    view = cv2.warpPerspective(
        picture, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return view.clip(0, 1)


def jitter_illumination(view: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a view, (H, W, 3) float32 in [0, 1], as it looks in another light to another camera.

    Args:
        view: What is seen.
        share: Of the views that have each of: another gain and gamma, a colour cast, a shadow,
            blur, strong noise. The others have weak noise.
        rng: Where the chance comes from.
    """
    if rng.random() < share:
        gain, gamma = (np.exp(rng.uniform(*np.log(span))) for span in (GAIN, GAMMA))
        view = gain * view**gamma
    if rng.random() < share:
        view = view * np.exp(rng.uniform(-CAST, CAST, 3))
    if rng.random() < share / 2:
        view = view * _shadow(view.shape[:2], rng)[..., None]
    if rng.random() < share:
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(*BLUR))
    noise = rng.uniform(*NOISE) if rng.random() < share else rng.uniform(0, NOISE[0])
    view = view + rng.normal(0, noise / 255, view.shape)
    return view.clip(0, 1).astype(np.float32)


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return what a shadow with one straight, soft edge leaves of the light, (H, W)."""
    angle, softness = rng.uniform(0, 2 * np.pi), rng.uniform(1, 8)
    y, x = np.mgrid[: size[0], : size[1]]
    edge = rng.uniform(0.2, 0.8, 2) * size
    away = (x - edge[1]) * np.cos(angle) + (y - edge[0]) * np.sin(angle)
    lit = 1 / (1 + np.exp(-away / softness))
    return lit + (1 - lit) * rng.uniform(*SHADE)
