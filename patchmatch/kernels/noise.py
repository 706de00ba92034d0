"""What noise alone leaves between two windows."""

import numpy as np
from numpy import float32

from patchmatch.kernels.compiling import helper, kernel

# deviations of the difference to noise blended from four pixels, and from one
LEAST, MOST = float32(np.sqrt(1.25)), float32(np.sqrt(2.0))


@kernel
def noise_bounds(loudness, clip, quiet, noisy):
    """Tell what noise leaves of differences, as ``patchmatch.ops.noise_residual`` blends it.

    Args:
        loudness: (N, 16), variance of the noise in each cell.
        clip: Differences count no more than this.
        quiet: (N, 16), written: what is left between four pixels.
        noisy: (N, 16), written: what is left at whole pixels.
    """
    for n in range(loudness.shape[0]):
        for cell in range(loudness.shape[1]):
            spread = np.sqrt(loudness[n, cell])
            quiet[n, cell] = _clipped(LEAST * spread, clip)
            noisy[n, cell] = _clipped(MOST * spread, clip)


@helper
def _clipped(spread, clip):
    """Return the mean of min(abs(x), clip) of normal x of some standard deviation.

    With a polynomial for the complementary error function (Abramowitz and Stegun, "Handbook of
    mathematical functions", 7.1.26), right to 1.5e-7.
    """
    spread = spread / clip + float32(1e-4)
    place = float32(np.sqrt(0.5)) / spread
    bell = np.exp(-place * place)
    t = float32(1) / (float32(1) + float32(0.3275911) * place)
    tail = float32(1.061405429) * t - float32(1.453152027)
    tail = ((tail * t + float32(1.421413741)) * t - float32(0.284496736)) * t
    tail = (tail + float32(0.254829592)) * t * bell
    return clip * (spread * float32(np.sqrt(2 / np.pi)) * (float32(1) - bell) + tail)
