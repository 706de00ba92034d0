"""Finding a template in a scene by the unambiguous matches of deep features."""

import functools
import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from patchmatch.core.matcher import Matcher
from patchmatch.core.process import keep_freed_memory
from patchmatch.templates.backbones import Backbone
from patchmatch.templates.features import (
    DescribedScene,
    Moments,
    Pose,
    SceneFeatures,
    cover,
    describe_template,
    why_not,
)
from patchmatch.templates.qatm import (
    FeatureRows,
    Scores,
    correlation_scores,
    qatm_scores,
    rank_scores,
)
from patchmatch.templates.results import Detections, SceneDetections
from patchmatch.templates.scenes import TemplateScene
from patchmatch.templates.search import Search, Winner
from patchmatch.templates.tuned_net import load_features

SCORES = ("qatm", "ncc", "soft_rank")


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
        stride: Side of a cell in pixels. 1 compares every pixel, and takes 20 to 50 times as
            long.
        score: qatm, ncc (normalised cross-correlation) or soft_rank.
        alpha: Inverse temperature of qatm.
        threshold: Least score of a detection, from 0 to 1.
        max_detections: Most detections of each template.
        max_overlap: Of detections that overlap more, intersection over union, the best stays.
        scales: Sizes of the template to try.
        rotations: Degrees by which to turn the template, counter-clockwise as one sees it. Each
            scale with each rotation is one more search.
        adapt_size: Whether the size of a box follows what matched.
        memory_mb: Megabytes of similarities to keep, if an eighth fits; the rest is computed twice.
        features_mb: Megabytes of features of a scene to keep; where they would be more, they are
            described strip by strip, anew for each pass over the scene.
    """

    needs_float32 = True
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
        rotations: Sequence[float] = (0.0,),
        adapt_size: bool = True,
        memory_mb: int = 512,
        features_mb: int = 2048,
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
        if not rotations or not all(map(math.isfinite, rotations)):
            raise ValueError(f"rotations must be one or more angles, got {tuple(rotations)}")
        if memory_mb < 0:
            raise ValueError(f"memory_mb must be at least 0, got {memory_mb}")
        if features_mb < 0:
            raise ValueError(f"features_mb must be at least 0, got {features_mb}")
        self.features, self.weights_file, self.layers = features, weights, layers
        self.stride, self.score, self.alpha, self.threshold = stride, score, alpha, threshold
        self.max_detections, self.max_overlap = max_detections, max_overlap
        self.adapt_size = adapt_size
        self.memory_mb, self.features_mb = memory_mb, features_mb
        self.poses = [Pose(scale, rotation) for scale, rotation in product(scales, rotations)]
        self.backbone: Backbone | None = None

    def configure_model(self) -> None:
        """Read the weights, now that they are needed."""
        if self.backbone is None:
            backbone = load_features(self.features, self.weights_file, self.layers, self.stride)
            self.backbone = backbone.to(self.device)

    def predict_step(self, batch: TemplateScene, batch_idx: int) -> SceneDetections:
        """Return what was found of every template of a scene, the best first."""
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

        Raises:
            ValueError: If the scene or the template holds values that are no numbers.
        """
        for name, image in (("scene", scene), ("template", template)):
            if not torch.isfinite(image).all():
                raise ValueError(f"{name} holds values that are no numbers (NaN or infinite)")
        scene, template = scene.to(self.device), template.to(self.device)
        return self.find(self.describe(scene), template, mask)

    def describe(self, scene: Tensor) -> DescribedScene:
        """Describe a scene, (3, H, W), once for all templates."""
        keep_freed_memory()
        self.configure_model()
        assert self.backbone is not None
        return DescribedScene(self.backbone, scene.to(self.device), self.features_mb * 2**20)

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
        reasons = {pose: why_not(scene.size, template, mask, pose) for pose in self.poses}
        poses = [pose for pose, reason in reasons.items() if not reason]
        if not poses:
            return _nothing(scene.size, next(iter(reasons.values())))
        found: list[Winner] = []
        heatmap = torch.zeros(scene.grid)
        free = torch.ones(scene.grid, dtype=torch.bool, device=template.device)
        with torch.inference_mode():
            searches = self._searches(scene, template, mask, poses)
            while len(found) < self.max_detections and free.any():
                # The next one must do without the cells of those before, yet compete with them.
                winners = [search.locate(free) for search in searches]
                best = max(winners, key=lambda winner: winner.score)
                heatmap = torch.maximum(heatmap, best.heatmap)
                known = torch.stack([best.box, *(one.box for one in found)])
                is_double = (box_iou(known[:1], known[1:]) > self.max_overlap).any()
                if best.score < least or is_double:
                    break
                found.append(best)
                cover(free, best.box, self.stride)
        heat = F.interpolate(heatmap[None, None], scale_factor=float(self.stride), mode="bilinear")
        return Detections(
            torch.stack([one.box for one in found]).cpu() if found else torch.zeros(0, 4),
            torch.tensor([one.score for one in found], dtype=torch.float32),
            heat[0, 0, : scene.size[0], : scene.size[1]].cpu().clone(),
            torch.tensor([one.rotation for one in found], dtype=torch.float32),
            "" if found else f"nothing scores {least:g} or more",
        ).sorted()

    def _searches(
        self, scene: DescribedScene, template: Tensor, mask: Tensor | None, poses: Sequence[Pose]
    ) -> list[Search]:
        """Begin to search for a template in some poses."""
        assert self.backbone is not None
        described = [describe_template(self.backbone, template, mask, pose) for pose in poses]
        evening = scene.moments.join(Moments.of(described[0].maps)).evening()
        features = SceneFeatures(scene, evening)
        return [
            Search(
                scene, one, self._compare(features, evening.unite(one.maps), len(poses)),
                self.score == "qatm", self.adapt_size, len(poses),
            )
            for one in described
        ]  # fmt: skip

    def _compare(self, scene: FeatureRows, template: Tensor, count: int) -> Scores:
        """Return the scores of features of the scene with those of one of ``count`` poses."""
        if self.score == "qatm":
            return qatm_scores(scene, template, self.alpha, self.memory_mb * 2**20 // count)
        if self.score == "ncc":
            return correlation_scores(scene, template)
        return rank_scores(scene, template)


def _nothing(size: Sequence[int], reason: str) -> Detections:
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(*size), torch.zeros(0), reason)


def _merge(
    batch: TemplateScene, found: Sequence[Detections], max_overlap: float
) -> SceneDetections:
    """Unite what was found of all templates; where two claim a place, the better one has it."""
    if not found:
        nothing = _nothing(batch["scene"].shape[-2:], "the scene could not be read")
        which = torch.zeros(0, dtype=torch.long)
        return SceneDetections(batch["source"], batch["scene_name"], (), nothing, which, {})
    names = batch["template_names"]
    boxes = torch.cat([one.boxes for one in found])
    scores = torch.cat([one.scores for one in found])
    rotations = torch.cat([one.rotations for one in found])
    which = torch.cat([torch.full((len(one),), i) for i, one in enumerate(found)])
    keep = nms(boxes, scores, max_overlap)
    reasons = {name: one.reason for name, one in zip(names, found, strict=True) if one.reason}
    for lost in sorted(set(which.tolist()) - set(which[keep].tolist())):
        reasons[names[lost]] = "another template scores more in its place"
    heatmap = functools.reduce(torch.maximum, (one.heatmap for one in found))
    united = Detections(boxes[keep], scores[keep], heatmap, rotations[keep])
    return SceneDetections(
        batch["source"], batch["scene_name"], tuple(names), united, which[keep], reasons
    )
