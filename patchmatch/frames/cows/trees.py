"""Trees drawn leaf by leaf."""

import cv2
import numpy as np

from patchmatch.frames.cows.noise import Array, Canvas


def draw_foliage(
    canvas: Canvas,
    centre: tuple[float, float],
    radius: tuple[float, float],
    leaf: float,
    tint: Array,
    rng: np.random.Generator,
) -> None:
    """Draw leaves in an ellipse (centre and radius as x, y), lit from the top left."""
    count = int(5.5 * radius[0] * radius[1] / leaf**2) + 8
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    distance *= 1 + 0.16 * np.sin(5 * angle + rng.uniform(0, 6)) + rng.normal(0, 0.05, count)
    u, v = distance * np.cos(angle), distance * np.sin(angle)
    light = np.clip(0.5 - 0.35 * u - 0.6 * v + rng.normal(0, 0.2, count), 0, 1.1)
    order = np.argsort(light + rng.normal(0, 0.15, count))
    u, v = centre[0] + radius[0] * u, centre[1] + radius[1] * v
    for i in order:
        color = tint * (0.42 + 0.85 * light[i]) + np.array((18, 16, 0)) * light[i] ** 2
        position = (int(u[i]), int(v[i]))
        size = leaf * rng.uniform(0.6, 1.2)
        axes = (max(1, round(size)), max(1, round(0.7 * size)))
        turn = rng.uniform(0, 180)
        cv2.ellipse(canvas, position, axes, turn, 0, 360, color.clip(0, 255).tolist(), -1, 16)


def draw_woods(canvas: Canvas, horizon: int, rng: np.random.Generator) -> None:
    """Draw trees along the far edge of the pasture."""
    w = canvas.shape[1]
    x = -20.0
    while x < w + 20:
        if np.sin(9 * x / w + 2.1) > -0.55:  # leave gaps with a view of the hills
            size = 0.30 * horizon * rng.uniform(0.55, 1.1)
            tint = np.array((84, 116, 56)) * rng.uniform(0.8, 1.1) + rng.normal(0, 6, 3)
            draw_foliage(canvas, (x, horizon - 0.5 * size), (0.8 * size, size), 4.5, tint, rng)
        x += rng.uniform(0.14, 0.34) * horizon


def draw_oak(canvas: Canvas, horizon: int, rng: np.random.Generator) -> None:
    """Draw an oak with its shadow at the left."""
    h, w = canvas.shape[:2]
    foot = (int(0.085 * w), int(horizon + 0.075 * h))
    trunk, bark = 0.016 * w, np.array((92, 74, 56))
    shadow = canvas.copy()
    cv2.ellipse(
        shadow, (foot[0] + int(0.03 * w), foot[1]), (int(0.1 * w), 14), 0, 0, 360, (44, 66, 28), -1
    )
    shadow = cv2.GaussianBlur(shadow, (0, 0), 7)
    band = slice(foot[1] - 45, foot[1] + 45)
    canvas[band] = cv2.addWeighted(canvas[band], 0.4, shadow[band], 0.6, 0)
    for strip in np.linspace(-1, 1, 26):
        lean = strip * trunk * 0.5
        tone = bark * (1.05 - 0.45 * strip + rng.normal(0, 0.12))
        top = (round(foot[0] + 0.7 * lean), max(0, foot[1] - int(0.14 * h)))
        base = (round(foot[0] + lean * 1.5), foot[1] + round(5 * (1 - strip**2)))
        cv2.line(canvas, base, top, tone.clip(0, 255).tolist(), 2, 16)
    for _ in range(9):
        dx, dy = rng.normal(0, 0.045) * w, (0.15 + rng.uniform(-0.05, 0.06)) * h
        tint = np.array((88, 124, 50)) * rng.uniform(0.85, 1.08)
        draw_foliage(canvas, (foot[0] + dx, foot[1] - dy), (0.055 * w, 0.05 * h), 6, tint, rng)
