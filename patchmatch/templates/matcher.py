"""Template matching by QATM scores of deep features, with Hough voting for the centre."""

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.matcher import Matcher
from patchmatch.core.process import keep_freed_memory
from patchmatch.ops.boxes import box_iou
from patchmatch.ops.finite import require_finite
from patchmatch.templates.backbones import Backbone, require_stride
from patchmatch.templates.features import (
    NormalizedSceneFeatures,
    SceneFeatures,
    joint_normalization,
    suppress_box,
)
from patchmatch.templates.merging import merge_detections
from patchmatch.templates.outline import UNKNOWN_OUTLINE, find_outline
from patchmatch.templates.qatm import (
    LazyFeatures,
    PairScores,
    correlation_scores,
    qatm_scores,
    rank_scores,
)
from patchmatch.templates.results import Detections, SceneDetections, no_detections
from patchmatch.templates.scenes import TemplateScene, require_box
from patchmatch.templates.search import Location, TemplateSearch
from patchmatch.templates.template_features import (
    Pose,
    crop_box,
    extract_template_features,
    unsearchable_reason,
)
from patchmatch.templates.tuned_net import load_features

SCORES = ("qatm", "ncc", "soft_rank")


class TemplateMatcher(Matcher):
    """Find templates in scenes by deep features (after QATM, Cheng et al., CVPR 2019).

    Each cell of a template is matched to the cell of the scene with the highest score, and votes
    for the centre (Hough voting). Votes and scores together give the best location; the matches
    near it refine the centre and the size.

    Args:
        features: Feature extractor: vgg19, another network of torchvision, handcrafted (needs no
            weights), or a checkpoint (.ckpt) of PlaceMatcher, which holds weights and layers.
        weights: File with the weights of the network; null downloads those of torchvision.
        layers: Names of the network's layers in torchvision; null for the default layers of vgg19.
        stride: Side of a cell in pixels, 1, 2, 4 or 8. Stride 1 takes 20 to 50 times as long as 4.
        score: Score of a match: qatm, ncc (normalised cross-correlation) or soft_rank.
        alpha: Inverse temperature of qatm.
        threshold: Lowest score of a detection, from 0 to 1.
        max_detections: Maximum number of detections of each template.
        max_overlap: Maximum intersection over union of two detections; the better one is kept.
        scales: Scales of the template to search.
        rotations: Rotations of the template to search, in degrees, counter-clockwise. Each
            combination of a scale and a rotation is a search of its own.
        adapt_size: Whether to fit the size of a box to the matches.
        memory_mb: Megabytes of similarities to keep, if at least an eighth of all fits. The others
            are computed twice.
        features_mb: Megabytes of features of a scene to keep. The features of a larger scene are
            computed in strips, again for each of three passes.
        outlines: Whether to find the corners of the template in the scene by SIFT keypoints, for
            objects that are flat and have texture.
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
        outlines: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["weights"])  # the writer compares their values instead
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        require_stride(stride)
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
        self.adapt_size, self.outlines = adapt_size, outlines
        self.memory_mb, self.features_mb = memory_mb, features_mb
        self.poses = [Pose(scale, rotation) for scale, rotation in product(scales, rotations)]
        self.backbone: Backbone | None = None

    def configure_model(self) -> None:
        """Load the weights, on first use."""
        if self.backbone is None:
            backbone = load_features(self.features, self.weights_file, self.layers, self.stride)
            self.backbone = backbone.to(self.device)

    def predict_step(self, batch: TemplateScene, batch_idx: int) -> SceneDetections:
        """Return the detections of all templates in a scene, the best first."""
        if not batch["templates"]:
            reason = "the scene could not be read"
            return SceneDetections(
                source=batch["source"],
                scene=batch["scene_name"],
                templates=(),
                detections=no_detections(batch["scene"].shape[-2:], reason),
                template_index=torch.zeros(0, dtype=torch.long),
                reasons={},
                best_scores={},
            )
        require_finite(batch["scene"], "scene")
        for name, template in zip(batch["template_names"], batch["templates"], strict=True):
            require_finite(template, f"template {name}")
        scene = self.extract_features(batch["scene"])
        found = [
            self.detect(scene, template.to(self.device), mask, threshold, box)
            for template, mask, threshold, box in zip(
                *(batch[key] for key in ("templates", "masks", "thresholds", "boxes")), strict=True
            )
        ]
        return merge_detections(batch, found, self.max_overlap)

    def match(
        self,
        scene: Tensor,
        template: Tensor,
        mask: Tensor | None = None,
        box: Tensor | None = None,
    ) -> Detections:
        """Detect a template in a scene.

        Args:
            scene: (3, H, W) RGB in [0, 1].
            template: (3, h, w) RGB in [0, 1].
            mask: (h, w) bool, True for pixels of the object; None for all.
            box: (4,) xyxy of the object in the template in pixels; None for all of it.

        Returns:
            Detections, the best first.

        Raises:
            ValueError: If the scene or the template contains NaN or infinite values, or the box
                does not lie in the template.
        """
        if box is not None:
            require_box(box, template)
        require_finite(scene, "scene")
        require_finite(template, "template")
        scene, template = scene.to(self.device), template.to(self.device)
        return self.detect(self.extract_features(scene), template, mask, box=box)

    def extract_features(self, scene: Tensor) -> SceneFeatures:
        """Extract the features of a scene, (3, H, W) RGB in [0, 1], for any number of templates."""
        keep_freed_memory()
        self.configure_model()
        assert self.backbone is not None
        return SceneFeatures(self.backbone, scene.to(self.device), self.features_mb * 2**20)

    def detect(
        self,
        scene: SceneFeatures,
        template: Tensor,
        mask: Tensor | None = None,
        threshold: float | None = None,
        box: Tensor | None = None,
    ) -> Detections:
        """Detect a template in a scene.

        Args:
            scene: Features of the scene, from ``extract_features``.
            template: (3, h, w) RGB in [0, 1].
            mask: (h, w) bool, True for pixels of the object; None for all.
            threshold: Lowest score; None for that of the matcher.
            box: (4,) xyxy of the object in the template in pixels; None for all of it. What
                surrounds it helps to find it, so an image with a box is better than its crop.

        Returns:
            Detections, the best first.
        """
        lowest = self.threshold if threshold is None else threshold
        crop, crop_mask = crop_box(template, box), None if mask is None else crop_box(mask, box)
        reasons = {p: unsearchable_reason(scene.size, crop, crop_mask, p) for p in self.poses}
        poses = [pose for pose, reason in reasons.items() if not reason]
        if not poses:
            return no_detections(scene.size, next(iter(reasons.values())))
        found: list[Location] = []
        best_score = 0.0
        heatmap = torch.zeros(scene.grid)
        unsuppressed = torch.ones(scene.grid, dtype=torch.bool, device=template.device)
        with torch.inference_mode():
            searches = self._searches(scene, template, mask, poses, box)
            while len(found) < self.max_detections and unsuppressed.any():
                # Suppressed cells cannot match, but still count in the scores of the others.
                best = max((s.locate(unsuppressed) for s in searches), key=lambda s: s.score)
                heatmap = torch.maximum(heatmap, best.heatmap)
                best_score = max(best_score, best.score)
                boxes = torch.stack([best.box, *(location.box for location in found)])
                overlaps = (box_iou(boxes[:1], boxes[1:]) > self.max_overlap).any()
                if best.score < lowest or overlaps:
                    break
                found.append(best)
                suppress_box(unsuppressed, best.box, self.stride)
        heat = F.interpolate(heatmap[None, None], scale_factor=float(self.stride), mode="bilinear")
        boxes = torch.stack([one.box for one in found]).cpu() if found else torch.zeros(0, 4)
        outlines = [
            find_outline(scene.image, crop, crop_mask, one) if self.outlines else UNKNOWN_OUTLINE
            for one in boxes
        ]
        return Detections(
            boxes=boxes,
            scores=torch.tensor([one.score for one in found], dtype=torch.float32),
            heatmap=heat[0, 0, : scene.size[0], : scene.size[1]].cpu().clone(),
            scales=torch.tensor([one.scale for one in found], dtype=torch.float32),
            rotations=torch.tensor([one.rotation for one in found], dtype=torch.float32),
            outlines=torch.stack(outlines) if outlines else torch.zeros(0, 4, 2),
            best_score=best_score,
            reason="" if found else f"nothing scores {lowest:g} or more",
        ).sorted()

    def _searches(
        self,
        scene: SceneFeatures,
        template: Tensor,
        mask: Tensor | None,
        poses: Sequence[Pose],
        box: Tensor | None,
    ) -> list[TemplateSearch]:
        """Return a search for each pose of a template."""
        assert self.backbone is not None
        posed = [extract_template_features(self.backbone, template, mask, p, box) for p in poses]
        normalization = joint_normalization(scene.moments, posed[0].maps)
        features = NormalizedSceneFeatures(scene, normalization)
        return [
            TemplateSearch(
                features, one, self._scores(features, normalization.apply(one.maps), len(poses)),
                self.score == "qatm", self.adapt_size, len(poses),
            )
            for one in posed
        ]  # fmt: skip

    def _scores(self, scene: LazyFeatures, template: Tensor, num_poses: int) -> PairScores:
        """Return the scores of all pairs of features; the poses share the memory."""
        if self.score == "qatm":
            return qatm_scores(scene, template, self.alpha, self.memory_mb * 2**20 // num_poses)
        if self.score == "ncc":
            return correlation_scores(scene, template)
        return rank_scores(scene, template)
