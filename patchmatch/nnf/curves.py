"""Plots of metrics over iterations."""

from collections.abc import Mapping, Sequence

import numpy as np

from patchmatch.nnf.results import IterationMetrics

PANELS = {
    "ssd": "mean patch SSD per pixel",
    "psnr": "PSNR by voting, dB",
    "ssim": "SSIM by voting",
}


def draw_curves(
    curves: Mapping[str, Sequence[IterationMetrics]], against: str = "iteration"
) -> np.ndarray:
    """Plot the metrics of reconstruction: a panel for each metric, a line for each curve.

    Args:
        curves: Metrics in order, by the name of the curve. Values that are not finite are left out.
        against: Quantity on the x axis: iteration or seconds.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If there is no curve, or ``against`` is unknown.
    """
    if not curves:
        raise ValueError("curves must have at least one curve to plot, got none")
    if against not in ("iteration", "seconds"):
        raise ValueError(f"against must be iteration or seconds, got {against!r}")
    # Not pyplot: it keeps figures in memory and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4 * len(PANELS), 3.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(PANELS))
    for axes, (metric, title) in zip(panels, PANELS.items(), strict=True):
        for name, history in curves.items():
            x = [getattr(metrics, against) for metrics in history]
            y = np.array([getattr(metrics, metric) for metrics in history], float)
            axes.plot(x, np.where(np.isfinite(y), y, np.nan), marker=".", label=name)
        if metric == "ssd" and _needs_log_scale([m.ssd for c in curves.values() for m in c]):
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


def _needs_log_scale(values: Sequence[float]) -> bool:
    """Return whether a linear axis would flatten most of the values."""
    return min(values) > 0 and max(values) / min(values) > 10
