"""Scenes that make themselves: layers of texture that move over each other, with exact flow.

The outline of each layer is a digit, thin as it was written or swollen to a blob; its texture is a
piece of a canvas. What one layer covers and uncovers is known, as is the motion of every pixel.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from patchmatch.synthetic.crops import UPSAMPLING, antialias, rotation, upsample

MOST_LAYERS = 6
CROWD_SHARE = 0.3  # of the scenes are of many small layers: people, birds
MOST_OF_CROWD = 14
SMALLEST, LARGEST_OF_CROWD, LARGEST = 30.0, 150.0, 1.2  # pixels, and sides of the frame
SHORTEST, LONGEST = 0.05, 32.0  # pixels: lengths of motions, all scales being equally frequent
STILL_SHARE = 0.25  # of the grounds do not move: a camera on a tripod
PLAIN_SHARE = 0.2  # of the layers have hardly any texture: sky, walls, lacquer
FAINTEST = 3 / 255  # standard deviation of the texture of plain layers, at most
SCALES = 0.35, 1.1  # pixels of a texture in a pixel of a scene
EMPTY_SHARE = 0.5  # of plain grounds have nothing on them: all that differs is noise
BRIEF_SHARE = 0.15  # of the layers are seen in one of the frames only
LEAST_STRAIN, MOST_STRAIN = 3e-4, 0.02  # by which a surface turns, grows and bends
SOFT_SHARE = 0.3  # of the layers bend within a block, as limbs and clothes do
SOFT_STRAIN = 0.2  # by which they do, at most
WAVES = 3  # of a surface that bends
SHORT_WAVE, LONG_WAVE = 64.0, 512.0  # pixels
SOFT_WAVE = 24.0  # pixels, the shortest of what is soft
COARSE = 4  # pixels: motion is computed so far apart, and is a line in between
INVERSIONS = 10  # steps in which a motion that bends is inverted
FINE = 4  # outlines are drawn so much finer than MNIST has them


class Scene(NamedTuple):
    """Two frames of moving layers.

    Attributes:
        frame0: (H, W) float32 in [0, 1].
        frame1: The same shape, later.
        flow: (H, W, 2) float32, dx and dy in pixels from frame 0 to frame 1.
        visible: (H, W) bool, whether a pixel of frame 0 can be seen in frame 1.
    """

    frame0: np.ndarray
    frame1: np.ndarray
    flow: np.ndarray
    visible: np.ndarray


class _Motion(NamedTuple):
    """A motion of a surface: a point x goes to ``matrix (x - centre) + centre + shift + bent(x)``.

    Attributes:
        matrix: (2, 2).
        shift: (2,) pixels.
        centre: (2,) x and y.
        waves: (W, 5): amplitudes in x and y in pixels, wave vector in x and y, phase.
    """

    matrix: np.ndarray
    shift: np.ndarray
    centre: np.ndarray
    waves: np.ndarray

    def bent(self, points: np.ndarray) -> np.ndarray:
        """Return by how much the surface bends at points, (..., 2): no motion is quite affine."""
        return np.sin(points @ self.waves[:, 2:4].T + self.waves[:, 4]) @ self.waves[:, :2]

    def flow(self, side: int) -> np.ndarray:
        """Return the displacement of every pixel, (side, side, 2)."""
        points = _grid(side)
        straight = (points - self.centre) @ (self.matrix - np.eye(2)).T + self.shift
        return _enlarged(straight + self.bent(points), side)

    def back(self, points: np.ndarray) -> np.ndarray:
        """Return where points of frame 1 come from in frame 0, of the same shape."""
        inverse = np.linalg.inv(self.matrix).T
        found = straight = (points - self.centre - self.shift) @ inverse + self.centre
        for _ in range(INVERSIONS):  # bends are less steep than one: this is a contraction
            found = straight - self.bent(found) @ inverse
        return found


def make_scene(
    canvases: Sequence[np.ndarray],
    outlines: np.ndarray,
    side: int,
    rng: np.random.Generator,
    upright: bool = False,
) -> Scene:
    """Return a scene of a ground and up to six layers over it, or fourteen small ones.

    Args:
        canvases: (H, W) float32 pictures in [0, 1]: the textures.
        outlines: (N, 28, 28) uint8 digits: the outlines.
        side: Side of the frames in pixels.
        rng: Where the chance comes from.
        upright: Keep textures upright and at their own scale or smaller, as photographs are.
    """
    plain_ground = rng.random() < PLAIN_SHARE
    # how a plain ground moves nobody could tell
    ground = _still(side) if plain_ground else _ground_motion(side, rng)
    frames = [np.zeros((side, side), np.float32) for _ in range(2)]
    owners = [np.zeros((side, side), int) for _ in range(2)]
    flow, points = ground.flow(side), _grid(side)
    crowd = rng.random() < CROWD_SHARE
    largest = LARGEST_OF_CROWD if crowd else LARGEST * side
    count = int(rng.integers((MOST_OF_CROWD if crowd else MOST_LAYERS) + 1))
    if plain_ground and rng.random() < EMPTY_SHARE:
        count = 0
    for layer in range(count + 1):
        motion = _layer_motion(ground, side, rng) if layer else ground
        canvas = canvases[int(rng.integers(len(canvases)))]
        if rng.random() < PLAIN_SHARE if layer else plain_ground:
            canvas = _plain(canvas, rng)
        texture, place = _texture(canvas, side, rng, upright)
        outline, outline_place, missing = None, None, None
        if layer:
            outline, outline_place = _outline(outlines, motion.centre, largest, rng)
            missing = int(rng.integers(2)) if rng.random() < BRIEF_SHARE else None
        for time, back in enumerate((points, motion.back(points))):
            if time == missing:
                continue
            picture = _warp(texture, place, back, side, cv2.BORDER_REFLECT)
            if outline is None or outline_place is None:
                frames[time] = picture
                continue
            edge = _warp(outline, outline_place, back, side, cv2.BORDER_CONSTANT)
            sharpness = 2 / np.sqrt(abs(np.linalg.det(outline_place[:, :2])))
            opacity = np.clip((edge - 0.5) * sharpness * FINE + 0.5, 0, 1)
            frames[time] = frames[time] + (picture - frames[time]) * opacity
            owners[time][opacity > 0.5] = layer
        flow = np.where((owners[0] == layer)[..., None], motion.flow(side), flow)
    visible = _visible(flow, *owners)
    frame0, frame1 = (np.clip(frame, 0, 1).astype(np.float32) for frame in frames)
    return Scene(frame0, frame1, flow.astype(np.float32), visible)


def disturb(
    frame0: np.ndarray, frame1: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames as a camera might give them: gain, blur, noise, JPEG; uint8."""
    if rng.random() < 0.5:
        frame1 = frame1 * _log_uniform(rng, 0.7, 1.4) + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.25:
        sigma = rng.uniform(0.3, 1.5)
        frame1 = cv2.GaussianBlur(frame1, (0, 0), sigma)
        if rng.random() < 0.5:
            frame0 = cv2.GaussianBlur(frame0, (0, 0), sigma)
    noise = (rng.uniform(2, 12) if rng.random() < 1 / 3 else rng.uniform(0.3, 2)) / 255
    quality = int(rng.integers(20, 95)) if rng.random() < 0.3 else None
    seen = []
    for frame in (frame0, frame1):
        frame = frame + rng.normal(0, noise, frame.shape)
        stored = np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8)
        if quality is not None:
            code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            stored = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
        seen.append(stored)
    return seen[0], seen[1]


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int = 1) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _shift(rng: np.random.Generator) -> np.ndarray:
    length = _log_uniform(rng, SHORTEST, LONGEST)
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def _affine(rng: np.random.Generator) -> np.ndarray:
    """Return a rotation, a change of size and a little shear."""
    strain = _log_uniform(rng, LEAST_STRAIN, MOST_STRAIN)
    turn, grow = rng.normal(0, strain, 2)
    shear = rng.normal(0, strain / 3, (2, 2))
    return np.array([[1 + grow, -turn], [turn, 1 + grow]]) + shear


