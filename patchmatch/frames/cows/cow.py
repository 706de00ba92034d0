"""Drawing of a cow at four times its size. Cow units are 1/150 of its length."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from patchmatch.frames.cows.noise import Array, Color, Points, fractal_noise, mix, smoothstep

TRUNK = (
    (19, 21), (14, 26), (13, 38), (16, 52), (28, 58), (48, 63), (70, 65), (90, 63), (101, 55),
    (105, 42), (99, 26), (88, 19), (70, 21), (48, 20), (30, 18),
)  # fmt: skip
NECK_UP = ((82, 20), (94, 15), (108, 7), (118, 6), (121, 20), (114, 32), (106, 50), (94, 54))
HEAD_UP = ((113, 6), (122, 4), (131, 11), (140, 21), (144, 28), (140, 36), (131, 36), (118, 28))
NECK_DOWN = ((84, 20), (98, 23), (111, 38), (121, 56), (117, 66), (107, 63), (98, 58), (90, 50))
HEAD_DOWN = ((113, 52), (122, 50), (129, 61), (134, 76), (136, 85), (130, 91), (121, 89), (111, 68))
HIND_LEG = (
    (14, 36), (30, 40), (31, 54), (25, 64), (23.5, 72), (23, 84), (25.5, 94), (16.5, 94), (17, 84),
    (16, 73), (13, 66), (13, 52),
)  # fmt: skip
FORE_LEG = (
    (85, 46), (99, 46), (98.5, 60), (96, 70), (95, 75), (94.5, 86), (97, 94), (88, 94), (88.5, 86),
    (88, 75), (87, 69), (85, 60),
)  # fmt: skip
MARGIN, SPRITE_SIZE = (14, 10), (178, 122)  # cow units (x, y); the margin is for the shadow


@dataclass(frozen=True)
class Cow:
    """Sprite of a cow: ``color`` (h, w, 3) in 0..255, ``alpha`` and ``shadow`` (h, w) in 0..1."""

    color: Array
    alpha: Array
    shadow: Array


def _curve(points: Points) -> Array:
    """Return the closed Catmull-Rom curve through points, with eight vertices per span."""
    p1 = np.asarray(points, np.float32)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, 8, endpoint=False, dtype=np.float32)[:, None, None]
    spans = p1 + 0.5 * t * (
        p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0))
    )  # (8, N, 2)
    return spans.transpose(1, 0, 2).reshape(-1, 2)


class _CowCanvas:
    """Draws the parts of a cow, each shaded as a rounded body.

    Args:
        width: Length of the cow in pixels of the frame.
        left: Whether it faces left.
        rng: Random generator of the coat.
    """

    def __init__(self, width: int, left: bool, rng: np.random.Generator) -> None:
        self.scale = 4 * width / 150
        self.left = left
        self.width, self.height = (4 * round(size * self.scale / 4) for size in SPRITE_SIZE)
        shape = (self.height, self.width)
        self.color = np.zeros((*shape, 3), np.float32)
        self.alpha = np.zeros(shape, np.uint8)
        spots = fractal_noise(rng, *shape, size=23 * self.scale, octaves=4, aspect=1.15)
        edge = 0.05 * fractal_noise(rng, *shape, size=10, octaves=2)
        dark = smoothstep(spots + edge - rng.uniform(-0.35, 0.35), -0.06, 0.06)
        pigment = (112, 62, 36) if rng.uniform() < 0.22 else (38, 35, 36)
        # Hair gives texture to areas of constant color
        self.hair = fractal_noise(rng, *shape, size=28, octaves=3, aspect=0.7)
        self.pigment = np.asarray(pigment, np.float32)
        self.coat = mix((208, 202, 191), pigment, dark)

    def to_canvas(self, points: ArrayLike) -> Array:
        """Convert points from cow units to canvas pixels."""
        pixels = (np.asarray(points, np.float32) + MARGIN) * self.scale
        if self.left:
            pixels[..., 0] = self.width - pixels[..., 0]
        return pixels

    def draw(
        self,
        *outlines: Array,
        color: Array | Color | None = None,
        depth: float = 12,
        shade: float = 1,
    ) -> None:
        """Draw a part.

        Args:
            outlines: Polygons in cow units; several polygons form one body.
            color: Color of the part; None uses the coat.
            depth: Radius of the rounded edge in cow units.
            shade: Brightness factor; below 1 for parts on the far side.
        """
        radius = depth * self.scale
        polygons = [self.to_canvas(outline).round().astype(np.int32) for outline in outlines]
        border = int(0.9 * radius) + 2  # radius of the blur
        low = (np.concatenate(polygons).min(axis=0) - border).clip(min=0)
        high = np.concatenate(polygons).max(axis=0) + border
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros_like(self.alpha[part])
        for polygon in polygons:
            cv2.fillPoly(mask, [polygon - low], 1)
        inset = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 5) / radius, 1)
        relief = radius * np.sqrt(1 - (1 - inset) ** 2)
        relief = cv2.GaussianBlur(relief, (0, 0), 0.22 * radius)
        gy, gx = np.gradient(relief)
        # Light from the upper left, in front of the cow
        lambert = (0.35 * gx + 0.72 * gy + 0.62) / np.sqrt(1 + gx**2 + gy**2)
        brightness = shade * (0.5 + 0.74 * np.clip(lambert, -0.1, 0.98))
        base = self.coat[part] if color is None else np.asarray(color, np.float32)
        hair = 9 * self.hair[part] * (0.6 + 0.4 * brightness)
        shaded = base * brightness[..., None] + hair[..., None]
        np.copyto(self.color[part], shaded, where=mask[..., None] > 0)
        self.alpha[part] |= mask

    def ellipse(
        self, centre: tuple[float, float], radius: tuple[float, float], turn: float
    ) -> Array:
        """Return the polygon of an ellipse in cow units, rotated by ``turn`` degrees."""
        angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        return (points @ np.array(((c, s), (-s, c))) + centre).astype(np.float32)


def draw_cow(width: int, left: bool, grazing: bool, walking: bool, rng: np.random.Generator) -> Cow:
    """Draw a side view of a Holstein cow.

    Args:
        width: Length in pixels.
        left: Whether it faces left.
        grazing: Whether the head is lowered.
        walking: Whether the legs are in stride. The pose is fixed, so each pixel moves rigidly.
        rng: Random generator of the coat.

    Returns:
        The sprite, downsampled by four.
    """
    p = _CowCanvas(width, left, rng)
    stride = 6.0 if walking else 1.5
    legs = ((HIND_LEG, 3.5, 1.1 * stride, True), (FORE_LEG, -3.5, -stride, True))
    legs += ((HIND_LEG, 0, -0.7 * stride, False), (FORE_LEG, 0, stride, False))
    hooves = []

    def leg(outline: Points, offset: float, swing: float, far: bool) -> None:
        """Draw a leg whose hoof is moved forward by ``swing`` units."""
        points = np.asarray(outline, np.float32).copy()
        weight = np.clip((points[:, 1] - 46) / 48, 0, 1) ** 1.3
        points[:, 0] += offset + swing * weight
        points[:, 1] -= 2.5 * far * (points[:, 1] > 60)
        curve = _curve(points)
        p.draw(curve, depth=5, shade=0.62 if far else 1)
        hoof = curve[curve[:, 1] > (87.5 if far else 90)]
        p.draw(hoof, color=(70, 62, 54), depth=3, shade=0.7 if far else 1)
        hooves.append(hoof.mean(axis=0))

    swish = rng.uniform(-2, 3)
    tail = ((17, 22), (20, 24), (13, 36), (11 - swish, 52), (11.5 - swish, 66), (8.5 - swish, 66))
    p.draw(_curve((*tail, (8.5 - swish, 52), (11, 34))), depth=2.5, shade=0.9)
    tuft = ((8, 62), (12, 62), (13.5, 72), (10, 80), (6.5, 72))
    p.draw(_curve([(x - swish, y) for x, y in tuft]), color=p.pigment + 22, depth=3)
    for part in legs[:2]:
        leg(*part)
    p.draw(p.ellipse((37, 61), (9.5, 6.5), -8), color=(222, 168, 152), depth=6)
    for x in (33, 40):
        p.draw(p.ellipse((x, 67), (1.5, 2.8), 0), color=(206, 146, 132), depth=2)
    neck, head = (NECK_DOWN, HEAD_DOWN) if grazing else (NECK_UP, HEAD_UP)
    _draw_ear(p, head)
    p.draw(_curve(TRUNK), _curve(neck), depth=20)
    for part in legs[2:]:
        leg(*part)
    _draw_head(p, head, rng)

    blur = p.scale * 3.2
    ground = np.zeros(p.alpha.shape, np.float32)
    spread = p.ellipse((63, 95), (52, 5.5), 0)
    cv2.fillPoly(ground, [p.to_canvas(spread).round().astype(np.int32)], 0.55)
    ground = np.roll(ground, round(4 * p.scale), axis=1)  # away from the light
    ground = cv2.GaussianBlur(ground, (0, 0), blur, sigmaY=0.55 * blur)
    for x, y in hooves:
        contact = np.zeros_like(ground)
        outline = p.to_canvas(p.ellipse((x, y + 2.5), (7, 2.2), 0)).round().astype(np.int32)
        cv2.fillPoly(contact, [outline], 0.5)
        ground = np.maximum(ground, cv2.GaussianBlur(contact, (0, 0), 1.2 * p.scale))
    size = (p.width // 4, p.height // 4)
    alpha = cv2.resize(p.alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    color = cv2.resize(p.color.clip(0, 255), size, interpolation=cv2.INTER_AREA)
    color /= np.maximum(alpha, 1e-3)[..., None]  # undo the averaging with the black background
    shadow = cv2.resize(ground, size, interpolation=cv2.INTER_AREA)
    # Pixels covered by at least a half become opaque, so a labelled pixel shows only the cow
    return Cow(color, np.minimum(2 * alpha, 1), np.where(shadow < 0.012, 0, shadow))


def _face(head: Points) -> tuple[Callable[[float, float], tuple[float, float]], float]:
    """Return a map from head coordinates (forward, up) to cow units, and the head's angle.

    Both head poses share one face. The angle is in degrees.
    """
    poll = np.array(head[0])
    along = np.mean(np.asarray(head[4:6]), axis=0) - poll
    along /= np.linalg.norm(along)
    brow = np.array((along[1], -along[0]))

    def at(forward: float, up: float) -> tuple[float, float]:
        x, y = poll + forward * along + up * brow
        return float(x), float(y)

    return at, float(np.degrees(np.arctan2(along[1], along[0])))


def _draw_ear(p: _CowCanvas, head: Points) -> None:
    """Draw the ear on the far side, partly hidden by the head."""
    at, turn = _face(head)
    p.draw(p.ellipse(at(1, 6), (6, 2.6), turn - 125), color=p.pigment + 8, depth=2, shade=0.75)


def _draw_head(p: _CowCanvas, head: Points, rng: np.random.Generator) -> None:
    """Draw face, muzzle, eye and the near ear with its tag."""
    at, turn = _face(head)
    p.draw(_curve(head), color=p.pigment + 8, depth=8)
    if rng.uniform() < 0.8:
        blaze = (at(3, 3.4), at(12, 4.2), at(26, 4.5), at(26, 0.4), at(13, 1.2))
        p.draw(_curve(blaze), color=(210, 204, 193), depth=5)
    p.draw(p.ellipse(at(33, -0.8), (5.0, 6.6), turn), color=(196, 158, 146), depth=5)
    p.draw(p.ellipse(at(35, 2), (1.5, 0.9), turn + 30), color=(64, 42, 40), depth=1)
    mouth = np.array((at(36, -4), at(29, -5.8), at(29, -6.5), at(36, -4.8)))
    p.draw(mouth, color=(92, 66, 62), depth=1)
    p.draw(p.ellipse(at(11, -0.6), (2.9, 2.1), turn), color=p.pigment + 64, depth=3)
    p.draw(p.ellipse(at(11, -0.7), (2.0, 1.5), turn), color=(20, 16, 15), depth=9)
    p.draw(p.ellipse(at(10.6, 0.1), (0.6, 0.6), 0), color=(236, 236, 236), depth=1)
    p.draw(p.ellipse(at(-0.5, -5), (7.2, 3.1), turn + 150), color=p.pigment + 18, depth=3)
    p.draw(p.ellipse(at(-3.2, -7.6), (1.7, 2.0), turn), color=(222, 172, 46), depth=2)
