"""Merging of adjacent blocks with similar motion into moving regions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchmatch.frames.results import FrameChanges, Kind, kind_of, rank

CHUNK = 512  # blocks compared with all others at once, to bound the memory


def merge_blocks(changes: FrameChanges) -> tuple[FrameChanges, Tensor]:
    """Merge touching or overlapping blocks with similar motion.

    Two displacements are similar if they differ by at most one pixel, or by at most a quarter of
    the longer one. Unmatched blocks are similar only to each other. Regions are the connected
    components of similar touching blocks. A region whose box lies inside the box of a larger one is
    part of that one: it counts in its area and score only.

    Args:
        changes: Blocks that changed, without still blocks.

    Returns:
        The regions in descending order of score, and the number of pixels covered by the blocks
        of each, (N,) long. A region of a single block equals that block. Otherwise its box is the
        union, its score the maximum, its confidence the mean weighted by the score, and its
        displacement and camera motion the medians weighted by the score. Its kind is that of the
        displacement, but at least ``ONE_PIXEL``, and ``LARGER`` if it is unmatched.
    """
    labels = connected_components(changes.boxes, _motion(changes))
    if not len(labels):
        return changes, labels
    members = labels.argsort(stable=True)
    groups = members.split(torch.unique(labels, return_counts=True)[1].tolist())
    boxes = torch.stack([_bounding_box(changes.boxes[group]) for group in groups])
    owner = _outermost(boxes)
    parts = owner.bincount(minlength=len(groups)).tolist()
    single, merged, areas = [], [], []
    for index in owner.unique().tolist():
        group = groups[index]
        if parts[index] == len(group) == 1:
            single.append(group)
            continue
        inside = group
        if parts[index] > 1:
            inside = torch.cat([groups[i] for i in torch.nonzero(owner == index).flatten()])
        region = changes[group] if len(group) == 1 else _merge_group(changes[group])
        merged.append(replace(region, score=changes.score[inside].max()[None]))
        areas.append(union_area(changes.boxes[inside]))
    unmerged = changes[torch.cat(single) if single else labels[:0]]
    sizes = unmerged.boxes[:, 2:] - unmerged.boxes[:, :2]
    regions = _concatenate([unmerged, *merged])
    area = torch.cat([sizes.prod(dim=1), torch.tensor(areas, dtype=torch.long)])
    order = rank(regions.score, regions.confidence)
    return regions[order], area[order]


def _bounding_box(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)])


def _outermost(boxes: Tensor) -> Tensor:
    """Return for each box the largest box that contains it, itself if there is none, (N,) long."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    owner = torch.arange(len(boxes))
    for index in area.argsort(descending=True, stable=True).tolist():
        if area[index] == area.min():
            break
        if owner[index] != index:
            continue  # what it contains is contained in its owner as well
        box = boxes[index]
        contained = (boxes[:, :2] >= box[:2]).all(dim=1) & (boxes[:, 2:] <= box[2:]).all(dim=1)
        contained &= (area < area[index]) & (owner == torch.arange(len(boxes)))
        owner[contained] = index
    return owner


def connected_components(boxes: Tensor, motion: Tensor) -> Tensor:
    """Label the connected components of boxes that touch and have similar motion.

    Boxes that share only a corner do not touch.

    Args:
        boxes: (N, 4), xyxy in pixels, half-open.
        motion: (N, 2), dx and dy in pixels; NaN where unknown.

    Returns:
        (N,) long: the lowest box index of the component.
    """
    labels = torch.arange(len(boxes), device=boxes.device)
    if not len(boxes):
        return labels
    order = boxes[:, 1].argsort(stable=True)
    edges = [_similar_neighbours(boxes, motion, rows) for rows in order.split(CHUNK)]
    i, j = torch.cat(edges, dim=1)  # each (E,)
    while True:
        smaller = labels.scatter_reduce(0, i, labels[j], "amin")
        smaller = smaller[smaller]  # pointer jumping shortens long chains
        if torch.equal(smaller, labels):
            return labels
        labels = smaller


def union_area(boxes: Tensor) -> int:
    """Return the number of pixels in the union of boxes, (N, 4) long with N at least 1."""
    left, top = boxes[:, 0].min().item(), boxes[:, 1].min().item()
    width, height = int(boxes[:, 2].max() - left), int(boxes[:, 3].max() - top)
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in (boxes - torch.tensor([left, top, left, top])).tolist():
        mask[y0:y1, x0:x1] = True
    return int(mask.sum())


def _concatenate(changes: Sequence[FrameChanges]) -> FrameChanges:
    """Concatenate the blocks of changes of the same pair."""
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
    """Return the displacements, NaN where unmatched."""
    known = changes.matched & changes.displacement.isfinite().all(dim=1)
    return changes.displacement.float().masked_fill(~known[:, None], torch.nan)


def _similar_neighbours(boxes: Tensor, motion: Tensor, rows: Tensor) -> Tensor:
    """Return index pairs of a box in ``rows`` and a touching box with similar motion, (2, E)."""
    top, bottom = boxes[rows, 1].min(), boxes[rows, 3].max()
    near = torch.nonzero((boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)).flatten()  # (M,)
    boxes0, boxes1 = boxes[rows, None], boxes[near]  # (R, 1, 4), (M, 4)
    # Length of the intersection in x and y; negative for a gap.
    overlap = torch.minimum(boxes0[..., 2:], boxes1[:, 2:])
    overlap = overlap - torch.maximum(boxes0[..., :2], boxes1[:, :2])  # (R, M, 2)
    touch = (overlap >= 0).all(dim=-1) & (overlap > 0).any(dim=-1)
    i, j = touch.nonzero(as_tuple=True)
    i, j = rows[i], near[j]
    motion0, motion1 = motion[i], motion[j]  # each (E, 2)
    longer = torch.maximum(motion0.norm(dim=1), motion1.norm(dim=1))
    similar = (motion0 - motion1).norm(dim=1) <= (longer / 4).clamp_min(1)
    similar |= motion0.isnan().any(dim=1) & motion1.isnan().any(dim=1)
    return torch.stack([i[similar], j[similar]])


def _merge_group(blocks: FrameChanges) -> FrameChanges:
    """Merge blocks into one region, as changes of length one."""
    weights = blocks.score.clamp_min(1e-6)
    corner0, corner1 = blocks.boxes[:, :2].amin(dim=0), blocks.boxes[:, 2:].amax(dim=0)
    motion = _motion(blocks)
    matched = not motion.isnan().any()
    displacement = _weighted_median(motion if matched else blocks.displacement, weights)
    camera = None if blocks.camera is None else _weighted_median(blocks.camera, weights)
    kind = kind_of(displacement).clamp_min(Kind.ONE_PIXEL) if matched else torch.tensor(Kind.LARGER)
    return replace(
        blocks,
        boxes=torch.cat([corner0, corner1])[None],
        displacement=displacement[None],
        kind=kind[None],
        score=blocks.score.max()[None],
        matched=torch.tensor([matched]),
        confidence=((blocks.confidence * weights).sum() / weights.sum())[None],
        camera=None if camera is None else camera[None],
    )


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the lower weighted median of each column of (N, 2)."""
    ordered, order = values.sort(dim=0)
    half = weights[order].cumsum(dim=0) >= weights.sum() / 2
    first = half.int().argmax(dim=0)  # (2,)
    return ordered.gather(0, first[None])[0]