def _waves(rng: np.random.Generator, soft: bool = False) -> np.ndarray:
    """Return the waves of a motion, slighter than what is straight in it unless it is soft."""
    if soft:
        strain = _log_uniform(rng, MOST_STRAIN / 2, SOFT_STRAIN)
        length = _log_uniform(rng, SOFT_WAVE, 2 * SHORT_WAVE, WAVES)
    else:
        strain = _log_uniform(rng, LEAST_STRAIN, MOST_STRAIN / 2)
        length = _log_uniform(rng, SHORT_WAVE, LONG_WAVE, WAVES)
    way, phase = rng.uniform(0, 2 * np.pi, (2, WAVES))
    number = 2 * np.pi / length
    amplitude = rng.normal(0, strain, (2, WAVES)) / number
    return np.stack([*amplitude, number * np.cos(way), number * np.sin(way), phase], axis=1)


def _still(side: int) -> _Motion:
    return _Motion(np.eye(2), np.zeros(2), np.full(2, side / 2), np.zeros((1, 5)))


def _ground_motion(side: int, rng: np.random.Generator) -> _Motion:
    if rng.random() < STILL_SHARE:
        return _still(side)
    return _Motion(_affine(rng), _shift(rng), np.full(2, side / 2), _waves(rng))


def _layer_motion(ground: _Motion, side: int, rng: np.random.Generator) -> _Motion:
    """Return a motion of its own, more often than not not far from the ground's."""
    matrix, shift = _affine(rng), _shift(rng)
    if rng.random() < 0.6:
        shift = shift * rng.uniform() + ground.shift
        matrix = (matrix + ground.matrix) / 2
    centre = rng.uniform(0, side, 2)
    return _Motion(matrix, shift, centre, _waves(rng, soft=rng.random() < SOFT_SHARE))


