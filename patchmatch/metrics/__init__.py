"""Metrics: sums in ``functional``, thin torchmetrics shells around them."""

from patchmatch.metrics.functional import exact_shift_sums, patch_ssd, psnr, ssim
from patchmatch.metrics.share import Share

__all__ = ["Share", "exact_shift_sums", "patch_ssd", "psnr", "ssim"]
