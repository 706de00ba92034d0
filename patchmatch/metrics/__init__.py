"""Metrics: sums in ``functional``, thin torchmetrics shells around them."""

from patchmatch.metrics.distances import FalsePositiveRate
from patchmatch.metrics.functional import (
    exact_shift_sums,
    false_positive_rate,
    patch_ssd,
    psnr,
    retrieval_sums,
    ssim,
)
from patchmatch.metrics.retrieval import Retrieval
from patchmatch.metrics.share import Share

__all__ = [
    "FalsePositiveRate",
    "Retrieval",
    "Share",
    "exact_shift_sums",
    "false_positive_rate",
    "patch_ssd",
    "psnr",
    "retrieval_sums",
    "ssim",
]