def _plain(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a canvas of hardly any texture, of one brightness or fading to another."""
    height, width = canvas.shape
    faint = rng.uniform(0, FAINTEST) * (canvas - canvas.mean()) / (canvas.std() + 1e-3)
    left, right = rng.uniform(0.05, 0.95, 2)
    level = np.linspace(left, right if rng.random() < 0.5 else left, width)
    return (np.broadcast_to(level, (height, width)) + faint).astype(np.float32)


def _texture(
    canvas: np.ndarray, side: int, rng: np.random.Generator, upright: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return a finer canvas and the 2x3 matrix that takes points of the scene to it."""
    scale = rng.uniform(*SCALES)
    angle = 0.0 if upright else rng.uniform(0, 2 * np.pi)
    matrix = rotation(angle) * scale
    origin = rng.uniform(0, canvas.shape[::-1])
    corner = origin - matrix @ np.full(2, side / 2)
    return upsample(antialias(canvas, scale)), np.c_[
        UPSAMPLING * matrix, UPSAMPLING * (corner + 0.5) - 0.5
    ]


def _outline(
    outlines: np.ndarray, centre: np.ndarray, largest: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return an outline, 1 inside, and the 2x3 matrix that takes points of the scene to it."""
    digit = outlines[rng.integers(len(outlines))].astype(np.float32) / 255
    fine = cv2.resize(digit, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    fine = np.pad(cv2.GaussianBlur(fine, (0, 0), 0.75 * FINE), 2 * FINE)
    if rng.random() < 0.6:
        width = int(rng.integers(9, 50))
        fine = cv2.dilate(fine, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    size = _log_uniform(rng, SMALLEST, largest) / 20  # pixels to a pixel of MNIST
    matrix = rotation(rng.uniform(0, 2 * np.pi)) * (FINE / size)
    middle = np.array(fine.shape[::-1]) / 2
    return fine, np.c_[matrix, middle - matrix @ centre]


def _grid(side: int) -> np.ndarray:
    """Return x and y of every ``COARSE``-th pixel, and of one beyond, (n, n, 2)."""
    along = np.arange(0, side + COARSE, COARSE, dtype=float)
    return np.stack(np.meshgrid(along, along), axis=-1)


def _enlarged(coarse: np.ndarray, side: int) -> np.ndarray:
    """Return for every pixel what is known on a ``_grid``, (side, side, 2) float32."""
    matrix = np.diag([1 / COARSE, 1 / COARSE, 1])[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse.astype(np.float32), matrix, (side, side), flags=flags)


def _warp(
    picture: np.ndarray, place: np.ndarray, back: np.ndarray, side: int, border: int
) -> np.ndarray:
    """Return a picture as a frame shows it, (side, side).

    Args:
        picture: (h, w).
        place: (2, 3), takes points of the scene to the picture.
        back: (n, n, 2), where the points of a ``_grid`` lie in the scene.
        side: Side of the frame.
        border: What OpenCV shows beyond the picture.
    """
    x, y = cv2.split(_enlarged(back @ place[:, :2].T + place[:, 2], side))
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border)


def _visible(flow: np.ndarray, owner0: np.ndarray, owner1: np.ndarray) -> np.ndarray:
    """Tell which pixels land within frame 1, and on their own layer."""
    height, width = owner0.shape
    y, x = np.mgrid[:height, :width]
    x, y = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside & (owner1[y.clip(0, height - 1), x.clip(0, width - 1)] == owner0)
