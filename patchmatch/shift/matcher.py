"""Training the shift network, and block matching with it."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from patchmatch.core.clips import Clip
from patchmatch.core.matcher import (
    Matcher,
    pairs_of_features,
    require_block_fits,
)
from patchmatch.core.process import keep_freed_memory
from patchmatch.frames.results import FrameChanges, Kind, PatchMatches
from patchmatch.ops.blocks import block_boxes
from patchmatch.shift.metrics import Share, exact_shift_sums
from patchmatch.shift.net import CLASSES, FLOOR, Described, ShiftNet
from patchmatch.shift.ops import SHIFTS, STILL
from patchmatch.shift.pairs import PairBatch

LARGER = CLASSES - 1
#: What each class counts in the score of a change: its length in pixels, 2 for ``larger``.
LENGTHS = torch.tensor([math.hypot(dx, dy) for dx, dy in SHIFTS] + [2.0])
SMALLEST_BLOCK = 8  # pixels: below, a window holds less than a 6x6 patch
PATCHES_AT_ONCE = 4096


class ShiftMatcher(Matcher):
    """Block matching between two frames by a small 3D-convolutional network.

    The network is trained on patch pairs that make themselves. The same weights answer for one
    patch and for every block of a frame.

    Args:
        filters: Smoothing filters that are learned, at least 2.
        kernel: Side of a filter in pixels, odd.
        width: Channels of the hidden layers.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        block: Side of a block in pixels, when frames are predicted.
        stride: Distance from one block to the next in pixels, when frames are predicted.
        prior_still: Share of blocks expected to stand still, when frames are predicted. In
            training every shift is equally likely; in footage most blocks do not move, and a
            block without texture should not be called moving.
    """

    shipped_weights = "shift_matcher.ckpt"

    def __init__(
        self,
        filters: int = 3,
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
        if not isinstance(block, int) or block < SMALLEST_BLOCK:
            wanted = f"at least {SMALLEST_BLOCK} pixels"
            raise ValueError(f"block must be {wanted}{_whole(block)}, got {block}")
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"stride must be at least 1 pixel{_whole(stride)}, got {stride}")
        if not 0 < prior_still < 1:
            raise ValueError(f"prior_still must lie between 0 and 1, got {prior_still}")
        self.net = ShiftNet(filters, kernel, width)
        self.lr, self.weight_decay = lr, weight_decay
        self.block, self.stride, self.prior_still = block, stride, prior_still
        self.val_exact, self.test_exact = Share(exact_shift_sums), Share(exact_shift_sums)
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_accuracy, self.test_accuracy = (
            MulticlassAccuracy(CLASSES, average="micro") for _ in range(2)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits of patch pairs: (B, 1, 2, H, W) to (B, 10), one block each."""
        side = min(frames.shape[-2:])
        return self.net(frames, side, side).flatten(1)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return the cross-entropy of a batch."""
        logits = self(batch["frames"])
        loss = F.cross_entropy(logits, batch["shift"])
        exact, within = exact_shift_sums(logits.detach(), batch["shift"])
        self.log("train/loss", loss, batch_size=len(logits))
        self.log("train/exact", exact / within.clamp_min(1), batch_size=len(logits), prog_bar=True)
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Measure a batch of held-out pairs."""
        self._measure("val", self.val_exact, self.val_accuracy, batch)

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Measure a batch of test pairs."""
        self._measure("test", self.test_exact, self.test_accuracy, batch)

    def _measure(
        self, stage: str, exact: Share, accuracy: MulticlassAccuracy, batch: PairBatch
    ) -> None:
        """Log the loss, the exact shifts among pairs within one pixel, and all ten classes."""
        logits, count = self(batch["frames"]), len(batch["frames"])
        exact(logits, batch["shift"])
        accuracy(logits, batch["shift"])
        loss = self.val_loss if stage == "val" else self.test_loss
        loss.update(F.cross_entropy(logits, batch["shift"]), count)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/exact", exact, batch_size=count, prog_bar=True)
        self.log(f"{stage}/accuracy", accuracy, batch_size=count)

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        """Return the changes of every pair of a clip, in order."""
        frames, names = batch["frames"], batch["names"]
        if not batch["pairs"]:
            return []
        keep_freed_memory()
        require_block_fits(batch, self.block)
        odds = self.prior_still / (1 - self.prior_still) * (CLASSES - 1)
        known = pairs_of_features(batch["pairs"], lambda time: self._describe(frames[time]))
        changes = []
        for (first, second), (earlier, later) in zip(batch["pairs"], known, strict=True):
            height, width = frames[first].shape[-2:]
            boxes = block_boxes(height, width, self.block, self.stride)
            logits = self.net.compare(earlier, later, self.block, self.stride)
            logits = logits[0, :, 0].flatten(1).T.float().cpu()  # (N, 10)
            logits[:, STILL] += math.log(odds)
            probability = logits.softmax(dim=1)
            displacement, kind = decide(probability)
            changes.append(
                FrameChanges(
                    source=batch["source"],
                    frame0=names[first],
                    frame1=names[second],
                    boxes=boxes,
                    displacement=displacement,
                    kind=kind,
                    score=(probability * LENGTHS).sum(dim=1) / LENGTHS[LARGER],
                    matched=kind != Kind.LARGER,  # beyond one pixel nothing is sought
                    confidence=probability.amax(dim=1),
                    time0=batch["times"][first],
                    time1=batch["times"][second],
                )
            )
        return changes

    def _describe(self, frame: Tensor) -> Described:
        return self.net.describe(frame[None, :, None], self.block, self.stride)

    @torch.inference_mode()
    def match_patches(self, patches0: Tensor, patches1: Tensor) -> PatchMatches:
        """Find the shift, at most one pixel in x and in y, between each patch and its partner.

        Args:
            patches0: (N, 1, S, S) gray patches, float in [0, 1]; S = 26 in training.
            patches1: Their partners, of the same shape.

        Returns:
            Displacements (N, 2) as dx, dy with ``patches0[y, x]`` like ``patches1[y + dy, x +
            dx]``, kinds (N,) and scores (N,), on the CPU.

        Raises:
            ValueError: If the shapes differ or are not those of patches.
        """
        for index, patches in enumerate((patches0, patches1)):
            _require_patches(patches, f"patches{index}")
        if patches0.shape != patches1.shape:
            shapes = " and ".join(str(tuple(p.shape)) for p in (patches0, patches1))
            raise ValueError(f"patches0 and patches1 must have the same shape, got {shapes}")
        training = self.training
        self.eval()
        probabilities = [torch.empty(0, CLASSES)]
        for pair in torch.stack([patches0, patches1], dim=2).split(
            PATCHES_AT_ONCE
        ):  # (N, 1, 2, S, S)
            probabilities.append(self(pair.to(self.device)).softmax(dim=1).cpu())
        self.train(training)
        probability = torch.cat(probabilities)
        # two patches without texture may be displaced by anything
        pair = torch.cat([patches0, patches1], dim=1)  # (N, 2, S, S)
        variance = (pair - pair.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(2, 3))
        probability[(variance < FLOOR).all(dim=1).cpu()] = 1 / CLASSES
        displacement, kind = decide(probability)
        return PatchMatches(displacement, kind, probability.amax(dim=1))


def decide(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest of the nine shifts as (N, 2) dx, dy, and the kind (N,).

    What is as likely as no motion is no motion.

    Args:
        probability: (N, 10), the nine ``SHIFTS`` and ``larger``.
    """
    still = probability[:, STILL]
    nearest, answer = probability[:, :LARGER].argmax(dim=1), probability.argmax(dim=1)
    nearest[still >= probability[:, :LARGER].amax(dim=1)] = STILL
    answer[still >= probability.amax(dim=1)] = STILL
    displacement = torch.tensor(SHIFTS, dtype=torch.float32)[nearest]
    kind = torch.full_like(answer, Kind.ONE_PIXEL)
    kind[answer == STILL] = Kind.STILL
    kind[answer == LARGER] = Kind.LARGER
    return displacement, kind


def _whole(value: float) -> str:
    return "" if isinstance(value, int) else " and whole"


def _require_patches(patches: Tensor, name: str) -> None:
    if patches.ndim != 4 or patches.shape[1] != 1 or patches.shape[2] != patches.shape[3]:
        raise ValueError(
            f"{name} must be square and gray, (N, 1, 26, 26), got {tuple(patches.shape)}"
        )
    if patches.shape[3] < SMALLEST_BLOCK:
        raise ValueError(
            f"{name} must be at least {SMALLEST_BLOCK} pixels wide, got {patches.shape[3]}"
        )
