"""Lightning module of stereo matching: training of the features, and prediction."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.ops.luma import to_gray
from patchmatch.stereo.aggregation import Aggregation, aggregate_disparity, narrow_range
from patchmatch.stereo.checks import inspect_pair, require_pair
from patchmatch.stereo.data import StereoBatch
from patchmatch.stereo.net import (
    CensusFeatures,
    StereoFeatures,
    quantize_features,
    row_logits,
    row_loss,
)
from patchmatch.stereo.pairs import StereoPair
from patchmatch.stereo.refinement import (
    MULTIPLE,
    DisparityRefinementNet,
    FirstEstimate,
    refinement_loss,
)
from patchmatch.stereo.results import Disparity

#: Options of prediction, which do not depend on training and are not stored in checkpoints.
OPTIONS = (
    *("max_disparity", "prune", "candidates", "features"),
    *("refine", "iterations", "particles", "trained"),
)
TRAIN_ROWS = 32  # rows of a pair that the loss compares: bounds the memory


class StereoMatcher(Matcher):
    """Disparity of rectified pairs: learned patch features and semi-global aggregation.

    Args:
        channels: Number of features of a pixel.
        layers: Number of 3x3 convolutions.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        max_disparity: Largest disparity in pixels; null estimates it for each pair.
        prune: Search the whole range at half the size only, and a narrow one at full size.
        candidates: Disparities of a pixel at full size after pruning.
        features: ``learned``, the trained network, or ``census``, hand-crafted.
        refine: Fill the pixels that fail the left-right check by the refinement network.
        iterations: Iterations of the refinement network.
        particles: Particles of Differentiable PatchMatch in it, to which it prunes the range; 0
            compares all disparities of the range.
        trained: What ``fit`` trains: ``refinement``, or ``features`` (MC-CNN).
    """

    shipped_weights = "stereo_matcher.ckpt"
    predict_config = "config_stereo_predict.yaml"
    predict_source = "--data.pairs FOLDER_OR_TABLE"

    def __init__(
        self,
        channels: int = 32,
        layers: int = 5,
        lr: float = 4e-3,
        weight_decay: float = 1e-4,
        max_disparity: int | None = None,
        prune: bool = False,
        candidates: int = 16,
        features: str = "census",
        refine: bool = False,
        iterations: int = 3,
        particles: int = 2,
        trained: str = "refinement",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(OPTIONS))
        positive = {"channels": channels, "layers": layers, "max_disparity": max_disparity}
        for name, value in positive.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if candidates < 4:
            raise ValueError(f"candidates must be at least 4, got {candidates}")
        if features not in ("learned", "census"):
            raise ValueError(f"features must be learned or census, got {features!r}")
        if trained not in ("refinement", "features"):
            raise ValueError(f"trained must be refinement or features, got {trained!r}")
        self.features, self.census = features, CensusFeatures()
        self.max_disparity, self.prune, self.candidates = max_disparity, prune, candidates
        self.aggregation = Aggregation()
        self.net = StereoFeatures(channels, layers)
        self.refine, self.iterations, self.particles = refine, iterations, particles
        self.trained = trained
        self.refinement = DisparityRefinementNet(iterations=iterations, particles=particles)
        idle = self.net if trained == "refinement" else self.refinement
        idle.requires_grad_(False)
        self.lr, self.weight_decay = lr, weight_decay

    def training_step(self, batch: StereoBatch, batch_idx: int) -> Tensor:
        """Return the error of the refinement, or the cross-entropy of the features."""
        loss, wrong = self._loss(batch)
        count = len(batch["image0"])
        self.log("train/loss", loss, batch_size=count)
        self.log("train/bad_2", wrong, batch_size=count, prog_bar=True)
        return loss

    def validation_step(self, batch: StereoBatch, batch_idx: int) -> None:
        """Log the loss, and the share of visible pixels off by more than two pixels."""
        self._evaluate("val", batch)

    def test_step(self, batch: StereoBatch, batch_idx: int) -> None:
        """Log the same for the test set."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: StereoBatch) -> None:
        loss, wrong = self._loss(batch)
        count = len(batch["image0"])
        self.log(f"{stage}/loss", loss, batch_size=count, on_epoch=True)
        self.log(f"{stage}/bad_2", wrong, batch_size=count, on_epoch=True, prog_bar=True)

    def _loss(self, batch: StereoBatch) -> tuple[Tensor, Tensor]:
        """Return the loss, and the share of pixels off by more than two pixels."""
        if self.trained == "features":
            return self._features_loss(batch)
        image0, image1, truth = batch["image0"], batch["image1"], batch["disparity"]
        known = torch.isfinite(truth)
        largest = math.ceil(float(torch.nan_to_num(truth).max())) + 8
        first = self._first_estimate(image0, image1, largest)
        loss, last = refinement_loss(self.refinement(image0, image1, first, largest), truth)
        return loss, ((last.detach()[:, 0] - truth).abs()[known] > 2).float().mean()

    @torch.no_grad()
    def _first_estimate(self, image0: Tensor, image1: Tensor, max_disparity: int) -> FirstEstimate:
        """Return the disparity at half the size by semi-global matching."""
        half0, half1 = (F.avg_pool2d(image, 2) for image in (image0, image1))
        found = [
            self._aggregate(a[None], b[None], None, max_disparity // 2 + 2)[:2]
            for a, b in zip(half0, half1, strict=True)
        ]
        disparity, confidence = (
            torch.from_numpy(np.stack(x))[:, None].to(image0.device)
            for x in zip(*found, strict=True)
        )
        return FirstEstimate(disparity, confidence)

    def _features_loss(self, batch: StereoBatch) -> tuple[Tensor, Tensor]:
        count, _, height, width = batch["image0"].shape
        features = self.net(torch.cat([batch["image0"], batch["image1"]]))
        rows = torch.linspace(0, height - 1, min(TRAIN_ROWS, height)).long()
        picked = features[:, :, rows].transpose(1, 2)  # (2 B, R, C, W)
        first, second = picked[:count].flatten(0, 1), picked[count:].flatten(0, 1)
        disparity = torch.nan_to_num(batch["disparity"])[:, rows].flatten(0, 1)
        visible = batch["visible"][:, rows].flatten(0, 1)
        reach = min(width - 1, int(torch.nan_to_num(batch["disparity"]).amax()) + 16)
        logits = row_logits(first, second, self.net.log_sharpness.exp(), reach)
        return row_loss(logits, disparity, visible)

    def predict_step(self, batch: StereoPair, batch_idx: int) -> list[Disparity]:
        """Return the disparity of a pair."""
        if not batch["pairs"]:
            return []
        try:
            found = self.measure(batch["image0"], batch["image1"], self.max_disparity)
        except InputError as error:
            batch["notes"].append(f"{batch['name']}: {error}")
            batch["pairs"] = []
            return []
        batch["notes"] += [f"{batch['name']}: {note}" for note in found.notes]
        return [found]

    @torch.inference_mode()
    def measure(
        self, image0: Tensor, image1: Tensor, max_disparity: int | None = None
    ) -> Disparity:
        """Measure the disparity of a rectified pair.

        Args:
            image0: Left image, (1, 1 or 3, H, W) float in [0, 1].
            image1: Right image, of the same size.
            max_disparity: Largest disparity in pixels; None estimates it.

        Raises:
            InputError: If the images differ in size, are smaller than 32 pixels or are the same.
        """
        require_pair(image0, image1)
        notes = inspect_pair(image0, image1)
        width = image0.shape[3]
        if max_disparity is None:
            max_disparity = self._estimate_range(image0, image1)
        max_disparity = max(1, min(max_disparity, width - 1))
        count, low = max_disparity + 1, None
        if self.prune and count > 2 * self.candidates:
            estimate = self._search_half(image0, image1, count)
            low, count = narrow_range(estimate, self.candidates), self.candidates
        disparity, confidence, consistent = self._aggregate(image0, image1, low, count)
        if self.refine:
            refined = self._refine(image0, image1, max_disparity)
            disparity = np.where(consistent, disparity, refined)
        return Disparity(
            disparity=disparity,
            confidence=confidence,
            consistent=consistent,
            max_disparity=max_disparity,
            candidates=count,
            notes=tuple(notes),
        )

    def _search_half(self, image0: Tensor, image1: Tensor, count: int) -> np.ndarray:
        """Return the disparity (H, W) in pixels from a search of the range at half the size."""
        half0, half1 = (F.interpolate(x, scale_factor=0.5, mode="area") for x in (image0, image1))
        coarse = self._aggregate(half0, half1, None, (count - 1) // 2 + 1)[0]
        height, width = image0.shape[2:]
        return 2 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)

    def _refine(self, image0: Tensor, image1: Tensor, max_disparity: int) -> np.ndarray:
        """Return the disparity (H, W) in pixels of the refinement network."""
        height, width = image0.shape[2:]
        pad = [0, -width % MULTIPLE, 0, -height % MULTIPLE]
        image0, image1 = (
            F.pad(image.expand(-1, 3, -1, -1), pad, mode="replicate").to(self.device)
            for image in (image0, image1)
        )
        first = self._first_estimate(image0, image1, max_disparity)
        *_, last = self.refinement(image0, image1, first, max_disparity)
        found = last.disparity[0, 0, :height, :width].clamp(0, max_disparity)
        return np.ascontiguousarray(found.float().cpu().numpy())

    def _aggregate(
        self, image0: Tensor, image1: Tensor, low: np.ndarray | None, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return disparity, confidence and consistency (H, W)."""
        extract = self.net if self.features == "learned" else self.census
        features0, features1 = (
            quantize_features(extract(image.to(self.device))) for image in (image0, image1)
        )
        gray = to_gray(image0)
        gray = np.ascontiguousarray(gray[0, 0].cpu().float().numpy())
        if low is None:
            low = np.zeros(gray.shape, np.int16)
        return aggregate_disparity(features0, features1, gray, low, count, self.aggregation)

    def _estimate_range(self, image0: Tensor, image1: Tensor) -> int:
        """Return a disparity that few pixels exceed, from a search at a quarter of the size."""
        factor = max(1, min(4, min(image0.shape[-2:]) // 16))
        small0, small1 = (F.avg_pool2d(image, factor) for image in (image0, image1))
        count = max(2, small0.shape[3] // 2)
        disparity, _, consistent = self._aggregate(small0, small1, None, count)
        if not consistent.any():
            return image0.shape[3] // 4
        return math.ceil(factor * (float(np.percentile(disparity[consistent], 99.5)) + 1.5)) + 2
