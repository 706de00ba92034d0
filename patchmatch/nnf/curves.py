"""Curves over iterations, as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from patchmatch.nnf.results import Step

MEASURES = {
    "ssd": "mean patch SSD per pixel",
    "psnr": "PSNR by voting, dB",
    "ssim": "SSIM by voting",
}


def draw_curves(curves: Mapping[str, Sequence[Step]], against: str = "iteration") -> np.ndarray:
    """Plot how well image 0 is rebuilt: a panel for each measure, a line for each curve.

    Args:
        curves: Steps in order, by the name of the curve. Values that are not finite are left out.
        against: What runs along the x axis: iteration or seconds.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If there is no curve, or ``against`` is neither.
    """
    if not curves:
        raise ValueError("there must be at least one curve to plot, got none")
    if against not in ("iteration", "seconds"):
        raise ValueError(f"against must be iteration or seconds, got {against!r}")
    # Not pyplot: it keeps its figures, and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4 * len(MEASURES), 3.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(MEASURES))
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        for name, steps in curves.items():
            x = [getattr(step, against) for step in steps]
            y = np.array([getattr(step, measure) for step in steps], float)
            axes.plot(x, np.where(np.isfinite(y), y, np.nan), marker=".", label=name)
        if measure == "ssd" and _is_wide([step.ssd for steps in curves.values() for step in steps]):
            axes.set_yscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(against)
        axes.grid(alpha=0.3)
        if against == "iteration":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(curves) > 1:
        figure.axes[0].legend(fontsize=8)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _is_wide(values: Sequence[float]) -> bool:
    """Tell whether values differ so much that a straight axis would flatten most of them."""
    return min(values) > 0 and max(values) / min(values) > 10
