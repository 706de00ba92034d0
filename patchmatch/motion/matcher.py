"""Training the motion network, and measuring motion of any size with it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import (
    Matcher,
    pairs_of_features,
    require_block_fits,
)
from patchmatch.core.process import keep_freed_memory
from patchmatch.frames.results import FrameChanges, Kind, kind_of
from patchmatch.motion.camera import camera_motion
from patchmatch.motion.data import MotionBatch
from patchmatch.motion.net import Judged, Motion, MotionNet
from patchmatch.ops.blocks import block_boxes, block_counts
from patchmatch.ops.luma import luma

SEEN = 0.6  # share of a block that must be visible for its motion to be learned
RIGHT = 0.5  # pixels: an answer this near is right
LARGEST_RADIUS = 64  # 512 pixels: 2 GB for the search in frames of 1920x1080
MEASURED = ("loss", "epe", "within_half")
FARTHEST = 8.0  # pixels: an error counts no more


class MotionMatcher(Matcher):
    """Motion of any size between two frames, block by block, between pixels.

    A pyramid is searched from coarse to fine; a small network judges what it finds. It is trained
    on layers of digits that move over each other.

    Args:
        hidden: Channels of the hidden layers.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        block: Side of a block in pixels, a multiple of 8 from 16 on, when frames are predicted.
        radius: Reach of the search in steps of eight pixels, when frames are predicted.
        camera: Whether the motion of the camera is estimated and left out of account, so that
            what moves against the scene counts as changed.
        min_matched: Blocks less likely than this to be seen in the later frame are unmatched.
    """

    shipped_weights = "motion_matcher.ckpt"
    needs_float32 = True
    predict_config = "config_motion_predict.yaml"

    def __init__(
        self,
        hidden: int = 16,
        lr: float = 4e-3,
        weight_decay: float = 1e-4,
        block: int = 32,
        radius: int = 6,
        camera: bool = False,
        min_matched: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["block", "radius", "camera", "min_matched"])
        _require_block(block)
        if not 1 <= radius <= LARGEST_RADIUS:
            raise ValueError(
                f"radius must be at least 1 and at most {LARGEST_RADIUS}, got {radius}"
            )
        if not 0 <= min_matched <= 1:
            raise ValueError(f"min_matched must lie between 0 and 1, got {min_matched}")
        self.net = MotionNet(hidden)
        self.measured = nn.ModuleDict(
            {f"{stage}_{name}": MeanMetric() for stage in ("val", "test") for name in MEASURED}
        )
        self.lr, self.weight_decay = lr, weight_decay
        self.block, self.radius, self.camera = block, radius, camera
        self.min_matched = min_matched

    def forward(self, frames: Tensor) -> Motion:
        """Return the motion of frame pairs, (B, 1, 2, H, W)."""
        return self.net(frames, self.block, self.radius)

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: of every decision on the way and of the answer."""
        motion = self.net(batch["frames"])
        loss = motion_loss(motion, batch["displacement"], batch["visible"])
        error = _errors(motion, batch)
        self.log("train/loss", loss, batch_size=len(batch["frames"]))
        self.log("train/epe", error.mean(), batch_size=len(error), prog_bar=True)
        return loss

    def validation_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """Measure a batch of held-out scenes."""
        self._measure("val", batch)

    def test_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """Measure a batch of test scenes."""
        self._measure("test", batch)

    def _measure(self, stage: str, batch: MotionBatch) -> None:
        motion = self.net(batch["frames"])
        loss = motion_loss(motion, batch["displacement"], batch["visible"])
        error = _errors(motion, batch)
        # metrics add up over blocks and processes, and divide once
        measured: Any = self.measured
        measured[f"{stage}_loss"].update(loss, len(batch["frames"]))
        measured[f"{stage}_epe"].update(error)
        measured[f"{stage}_within_half"].update((error < RIGHT).float())
        for name in MEASURED:
            self.log(f"{stage}/{name}", measured[f"{stage}_{name}"], prog_bar=name == "epe")

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        """Return the changes of every pair of a clip, in order."""
        if not batch["pairs"]:
            return []
        frames, names = batch["frames"], batch["names"]
        self._require_float32()
        keep_freed_memory()
        require_block_fits(batch, self.block)
        known = pairs_of_features(
            batch["pairs"], lambda time: self.net.describe(frames[time][None])
        )
        changes = []
        for (first, second), (earlier, later) in zip(batch["pairs"], known, strict=True):
            height, width = frames[first].shape[-2:]
            boxes = block_boxes(height, width, self.block, self.block)
            motion = self.net.compare(earlier, later, self.block, self.radius)
            fields = ("displacement", "kind", "score", "matched", "confidence", "camera")
            measured: Any = dict(zip(fields, self._changes(motion, boxes), strict=True))
            changes.append(
                FrameChanges(
                    source=batch["source"],
                    frame0=names[first],
                    frame1=names[second],
                    boxes=boxes,
                    **measured,
                    time0=batch["times"][first],
                    time1=batch["times"][second],
                )
            )
        return changes

    def _require_float32(self) -> None:
        """Raise InputError in other precisions; half of it knows no places between pixels."""
        if self.dtype != torch.float32:
            raise InputError(
                f"a motion matcher computes places in float32, got weights of {self.dtype}; give "
                "--trainer.precision 32-true or bf16-mixed, or call matcher.float()"
            )

    def _changes(
        self, motion: Motion, boxes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Return displacement, kind, score, matched, confidence and camera, on the CPU."""
        displacement = motion.displacement.flatten(0, 2).float().cpu()
        confidence, seen = motion.doubts.flatten(0, 2).float().sigmoid().cpu().unbind(dim=-1)
        matched = seen >= self.min_matched
        camera, own = None, displacement
        if self.camera:
            centres = (boxes[:, :2] + boxes[:, 2:] - 1) / 2
            camera = camera_motion(centres, displacement, confidence * seen)
            own = displacement - camera
        length = own.norm(dim=1)
        # what is gone has changed as much as anything can
        expected = seen * length.clamp_max(2) + (1 - seen) * 2
        kind = kind_of(own)
        kind[~matched] = Kind.LARGER
        return displacement, kind, (expected / 2).clamp(0, 1), matched, confidence, camera

    @torch.inference_mode()
    def measure_motion(self, frame0: Tensor, frame1: Tensor, block: int = 32) -> Tensor:
        """Return the displacement of every whole block of ``frame0``.

        Args:
            frame0: The earlier frame, (1, C, H, W) float in [0, 1], RGB or gray.
            frame1: The later frame, of the same size.
            block: Side of a block in pixels, a multiple of 8 and at least 16.

        Returns:
            (rows, columns, 2) float on the CPU, dx and dy in pixels, rows from the top.

        Raises:
            ValueError: If the frames differ in size, or no block fits.
        """
        _require_block(block)
        self._require_float32()
        gray = [f if f.shape[1] == 1 else luma(f) for f in (frame0, frame1)]
        if gray[0].shape != gray[1].shape:
            sizes = " and ".join(f"{g.shape[3]}x{g.shape[2]}" for g in gray)
            raise ValueError(f"frame0 and frame1 must have the same size, got {sizes}")
        block_counts(*gray[0].shape[2:], block, block)
        keep_freed_memory()
        training = self.training
        if training:  # switching the mode of every module takes a while
            self.eval()
        try:
            with self.net.threads():
                described = self.net.describe(torch.cat(gray).to(self.device))
                parts = slice(1), slice(1, 2)
                earlier, later = ([level.frames(part) for level in described] for part in parts)
                motion = self.net.compare(earlier, later, block, self.radius)
        finally:
            if training:
                self.train()
        return motion.displacement[0].float().cpu()


def motion_loss(motion: Motion, truth: Tensor, visible: Tensor) -> Tensor:
    """Return the loss of the answer, of every decision that led to it and of its doubts.

    A judge pays the expected error of what it believes, each refinement its own error, in units
    that weigh the levels alike; the answer counts most.

    Args:
        motion: What the network found.
        truth: (B, R, C, 2), the true displacement of each block in pixels.
        visible: (B, R, C), the share of each block that can be seen in frame 1.
    """
    seen = visible > SEEN
    loss = torch.zeros((), device=truth.device)
    for step in motion.trace:
        size = 2.0**step.level  # pixels of the frame in a pixel of the level
        if isinstance(step, Judged):
            error = (step.offered.candidates.detach() * size - truth.unsqueeze(-2)).norm(dim=-1)
            price = error.clamp_max(4 * size) / size**0.5
            target = (
                (-4 * error / size).masked_fill(~step.offered.fresh, -torch.inf).softmax(dim=-1)
            )
            for number, logits in enumerate(step.rounds, start=1):
                expected = (logits.softmax(dim=-1) * price).sum(dim=-1)
                surprise = -(target * logits.log_softmax(dim=-1)).sum(dim=-1)
                weight = 1.0 if number == len(step.rounds) else 0.3
                loss = loss + weight * _mean(expected + 0.1 * surprise, seen)
        else:
            apart = step.displacement[..., 0, :] * size - truth
            error = (apart.square().sum(dim=-1) + 1e-6).sqrt()
            loss = loss + _mean(error.clamp_max(3 * size) / size**0.5, seen)
    apart = motion.displacement - truth
    error = (apart.square().sum(dim=-1) + 1e-6).sqrt()
    loss = loss + 3 * _mean(error.clamp_max(FARTHEST), seen)
    right, matched = motion.doubts.unbind(dim=-1)
    loss = loss + F.binary_cross_entropy_with_logits(right, (error.detach() < RIGHT).float())
    return loss + F.binary_cross_entropy_with_logits(matched, (visible > 0.5).float())


def _require_block(block: int) -> None:
    if not isinstance(block, int) or block % 8 or block < 16:
        raise ValueError(f"block must be a multiple of 8 and at least 16 pixels, got {block}")


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp_min(1)


def _errors(motion: Motion, batch: MotionBatch) -> Tensor:
    """Return the endpoint errors of the blocks that can be seen in both frames."""
    error = (motion.displacement.detach() - batch["displacement"]).norm(dim=-1)
    return error[batch["visible"] > SEEN]
