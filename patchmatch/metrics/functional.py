"""Sums that a metric accumulates, to be divided once at the end; and how alike two images are."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

_WINDOW = 11  # side of the Gaussian window of the structural similarity
_ROWS = 256  # of an image measured at once, to bound the memory
_SIMILARITIES = 2**22  # of queries with the gallery, computed at once


def exact_shift_sums(
    logits: Float[Tensor, "N classes"], shift: Int[Tensor, "N"]
) -> tuple[Tensor, Tensor]:
    """Count the pairs whose displacement is exactly right, and the pairs that have one.

    The last class is ``larger``. Pairs that belong to it are not counted; an answer of ``larger``
    does not count as a mistake by itself, the likeliest shift beneath it is judged.

    Returns:
        The number of exact pairs and the number of pairs within one pixel, long scalars.
    """
    within = shift != logits.shape[1] - 1
    exact = logits[:, :-1].argmax(dim=1) == shift
    return torch.sum(exact & within), torch.sum(within)


def retrieval_sums(
    query: Float[Tensor, "Q D"],
    query_place: Int[Tensor, " Q"],
    gallery: Float[Tensor, "G D"],
    gallery_place: Int[Tensor, " G"],
    ranks: Sequence[int] = (1, 5, 10),
) -> tuple[Float[Tensor, " ranks"], Tensor, Tensor]:
    """Count the queries whose place is among the nearest of the gallery, and sum their precision.

    Of equal similarities the wrong places come first, so that embeddings which are all the same
    find nothing. Queries whose place is not in the gallery are not counted.

    Args:
        query: Embeddings of length 1.
        query_place: The place of each.
        gallery: Embeddings of length 1, none of them a query.
        gallery_place: The place of each.
        ranks: Of the gallery, how many of the nearest may hold the place.

    Returns:
        The number of queries with a hit for each rank; the sum of their average precision, which
        is the mean precision at the ranks of all views of the place; the number of queries.
    """
    hits = query.new_zeros(len(ranks), dtype=torch.float64)
    precision, count = hits.new_zeros(()), hits.new_zeros(())
    step = max(1, _SIMILARITIES // max(1, len(gallery)))
    positions = torch.arange(1, len(gallery) + 1, device=query.device)
    for start in range(0, len(query) if len(gallery) else 0, step):
        right = query_place[start : start + step, None] == gallery_place  # (q, G)
        asked = right.any(dim=1)
        right, similarity = right[asked], query[start : start + step][asked] @ gallery.T
        wrong_first = right.byte().argsort(dim=1, stable=True)
        order = similarity.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True)
        right = right.gather(1, wrong_first.gather(1, order))  # the nearest first
        for i, rank in enumerate(ranks):
            hits[i] += right[:, :rank].any(dim=1).sum()
        at_right = right.cumsum(dim=1) / positions * right
        precision += (at_right.sum(dim=1, dtype=torch.float64) / right.sum(dim=1)).sum()
        count += asked.sum()
    return hits, precision, count


def false_positive_rate(
    right: Float[Tensor, "bins"], wrong: Float[Tensor, "bins"], recall: float
) -> Float[Tensor, ""]:
    """Return which share of wrong pairs is nearer than what takes a share of the right ones.

    Args:
        right: How many right pairs have a distance in each bin, the nearest first.
        wrong: How many wrong ones have.
        recall: Share of the right pairs to be taken, 0.95 in the field.

    Returns:
        In [0, 1]; NaN where there is no right or no wrong pair.
    """
    taken = right.cumsum(dim=0) / right.sum()
    last = int((taken < recall).sum())  # the bin that holds the last right pair to be taken
    if not torch.isfinite(taken).all():
        return right.new_full((), torch.nan)
    return wrong[: last + 1].sum() / wrong.sum()


def psnr(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the peak signal-to-noise ratio in dB, of images in [0, 1].

    Args:
        image: What was made.
        reference: What it should be.
        valid: Which pixels count; None for all.

    Returns:
        Infinite where the images are equal, NaN where no pixel counts.
    """
    squared = (image - reference).square().mean(dim=1)  # (B, H, W)
    return -10 * _mean(squared, valid).log10()


def ssim(
    image: Float[Tensor, "B C H W"],
    reference: Float[Tensor, "B C H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean structural similarity (Wang et al. 2004), of images in [0, 1].

    Gaussian windows of 11x11 pixels, sigma 1.5, over every channel; pixels whose window does not
    lie wholly in the image do not count.

    Args:
        image: What was made.
        reference: What it should be.
        valid: Which pixels count, as centres of windows; None for all.

    Returns:
        At most 1; NaN where no pixel counts, as in images smaller than a window.
    """
    rim = _WINDOW // 2
    height, width = image.shape[-2:]
    if min(height, width) < _WINDOW:
        return image.new_full((len(image),), torch.nan)
    bands = []
    for top in range(rim, height - rim, _ROWS):
        rows = slice(top - rim, min(top + _ROWS, height - rim) + rim)
        _, similarity = structural_similarity_index_measure(
            image[:, :, rows],
            reference[:, :, rows],
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
        bands.append(similarity[:, :, rim:-rim, rim:-rim].mean(dim=1))
    inner = None if valid is None else valid[:, rim:-rim, rim:-rim]
    return _mean(torch.cat(bands, dim=1), inner)


def patch_ssd(
    image0: Float[Tensor, "B C H W"],
    image1: Float[Tensor, "B C H1 W1"],
    flow: Int[Tensor, "B 2 H W"],
    patch_size: int,
    valid: Bool[Tensor, "B H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Return the mean squared difference of patches from those that a flow leads to.

    Args:
        image0: Whose whole patches are compared. That of pixel (x, y) begins at (x, y) less half
            of ``patch_size``, rounded down.
        image1: Where the flow leads to; the nearest whole patch of it counts.
        flow: dx and dy in pixels.
        patch_size: Side of a patch in pixels.
        valid: Which patches count, by their pixel; None for all.

    Returns:
        Per pixel of a patch, summed over channels; NaN where no patch counts.
    """
    half = patch_size // 2
    height, width = (side - patch_size + 1 for side in image0.shape[-2:])
    height1, width1 = image1.shape[-2:]
    x = torch.arange(width, device=flow.device)
    values = image1.flatten(2)  # (B, C, H1 * W1)
    bands = []
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        dx, dy = flow[:, :, top + half : top + half + rows, half : half + width].unbind(dim=1)
        y = torch.arange(top, top + rows, device=flow.device)[:, None]
        y1 = (y + dy).clamp(0, height1 - patch_size)
        x1 = (x + dx).clamp(0, width1 - patch_size)
        corner = (y1 * width1 + x1).flatten(1)[:, None]  # (B, 1, rows * width)
        corner = corner.expand(-1, values.shape[1], -1)
        squared = values.new_zeros(len(values), rows, width)
        for i in range(patch_size):
            for j in range(patch_size):
                seen = values.gather(2, corner + (i * width1 + j)).unflatten(2, (rows, width))
                seen = seen - image0[:, :, top + i : top + i + rows, j : j + width]
                squared += seen.square_().sum(dim=1)
        bands.append(squared)
    whole = None if valid is None else valid[:, half : half + height, half : half + width]
    return _mean(torch.cat(bands, dim=1), whole) / patch_size**2


def _mean(
    values: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"] | None
) -> Float[Tensor, "B"]:
    """Return the mean of the values that count, NaN where none does."""
    if valid is None:
        return values.mean(dim=(1, 2))
    return (values * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2))
