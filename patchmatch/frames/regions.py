"""Neighbouring blocks of a similar motion as one moving region."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchmatch.frames.results import FrameChanges, Kind, kind_of

AT_ONCE = 512  # blocks that are compared with all others, to bound the memory


def merge_blocks(changes: FrameChanges) -> tuple[FrameChanges, Tensor]:
    """Merge touching or overlapping blocks of a similar motion.

    Displacements are similar if they differ by no more than one pixel, or a quarter of the longer
    one where that is more. Blocks without a match are similar to one another only. What similar
    blocks connect is one region, however far it reaches.

    Args:
        changes: Blocks that changed; none of them is still.

    Returns:
        The regions, the most changed first; a block alone is a region as it is. Of others, the
        box is the union, displacement and camera are the median weighted by the score, the score
        is the highest, the confidence the mean weighted by the score; the kind is that of
        the displacement, less the camera's, though never still, and ``LARGER`` where it is not
        known. And the pixels that the blocks of each cover, (N,) long.
    """
    labels = connected(changes.boxes, _motion(changes))
    counts = torch.bincount(labels, minlength=len(labels))
    groups = [torch.nonzero(labels == label).flatten() for label in torch.nonzero(counts > 1)]
    alone = torch.nonzero(counts[labels] == 1).flatten()
    regions = _join([changes[alone], *(_merge(changes[group]) for group in groups)])
    sizes = changes.boxes[alone, 2:] - changes.boxes[alone, :2]
    covers = torch.tensor([covered(changes.boxes[group]) for group in groups], dtype=torch.long)
    area = torch.cat([sizes.prod(dim=1), covers])
    order = torch.argsort(regions.score, descending=True, stable=True)
    return regions[order], area[order]


def connected(boxes: Tensor, motion: Tensor) -> Tensor:
    """Number the groups of boxes that touch and move alike, by the first box of each.

    Boxes that share no more than a corner do not touch.

    Args:
        boxes: (N, 4), xyxy in pixels, half-open.
        motion: (N, 2), dx and dy in pixels; NaN where not known.

    Returns:
        (N,) long: the index of the first box of the group.
    """
    labels = torch.arange(len(boxes))
    if not len(boxes):
        return labels
    from_the_top = boxes[:, 1].argsort(stable=True)
    edges = [_neighbours(boxes, motion, rows) for rows in from_the_top.split(AT_ONCE)]
    near, far = torch.cat(edges, dim=1)  # each (E,)
    while True:
        smaller = labels.scatter_reduce(0, near, labels[far], "amin")
        smaller = smaller[smaller]  # a jump to the group's first box shortens long chains
        if torch.equal(smaller, labels):
            return labels
        labels = smaller


def covered(boxes: Tensor) -> int:
    """Return how many pixels lie in any of the boxes, (N, 4) long, N at least 1."""
    left, top = boxes[:, 0].min().item(), boxes[:, 1].min().item()
    width, height = int(boxes[:, 2].max() - left), int(boxes[:, 3].max() - top)
    seen = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in (boxes - torch.tensor([left, top, left, top])).tolist():
        seen[y0:y1, x0:x1] = True
    return int(seen.sum())


def _join(changes: Sequence[FrameChanges]) -> FrameChanges:
    """Return the blocks of all of some changes, which are of one pair."""
    cameras = [part.camera for part in changes if part.camera is not None]
    return replace(
        changes[0],
        boxes=torch.cat([part.boxes for part in changes]),
        displacement=torch.cat([part.displacement for part in changes]),
        kind=torch.cat([part.kind for part in changes]),
        score=torch.cat([part.score for part in changes]),
        matched=torch.cat([part.matched for part in changes]),
        confidence=torch.cat([part.confidence for part in changes]),
        camera=torch.cat(cameras) if cameras else None,
    )


def _motion(changes: FrameChanges) -> Tensor:
    """Return the displacements, NaN where there is no match."""
    known = changes.matched & changes.displacement.isfinite().all(dim=1)
    return changes.displacement.float().masked_fill(~known[:, None], torch.nan)


def _neighbours(boxes: Tensor, motion: Tensor, rows: Tensor) -> Tensor:
    """Return the pairs of a box of ``rows`` and one that touches it and moves alike, (2, E)."""
    top, bottom = boxes[rows, 1].min(), boxes[rows, 3].max()
    near = torch.nonzero((boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)).flatten()  # (M,)
    ours, others = boxes[rows, None], boxes[near]  # (R, 1, 4), (M, 4)
    # Lengths of the common stretches in x and y; less than zero is a gap.
    common = torch.minimum(ours[..., 2:], others[:, 2:])
    common = common - torch.maximum(ours[..., :2], others[:, :2])  # (R, M, 2)
    touch = (common >= 0).all(dim=-1) & (common > 0).any(dim=-1)
    i, j = touch.nonzero(as_tuple=True)
    i, j = rows[i], near[j]
    one, other = motion[i], motion[j]  # each (E, 2)
    longer = torch.maximum(one.norm(dim=1), other.norm(dim=1))
    alike = (one - other).norm(dim=1) <= (longer / 4).clamp_min(1)
    both_lost = one.isnan().any(dim=1) & other.isnan().any(dim=1)
    alike = alike | both_lost
    return torch.stack([i[alike], j[alike]])


def _merge(blocks: FrameChanges) -> FrameChanges:
    """Return one region of some blocks, as changes of length one."""
    weights = blocks.score.clamp_min(1e-6)
    corner0, corner1 = blocks.boxes[:, :2].amin(dim=0), blocks.boxes[:, 2:].amax(dim=0)
    motion = _motion(blocks)
    found = not motion.isnan().any()
    displacement = _median(motion if found else blocks.displacement, weights)
    camera = None if blocks.camera is None else _median(blocks.camera, weights)
    own = displacement if camera is None else displacement - camera.nan_to_num()
    kind = kind_of(own).clamp_min(Kind.ONE_PIXEL) if found else torch.tensor(Kind.LARGER)
    return replace(
        blocks,
        boxes=torch.cat([corner0, corner1])[None],
        displacement=displacement[None],
        kind=kind[None],
        score=blocks.score.max()[None],
        matched=torch.tensor([found]),
        confidence=((blocks.confidence * weights).sum() / weights.sum())[None],
        camera=None if camera is None else camera[None],
    )


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted median of each column of (N, 2): the first with half of the weight."""
    ordered, order = values.sort(dim=0)
    reached = weights[order].cumsum(dim=0) >= weights.sum() / 2
    first = reached.int().argmax(dim=0)  # (2,)
    return ordered.gather(0, first[None])[0]
