"""Finding a template in a scene by the unambiguous matches of deep features."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from patchmatch.data.template_scenes import TemplateScene
from patchmatch.matchers.base import Matcher, keep_freed_memory
from patchmatch.matchers.template_features import (
    DescribedScene,
    DescribedTemplate,
    cover,
    describe_template,
    unite,
    why_not,
)
from patchmatch.nets import Backbone, load_features
from patchmatch.ops import (
    Matched,
    box_mean,
    cast_votes,
    correlation_quality,
    fit_scaled_shift,
    qatm_quality,
    rank_quality,
)
from patchmatch.results import Detections, SceneDetections

SCORES = ("qatm", "ncc", "soft_rank")
BLUR = 0.12  # of the votes, in sizes of the template
REACH = 0.3  # of the matches that refine a detection, in sizes of the template
LEAST_VOTES = 1e-3  # so that places without votes are still told apart
# Logistic regression, dev/benchmark_templates.py: of 1, the log share of votes, the log number of
# features, the mean log quality of the template and that of the box.
_CONFIDENCE = (8.43, 3.29, 2.94, 2.38, 4.72)
_CONFIDENCE_BY_VOTES = (4.61, 4.81, 1.1)


class _Winner(NamedTuple):
    """The best place of a template at one of its scales."""

    box: Tensor  #: (4,) xyxy in pixels
    score: float
    heatmap: Tensor  #: (rows, columns) of the scene's cells


class TemplateMatcher(Matcher):
    """Find templates in scenes by deep features (after QATM, Cheng et al., CVPR 2019).

    Every cell of a template votes for the centre, from the cell of the scene that it matches least
    ambiguously. The best place unites the votes and the quality of the matches; the matches near
    it refine place and size.

    Args:
        features: vgg19, another network of torchvision, handcrafted, which needs no weights, or a
            checkpoint (.ckpt) of a PlaceMatcher, which brings weights and layers with it.
        weights: File with the weights of the network; null lets torchvision download them.
        layers: Names of the network's layers in torchvision; null for those proven for vgg19.
        stride: Side of a cell in pixels. 1 compares every pixel, and takes hundreds of times as
            long.
        score: qatm, ncc (normalised cross-correlation) or soft_rank.
        alpha: Inverse temperature of qatm.
        threshold: Least score of a detection, from 0 to 1.
        max_detections: Most detections of each template.
        max_overlap: Of detections that overlap more, intersection over union, the best stays.
        scales: Sizes of the template to try.
        adapt_size: Whether the size of a box follows what matched.
        memory_mb: Megabytes of similarities to keep; the rest is computed twice.
    """

    predict_config = "config_template_predict.yaml"

    def __init__(
        self,
        features: str = "vgg19",
        weights: str | None = None,
        layers: Sequence[str] | None = None,
        stride: int = 4,
        score: str = "qatm",
        alpha: float = 25.0,
        threshold: float = 0.5,
        max_detections: int = 5,
        max_overlap: float = 0.3,
        scales: Sequence[float] = (1.0,),
        adapt_size: bool = True,
        memory_mb: int = 512,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["weights"])  # read, they are told by their values
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        if stride not in (1, 2, 4, 8):
            raise ValueError(f"stride must be 1, 2, 4 or 8 pixels, got {stride}")
        if alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {alpha}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        if max_detections < 1:
            raise ValueError(f"max_detections must be at least 1, got {max_detections}")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be one or more numbers above 0, got {tuple(scales)}")
        self.features, self.weights_file, self.layers = features, weights, layers
        self.stride, self.score, self.alpha, self.threshold = stride, score, alpha, threshold
        self.max_detections, self.max_overlap = max_detections, max_overlap
        self.scales, self.adapt_size, self.memory_mb = tuple(scales), adapt_size, memory_mb
        self.backbone: Backbone | None = None

    def configure_model(self) -> None:
        """Read the weights, now that they are needed."""
        if self.backbone is None:
            backbone = load_features(self.features, self.weights_file, self.layers, self.stride)
            self.backbone = backbone.to(self.device)

    def predict_step(self, batch: TemplateScene, batch_idx: int) -> SceneDetections:
        """Return what was found of every template of a scene, the best first."""
        keep_freed_memory()
        if not batch["templates"]:
            return _merge(batch, [], self.max_overlap)
        described = self.describe(batch["scene"])
        found = [
            self.find(described, template.to(self.device), mask, threshold)
            for template, mask, threshold in zip(
                batch["templates"], batch["masks"], batch["thresholds"], strict=True
            )
        ]
        return _merge(batch, found, self.max_overlap)

    def match(self, scene: Tensor, template: Tensor, mask: Tensor | None = None) -> Detections:
        """Find a template.

        Args:
            scene: (3, H, W) RGB in [0, 1].
            template: (3, h, w), of the same kind.
            mask: (h, w) bool, where the template counts; None for all of it.

        Returns:
            Detections, the best first.
        """
        scene, template = scene.to(self.device), template.to(self.device)
        return self.find(self.describe(scene), template, mask)

    def describe(self, scene: Tensor) -> DescribedScene:
        """Describe a scene, (3, H, W), once for all templates."""
        self.configure_model()
        assert self.backbone is not None
        with torch.inference_mode():
            maps = [features[0] for features in self.backbone(scene[None].to(self.device))]
        return DescribedScene(
            (scene.shape[-2], scene.shape[-1]),
            (maps[0].shape[-2], maps[0].shape[-1]),
            [features.flatten(1).T for features in maps],  # (S, D) each
        )

    def find(
        self,
        scene: DescribedScene,
        template: Tensor,
        mask: Tensor | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Find a template in a scene that was described before.

        Args:
            scene: From ``describe``.
            template: (3, h, w) RGB in [0, 1].
            mask: (h, w) bool, where the template counts; None for all of it.
            threshold: Least score; None for the matcher's own.
        """
        least = self.threshold if threshold is None else threshold
        reasons = [why_not(scene.size, template, mask, scale) for scale in self.scales]
        if all(reasons):
            return _nothing(scene.size, reasons[0])
        assert self.backbone is not None
        boxes: list[Tensor] = []
        scores: list[float] = []
        heatmap = torch.zeros(scene.grid)
        free = torch.ones(scene.grid, dtype=torch.bool, device=template.device)
        with torch.inference_mode():
            sizes = [k for k in self.scales if not why_not(scene.size, template, mask, k)]
            described = [describe_template(self.backbone, template, mask, k) for k in sizes]
            while len(boxes) < self.max_detections and free.any():
                # The next one must do without the cells of those before, yet compete with them.
                winners = [self._locate(scene, free, one) for one in described]
                best = max(winners, key=lambda winner: winner.score)
                heatmap = torch.maximum(heatmap, best.heatmap)
                known = torch.stack(boxes) if boxes else best.box.new_zeros(0, 4)
                if best.score < least or (box_iou(best.box[None], known) > self.max_overlap).any():
                    break
                boxes.append(best.box)
                scores.append(best.score)
                cover(free, best.box, self.stride)
        heat = F.interpolate(heatmap[None, None], scale_factor=float(self.stride), mode="bilinear")
        return Detections(
            torch.stack(boxes).cpu() if boxes else torch.zeros(0, 4),
            torch.tensor(scores),
            heat[0, 0, : scene.size[0], : scene.size[1]].cpu().clone(),
            "" if boxes else f"nothing scores {least:g} or more",
        ).sorted()

    def _locate(self, scene: DescribedScene, free: Tensor, template: DescribedTemplate) -> _Winner:
        """Return the best place of a template among the cells that are free."""
        scene_features, template_features = unite(scene.maps, template.maps)
        allowed = None if free.all() else free.flatten()
        matched = self._match(scene_features, template_features, allowed)
        columns = scene.grid[1]
        place = matched.place
        places = torch.stack([place % columns, place // columns], dim=1).to(template.offsets)
        height, width = (side / self.stride for side in template.size)
        extent = math.sqrt(height * width)
        votes = cast_votes(places - template.offsets, scene.grid, max(1.0, BLUR * extent))
        lowest = matched.scene[free.flatten()].amin()
        quality = matched.scene.clamp_min(lowest.item())
        size = (max(1, round(height)), max(1, round(width)))
        quality = box_mean(quality.view(scene.grid), size)
        total = quality + 0.5 * (votes + LEAST_VOTES).log()
        total = total.masked_fill(~free, -math.inf)
        row, column = divmod(int(total.argmax()), columns)
        start = places.new_tensor([column, row])
        fit = fit_scaled_shift(
            places, template.offsets, start, max(2.0, REACH * extent),
            limits=(0.7, 1.4) if self.adapt_size else (1.0, 1.0),
        )  # fmt: skip
        score = self._confidence(votes[row, column], quality[row, column], matched)
        centre = (fit.centre + 0.5) * self.stride
        half = centre.new_tensor([template.size[1], template.size[0]]) * fit.scale / 2
        return _Winner(torch.cat([centre - half, centre + half]), score, votes.sqrt().cpu())

    def _match(self, scene: Tensor, template: Tensor, free: Tensor | None) -> Matched:
        if self.score == "qatm":
            return qatm_quality(scene, template, self.alpha, self.memory_mb * 2**20, free)
        if self.score == "ncc":
            return correlation_quality(scene, template, free)
        return rank_quality(scene, template, free=free)

    def _confidence(self, votes: Tensor, quality: Tensor, matched: Matched) -> float:
        """Return how probably the template is at the best place, by logistic regression."""
        count = math.log(len(matched.template))
        seen = [1.0, math.log(votes.item() + 0.01), count]
        if self.score == "qatm":
            seen += [matched.template.mean().item(), quality.item()]
        weights = _CONFIDENCE if self.score == "qatm" else _CONFIDENCE_BY_VOTES
        evidence = sum(w * value for w, value in zip(weights, seen, strict=True))
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, evidence))))


def _nothing(size: Sequence[int], reason: str) -> Detections:
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(*size), reason)


def _merge(
    batch: TemplateScene, found: Sequence[Detections], max_overlap: float
) -> SceneDetections:
    """Unite what was found of all templates; where two claim a place, the better one has it."""
    if not found:
        nothing = _nothing(batch["scene"].shape[-2:], "the scene could not be read")
        which = torch.zeros(0, dtype=torch.long)
        return SceneDetections(batch["source"], batch["scene_name"], (), nothing, which, {})
    boxes = torch.cat([one.boxes for one in found])
    scores = torch.cat([one.scores for one in found])
    which = torch.cat([torch.full((len(one),), i) for i, one in enumerate(found)])
    keep = nms(boxes, scores, max_overlap)
    reasons = {
        name: one.reason
        for name, one in zip(batch["template_names"], found, strict=True)
        if one.reason
    }
    heatmaps = torch.stack([one.heatmap for one in found])
    return SceneDetections(
        batch["source"],
        batch["scene_name"],
        tuple(batch["template_names"]),
        Detections(boxes[keep], scores[keep], heatmaps.amax(dim=0)),
        which[keep],
        reasons,
    )
