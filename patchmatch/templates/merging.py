"""Merging of the detections of several templates in one scene."""

import functools
from collections.abc import Sequence

import torch
from torchvision.ops import nms

from patchmatch.templates.results import OF_EACH, Detections, SceneDetections
from patchmatch.templates.scenes import TemplateScene


def merge_detections(
    batch: TemplateScene, found: Sequence[Detections], max_overlap: float
) -> SceneDetections:
    """Merge the detections of all templates by non-maximum suppression."""
    names = batch["template_names"]
    boxes, scores, scales, rotations, outlines = (
        torch.cat([getattr(one, name) for one in found]) for name in OF_EACH
    )
    merged = Detections(
        boxes=boxes,
        scores=scores,
        heatmap=functools.reduce(torch.maximum, (one.heatmap for one in found)),
        scales=scales,
        rotations=rotations,
        outlines=outlines,
    )
    index = torch.cat([torch.full((len(one),), i) for i, one in enumerate(found)])
    keep = nms(boxes, scores, max_overlap)
    reasons = {name: one.reason for name, one in zip(names, found, strict=True) if one.reason}
    for lost in sorted(set(index.tolist()) - set(index[keep].tolist())):
        reasons[names[lost]] = "another template has a higher score at the same location"
    return SceneDetections(
        source=batch["source"],
        scene=batch["scene_name"],
        templates=tuple(names),
        detections=merged[keep],
        template_index=index[keep],
        reasons=reasons,
        best_scores={name: found[names.index(name)].best_score for name in reasons},
    )
