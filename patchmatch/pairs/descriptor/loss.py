"""The triplet loss of HardNet, and the distances and negatives that it needs."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def descriptor_distances(
    descriptors0: Float[Tensor, "N D"], descriptors1: Float[Tensor, "M D"]
) -> Float[Tensor, "N M"]:
    """Return the Euclidean distances between descriptors of unit norm, in [0, 2]."""
    return (2 - 2 * descriptors0 @ descriptors1.T).clamp_min(1e-6).sqrt()


def same_blob_mask(blobs: Float[Tensor, "N 4"]) -> Bool[Tensor, "N N"]:
    """Return which pairs of keypoints lie within one blob of one source image.

    Args:
        blobs: Index of the source image, x and y in it, and diameter of the blob.
    """
    distance = torch.cdist(blobs[:, 1:3], blobs[:, 1:3])
    near = distance < torch.maximum(blobs[:, None, 3], blobs[:, 3])
    same = near & (blobs[:, None, 0] == blobs[:, 0])
    return same | torch.eye(len(blobs), dtype=torch.bool, device=blobs.device)


def hardest_in_batch_loss(
    distance: Float[Tensor, "N N"], same_blob: Bool[Tensor, "N N"], margin: float
) -> Float[Tensor, ""]:
    """Return the triplet margin loss with the hardest negative in the batch (HardNet).

    Mishchuk et al., "Working hard to know your neighbor's margins", NeurIPS 2017, equation 2.

    Args:
        distance: Between descriptors of image 0 and image 1; matches are on the diagonal.
        same_blob: Pairs that show the same blob; they are excluded from the negatives.
        margin: Margin of the triplet loss.
    """
    negatives = distance.masked_fill(same_blob, torch.inf)
    hardest = torch.minimum(negatives.amin(dim=0), negatives.amin(dim=1))
    return (margin + distance.diagonal() - hardest).clamp_min(0).mean()
