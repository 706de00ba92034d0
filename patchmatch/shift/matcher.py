"""Lightning module of the shift matcher: training, patch matching and block matching."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from patchmatch.core.clips import Clip
from patchmatch.core.matcher import (
    FRAMES_OPTION,
    Matcher,
    drop_small_pairs,
    pairs_of_features,
)
from patchmatch.core.process import keep_freed_memory
from patchmatch.frames.results import FrameChanges, Kind, PatchMatches, score_of_length
from patchmatch.ops.blocks import block_boxes
from patchmatch.ops.finite import require_finite_each
from patchmatch.shift.correlation import CorrelationNet
from patchmatch.shift.decision import (
    TEMPERATURE,
    decide,
    discount_noise,
    noise_variance,
    ranking_length,
)
from patchmatch.shift.energy import EnergyNet
from patchmatch.shift.metrics import ExactShiftAccuracy, count_exact_shifts
from patchmatch.shift.net import CLASSES, VARIANCE_EPS, BlockScores, FrameFeatures
from patchmatch.shift.ops import STILL
from patchmatch.shift.pairs import PairBatch

NETS = {"energy": EnergyNet, "correlation": CorrelationNet}
MIN_BLOCK = 8  # pixels: the window of a smaller block has fewer than 6x6 pixels
MAX_PIXELS = 4_000_000  # of the pairs in one call on a GPU: bounds the memory
MAX_PATCHES = 4096  # patch pairs in one forward pass: bounds the memory


class ShiftMatcher(Matcher):
    """Block matching between two frames by a small 3D convolution.

    The network is trained on generated patch pairs (self-supervised). The same weights apply to
    one patch pair and to every block of a frame pair.

    Args:
        net: ``energy``, opponent motion energies of 3D kernels over both frames, or
            ``correlation``, normalised cross-correlation of filtered frames.
        filters: Number of learned filters per frame, at least 2.
        kernel: Side of a filter in pixels, odd.
        width: Channels of the hidden layers.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        block: Side of a block in pixels; used in prediction on frames only.
        stride: Distance from one block to the next in pixels; used in prediction on frames only.
        prior_still: Prior probability that a block does not move; used in prediction on frames
            only. In training all shifts are equally likely. In videos most blocks do not move, and
            the prior keeps blocks without texture from being reported as moving.
    """

    shipped_weights = "shift_matcher.ckpt"
    predict_config = "config_patch_match_predict.yaml"
    predict_source = FRAMES_OPTION

    def __init__(
        self,
        net: str = "energy",
        filters: int = 4,
        kernel: int = 7,
        width: int = 48,
        lr: float = 6e-3,
        weight_decay: float = 1e-4,
        block: int = 26,
        stride: int = 13,
        prior_still: float = 0.9,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["block", "stride", "prior_still"])
        if net not in NETS:
            raise ValueError(f"net must be one of {', '.join(NETS)}, got {net!r}")
        for name, value, least in (("block", block, MIN_BLOCK), ("stride", stride, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value}")
        if not 0 < prior_still < 1:
            raise ValueError(f"prior_still must lie between 0 and 1, got {prior_still}")
        self.net = NETS[net](filters, kernel, width)
        self.lr, self.weight_decay = lr, weight_decay
        self.block, self.stride, self.prior_still = block, stride, prior_still
        self.val_exact, self.test_exact = ExactShiftAccuracy(), ExactShiftAccuracy()
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_accuracy, self.test_accuracy = (
            MulticlassAccuracy(CLASSES, average="micro") for _ in range(2)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits (B, 10) of patch pairs (B, 1, 2, H, W); a patch is one block."""
        side = min(frames.shape[-2:])
        return self.net(frames, side, side).flatten(1)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return the cross-entropy of a batch."""
        logits = self(batch["frames"])
        loss = F.cross_entropy(logits, batch["shift"])
        exact, within = count_exact_shifts(logits.detach(), batch["shift"])
        self.log("train/loss", loss, batch_size=len(logits))
        self.log("train/exact", exact / within.clamp_min(1), batch_size=len(logits), prog_bar=True)
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update the metrics with a batch of the validation set."""
        self._evaluate("val", self.val_loss, self.val_exact, self.val_accuracy, batch)

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update the metrics with a batch of the test set."""
        self._evaluate("test", self.test_loss, self.test_exact, self.test_accuracy, batch)

    def _evaluate(
        self,
        stage: str,
        loss: MeanMetric,
        exact: ExactShiftAccuracy,
        accuracy: MulticlassAccuracy,
        batch: PairBatch,
    ) -> None:
        """Log the loss, the accuracy of shifts within one pixel and that of all ten classes."""
        logits, count = self(batch["frames"]), len(batch["frames"])
        exact(logits, batch["shift"])
        accuracy(logits, batch["shift"])
        loss.update(F.cross_entropy(logits, batch["shift"]), count)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/exact", exact, batch_size=count, prog_bar=True)
        self.log(f"{stage}/accuracy", accuracy, batch_size=count)

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        """Return the changes of every frame pair of a clip, in order."""
        frames, names = batch["frames"], batch["names"]
        drop_small_pairs(batch, self.block)
        if not batch["pairs"]:
            return []
        require_finite_each(frames, names)
        keep_freed_memory()
        odds = self.prior_still / (1 - self.prior_still) * (CLASSES - 1)
        scores = self.match_frames(frames, batch["pairs"])
        changes = []
        for (first, second), found in zip(batch["pairs"], scores, strict=True):
            height, width = frames[first].shape[-2:]
            logits = found.logits[0].flatten(1).T.float() / TEMPERATURE  # (N, 10)
            logits[:, STILL] += math.log(odds)
            residual, total = (x[:, 0].flatten(2) for x in (found.residual, found.total))
            noise = noise_variance(residual, total)
            probability = discount_noise(logits.softmax(dim=1), residual, noise)
            score = score_of_length(ranking_length(probability, residual, noise)).cpu()
            probability = probability.cpu()
            displacement, kind = decide(probability)
            changes.append(
                FrameChanges(
                    source=batch["source"],
                    frame0=names[first],
                    frame1=names[second],
                    boxes=block_boxes(height, width, self.block, self.stride, edges=True),
                    displacement=displacement,
                    kind=kind,
                    score=score,
                    matched=kind != Kind.LARGER,  # no search beyond one pixel
                    confidence=probability.amax(dim=1),
                    time0=batch["times"][first],
                    time1=batch["times"][second],
                )
            )
        return changes

    def match_frames(
        self,
        frames: Sequence[Tensor],
        pairs: Sequence[tuple[int, int]],
        at_once: bool | None = None,
    ) -> Iterator[BlockScores]:
        """Match pairs of the frames of a clip; yield the scores of each, without a time axis.

        Args:
            frames: T of (1, H, W); the two of a pair have one size.
            pairs: Indices of the earlier and the later frame of each pair.
            at_once: Match all pairs in one call, the default on a GPU; one by one, the frames stay
                in the cache of a CPU.
        """
        if at_once is None:
            at_once = self.device.type != "cpu"
        grid = self.block, self.stride, True
        if at_once and len({frame.shape for frame in frames}) == 1:
            limit = max(1, MAX_PIXELS // frames[0].numel())
            for start in range(0, len(pairs), limit):
                part = torch.tensor(pairs[start : start + limit])
                times, index = part.unique(return_inverse=True)
                features = self._features(torch.stack([frames[time] for time in times]))
                first, second = index.T.to(features.features.device)
                sides = features.at(first), features.at(second)
                found = self.net.match(*sides, *grid)
                yield from (found.at(i) for i in range(len(part)))
            return
        features = pairs_of_features(pairs, lambda time: self._features(frames[time][None]))
        for features0, features1 in features:
            yield self.net.match(features0, features1, *grid).at(0)

    def _features(self, frames: Tensor) -> FrameFeatures:
        frames = frames.transpose(0, 1)[None]
        return self.net.extract_features(frames, self.block, self.stride, edges=True)

    @torch.inference_mode()
    def match_patches(self, patches0: Tensor, patches1: Tensor) -> PatchMatches:
        """Estimate the displacement, at most one pixel in x and in y, between pairs of patches.

        Args:
            patches0: (N, 1, S, S) gray patches, float in [0, 1]; S = 26 in training.
            patches1: Patches of the same shape; row i is matched to row i of ``patches0``.

        Returns:
            Displacements (N, 2) as dx, dy with ``patches0[y, x]`` like ``patches1[y + dy, x +
            dx]``, kinds (N,) and scores (N,), on the CPU.

        Raises:
            ValueError: If the patches are not square and gray, too small, or of different shapes.
        """
        for index, patches in enumerate((patches0, patches1)):
            _require_patches(patches, f"patches{index}")
        if patches0.shape != patches1.shape:
            shapes = " and ".join(str(tuple(p.shape)) for p in (patches0, patches1))
            raise ValueError(f"patches0 and patches1 must have the same shape, got {shapes}")
        training = self.training
        self.eval()
        probabilities = [torch.empty(0, CLASSES)]
        pairs = torch.stack([patches0, patches1], dim=2)  # (N, 1, 2, S, S)
        try:
            for pair in pairs.split(MAX_PATCHES):
                probabilities.append(self(pair.to(self.device)).softmax(dim=1).cpu())
        finally:
            self.train(training)
        probability = torch.cat(probabilities)
        # the displacement of two patches without texture is undefined: all classes equally likely
        centred = pairs - pairs.mean(dim=(3, 4), keepdim=True)
        variance = centred.square().mean(dim=(1, 3, 4))  # (N, 2)
        probability[(variance < VARIANCE_EPS).all(dim=1).cpu()] = 1 / CLASSES
        displacement, kind = decide(probability)
        return PatchMatches(displacement=displacement, kind=kind, score=probability.amax(dim=1))


def _require_patches(patches: Tensor, name: str) -> None:
    if patches.ndim != 4 or patches.shape[1] != 1 or patches.shape[2] != patches.shape[3]:
        raise ValueError(
            f"{name} must be square and gray, (N, 1, 26, 26), got {tuple(patches.shape)}"
        )
    if patches.shape[3] < MIN_BLOCK:
        raise ValueError(f"{name} must be at least {MIN_BLOCK} pixels wide, got {patches.shape[3]}")
