"""Trees, dabbed leaf by leaf."""

import cv2
import numpy as np

from patchmatch.frames.cows.noise import Array, Picture


def draw_foliage(
    canvas: Picture,
    centre: tuple[float, float],
    radius: tuple[float, float],
    leaf: float,
    tint: Array,
    rng: np.random.Generator,
) -> None:
    """Dab leaves on an ellipse (centre and radius x, y), dark below and sunlit at the top left."""
    count = int(5.5 * radius[0] * radius[1] / leaf**2) + 8
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    reach *= 1 + 0.16 * np.sin(5 * angle + rng.uniform(0, 6)) + rng.normal(0, 0.05, count)
    u, v = reach * np.cos(angle), reach * np.sin(angle)
    sun = np.clip(0.5 - 0.35 * u - 0.6 * v + rng.normal(0, 0.2, count), 0, 1.1)
    order = np.argsort(sun + rng.normal(0, 0.15, count))
    u, v = centre[0] + radius[0] * u, centre[1] + radius[1] * v
    for i in order:
        color = tint * (0.42 + 0.85 * sun[i]) + np.array((18, 16, 0)) * sun[i] ** 2
        at = (int(u[i]), int(v[i]))
        size = leaf * rng.uniform(0.6, 1.2)
        axes = (max(1, round(size)), max(1, round(0.7 * size)))
        cv2.ellipse(
            canvas, at, axes, rng.uniform(0, 180), 0, 360, color.clip(0, 255).tolist(), -1, 16
        )


def draw_woods(canvas: Picture, horizon: int, rng: np.random.Generator) -> None:
    """Line the far edge of the pasture with trees."""
    w = canvas.shape[1]
    x = -20.0
    while x < w + 20:
        if np.sin(9 * x / w + 2.1) > -0.55:  # gaps through which the hills are seen
            size = 0.30 * horizon * rng.uniform(0.55, 1.1)
            tint = np.array((84, 116, 56)) * rng.uniform(0.8, 1.1) + rng.normal(0, 6, 3)
            draw_foliage(canvas, (x, horizon - 0.5 * size), (0.8 * size, size), 4.5, tint, rng)
        x += rng.uniform(0.14, 0.34) * horizon


def draw_oak(canvas: Picture, horizon: int, rng: np.random.Generator) -> None:
    """Draw an oak with its shade at the far left."""
    h, w = canvas.shape[:2]
    foot = (int(0.085 * w), int(horizon + 0.075 * h))
    trunk, bark = 0.016 * w, np.array((92, 74, 56))
    shade = canvas.copy()
    cv2.ellipse(
        shade, (foot[0] + int(0.03 * w), foot[1]), (int(0.1 * w), 14), 0, 0, 360, (44, 66, 28), -1
    )
    shade = cv2.GaussianBlur(shade, (0, 0), 7)
    band = slice(foot[1] - 45, foot[1] + 45)
    canvas[band] = cv2.addWeighted(canvas[band], 0.4, shade[band], 0.6, 0)
    for strip in np.linspace(-1, 1, 26):
        lean = strip * trunk * 0.5
        tone = bark * (1.05 - 0.45 * strip + rng.normal(0, 0.12))
        top = (round(foot[0] + 0.7 * lean), max(0, foot[1] - int(0.14 * h)))
        base = (round(foot[0] + lean * 1.5), foot[1] + round(5 * (1 - strip**2)))
        cv2.line(canvas, base, top, tone.clip(0, 255).tolist(), 2, 16)
    for _ in range(9):
        at = (foot[0] + rng.normal(0, 0.045) * w, foot[1] - (0.15 + rng.uniform(-0.05, 0.06)) * h)
        tint = np.array((88, 124, 50)) * rng.uniform(0.85, 1.08)
        draw_foliage(canvas, at, (0.055 * w, 0.05 * h), 6, tint, rng)
