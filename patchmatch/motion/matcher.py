"""Training of the motion network, and prediction with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import FRAMES_OPTION, Matcher, drop_small_pairs, pairs_of_features
from patchmatch.core.process import compiled_threads, in_threads, keep_freed_memory
from patchmatch.frames.results import DenseFlow, FrameChanges, Kind, kind_of, score_of_length
from patchmatch.motion import dense
from patchmatch.motion.camera import camera_motion
from patchmatch.motion.coarse_to_fine import Motion
from patchmatch.motion.data import MotionBatch
from patchmatch.motion.dense_confidence import flow_confidence
from patchmatch.motion.features import Features
from patchmatch.motion.loss import CORRECT_WITHIN, MIN_VISIBLE, motion_loss
from patchmatch.motion.net import MotionNet
from patchmatch.ops.blocks import block_boxes, block_counts
from patchmatch.ops.finite import require_finite_each
from patchmatch.ops.luma import to_gray

MAX_RADIUS = 64  # 512 pixels: the search takes 2 GB for frames of 1920x1080
METRICS = ("loss", "epe", "within_half")


class MotionMatcher(Matcher):
    """Subpixel motion of any size between two frames, for every block.

    A small network matches the blocks from coarse to fine on an image pyramid. It is trained on
    synthetic scenes of moving digits.

    Args:
        hidden: Channels of the hidden layers.
        lr: Peak learning rate of AdamW, with warm-up and decay over the whole training.
        weight_decay: Weight decay of AdamW.
        block: Side of a block in pixels in prediction, a multiple of 8 and at least 16.
        radius: Search radius in prediction, in units of 8 pixels: 6 finds motion up to 48 pixels.
            None for a quarter of the width of the frames, at least 48 and at most 160 pixels.
        camera: Whether to estimate the motion of the camera and subtract it, so that only blocks
            that move against the scene count as changed.
        min_matched: Lowest probability of being visible in the later frame at which a block
            counts as matched, and lowest confidence at which the flow of a pixel is written.
    """

    shipped_weights = "motion_matcher.ckpt"
    needs_float32 = True
    predict_config = "config_motion_predict.yaml"
    predict_source = FRAMES_OPTION

    def __init__(
        self,
        hidden: int = 16,
        lr: float = 4e-3,
        weight_decay: float = 1e-4,
        block: int = 32,
        radius: int | None = None,
        camera: bool = False,
        min_matched: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["block", "radius", "camera", "min_matched"])
        _require_block(block)
        if radius is not None and not (isinstance(radius, int) and 1 <= radius <= MAX_RADIUS):
            raise ValueError(f"radius must be an integer from 1 to {MAX_RADIUS}, got {radius}")
        if not 0 <= min_matched <= 1:
            raise ValueError(f"min_matched must be between 0 and 1, got {min_matched}")
        self.net = MotionNet(hidden)
        self.metrics = nn.ModuleDict(
            {f"{stage}_{name}": MeanMetric() for stage in ("val", "test") for name in METRICS}
        )
        self.lr, self.weight_decay = lr, weight_decay
        self.block, self.radius, self.camera = block, radius, camera
        self.min_matched = min_matched
        self.dense = False  # set by a writer of flow: measure that of every pixel in prediction

    def forward(self, frames: Tensor) -> Motion:
        """Return the motion of frame pairs, (B, 1, 2, H, W)."""
        return self.net(frames, self.block, self.radius)

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        motion = self.net(batch["frames"], trace=True)
        loss = motion_loss(motion, batch["displacement"], batch["visible"])
        error = _endpoint_errors(motion, batch)
        self.log("train/loss", loss, batch_size=len(batch["frames"]))
        self.log("train/epe", error.mean(), batch_size=len(error), prog_bar=True)
        return loss

    def validation_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """Update the validation metrics."""
        self._update_metrics("val", batch)

    def test_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """Update the test metrics."""
        self._update_metrics("test", batch)

    def _update_metrics(self, stage: str, batch: MotionBatch) -> None:
        traced = self.net(batch["frames"], trace=True)
        loss = motion_loss(traced, batch["displacement"], batch["visible"])
        # Errors are those of the code that predicts, which on a CPU is compiled.
        error = _endpoint_errors(self.net(batch["frames"]), batch)
        metrics: Any = self.metrics
        metrics[f"{stage}_loss"].update(loss, len(batch["frames"]))
        metrics[f"{stage}_epe"].update(error)
        metrics[f"{stage}_within_half"].update((error < CORRECT_WITHIN).float())
        for name in METRICS:
            self.log(f"{stage}/{name}", metrics[f"{stage}_{name}"], prog_bar=name == "epe")

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameChanges]:
        """Return the changes of every frame pair of a clip, in order."""
        drop_small_pairs(batch, self.block)
        if not batch["pairs"]:
            return []
        frames, names = batch["frames"], batch["names"]
        require_finite_each(frames, names)
        self._require_float32()
        keep_freed_memory()
        with self.net.threads():
            features = pairs_of_features(
                batch["pairs"], lambda time: self.net.extract_features(frames[time][None])
            )
            given = zip(batch["pairs"], features, strict=True)
            found = []
            while several := list(islice(given, compiled_threads())):  # bounds the memory
                found += in_threads(lambda one: self._pair_changes(batch, *one), several)
        return found

    def _pair_changes(
        self, batch: Clip, pair: tuple[int, int], features: tuple[Features, Features]
    ) -> FrameChanges:
        """Return the changes between two frames of a clip."""
        first, second = pair
        height, width = batch["frames"][first].shape[-2:]
        boxes = block_boxes(height, width, self.block, self.block, edges=True)
        motion = self.net.match(*features, self.block, self.radius, edges=True)
        flow = None
        if self.dense:
            found = self._pixels(batch["frames"][first], *features)
            flow = found.flow.masked_fill(found.confidence < self.min_matched, torch.nan)
        return FrameChanges(
            source=batch["source"],
            frame0=batch["names"][first],
            frame1=batch["names"][second],
            time0=batch["times"][first],
            time1=batch["times"][second],
            boxes=boxes,
            flow=flow,
            **self._block_changes(motion, boxes),
        )

    def _require_float32(self) -> None:
        """Raise InputError unless the weights are float32, which subpixel positions need."""
        if self.dtype != torch.float32:
            raise InputError(
                f"MotionMatcher: weights must be float32 for subpixel positions, got {self.dtype}; "
                "give --trainer.precision 32-true or bf16-mixed, or call matcher.float()"
            )

    def _block_changes(self, motion: Motion, boxes: Tensor) -> dict[str, Any]:
        """Return the fields of ``FrameChanges`` that describe N blocks, on the CPU."""
        displacement = motion.displacement.flatten(0, 2).float().cpu()  # (N, 2)
        probability = motion.confidence_logits.flatten(0, 2).float().sigmoid().cpu()
        confidence, visible = probability.unbind(dim=-1)  # (N,) each
        matched = visible >= self.min_matched
        camera, own = None, displacement
        if self.camera:
            centres = (boxes[:, :2] + boxes[:, 2:] - 1) / 2
            camera = camera_motion(centres, displacement, confidence * visible)
            own = displacement - camera
        # The length of an occluded block is unknown; it counts as two pixels.
        length = visible * own.norm(dim=1) + (1 - visible) * 2
        kind = kind_of(own)
        kind[~matched] = Kind.LARGER
        return {
            "displacement": own,
            "kind": kind,
            "score": score_of_length(length),
            "matched": matched,
            "confidence": confidence,
            "camera": camera,
        }

    @torch.inference_mode()
    def measure_motion(self, frame0: Tensor, frame1: Tensor, block: int = 32) -> Tensor:
        """Return the displacement of every whole block from ``frame0`` to ``frame1``.

        Args:
            frame0: The earlier frame, (1, C, H, W) float in [0, 1], RGB or gray.
            frame1: The later frame, of the same size.
            block: Side of a block in pixels, a multiple of 8 and at least 16.

        Returns:
            (rows, columns, 2) float on the CPU, dx and dy in pixels.

        Raises:
            ValueError: If the frames differ in size or are smaller than a block.
            InputError: If the weights are not float32.
        """
        _require_block(block)
        with self._features(frame0, frame1, block) as (_, earlier, later):
            motion = self.net.match(earlier, later, block, self.radius)
        return motion.displacement[0].float().cpu()

    @torch.inference_mode()
    def measure_flow(self, frame0: Tensor, frame1: Tensor) -> DenseFlow:
        """Return the displacement of every pixel from ``frame0`` to ``frame1``.

        The network measures blocks of 16 pixels, on the device of its weights; the step from blocks
        to pixels runs on the CPU, see ``motion.dense``.

        Args:
            frame0: The earlier frame, (1, C, H, W) float in [0, 1], RGB or gray.
            frame1: The later frame, of the same size.

        Raises:
            ValueError: If the frames differ in size or are smaller than 16 x 16 pixels.
            InputError: If the weights are not float32.
        """
        with self._features(frame0, frame1, dense.BLOCK) as (gray0, earlier, later):
            return self._pixels(gray0, earlier, later)

    @contextmanager
    def _features(
        self, frame0: Tensor, frame1: Tensor, block: int
    ) -> Iterator[tuple[Tensor, Features, Features]]:
        """Yield the gray frame 0 and the features of both frames, in eval mode."""
        self._require_float32()
        gray = [to_gray(f) for f in (frame0, frame1)]
        if gray[0].shape != gray[1].shape:
            sizes = " and ".join(f"{g.shape[3]}x{g.shape[2]}" for g in gray)
            raise ValueError(f"frame0 and frame1 must have the same size, got {sizes}")
        height, width = gray[0].shape[2:]
        block_counts(height, width, block, block)  # raises if no block fits
        keep_freed_memory()
        training = self.training
        if training:  # switching the mode of every module takes a while
            self.eval()
        try:
            with self.net.threads():
                features = self.net.extract_features(torch.cat(gray).to(self.device))
                first, second = slice(1), slice(1, 2)
                earlier, later = ([level.frames(i) for level in features] for i in (first, second))
                yield gray[0], earlier, later
        finally:
            if training:
                self.train()

    def _pixels(self, gray0: Tensor, earlier: Features, later: Features) -> DenseFlow:
        """Return the flow of every pixel; the arguments are those of ``pixel_inputs``."""
        pair, logits = self.pixel_inputs(gray0, earlier, later)
        flow = dense.dense_flow(pair)
        confidence = flow_confidence(pair, flow, logits)
        flow = torch.from_numpy(flow).permute(2, 0, 1).contiguous()  # (2, H, W)
        return DenseFlow(flow=flow, confidence=torch.from_numpy(confidence))

    def pixel_inputs(
        self, gray0: Tensor, earlier: Features, later: Features
    ) -> tuple[dense.FramePair, np.ndarray]:
        """Return what the step from blocks to pixels takes.

        Args:
            gray0: Frame 0, gray in [0, 1], (..., H, W).
            earlier: Its features.
            later: Those of frame 1.

        Returns:
            The frames with the motion of their blocks, and the confidence logits of the
            displacements of the blocks, (R, C).
        """
        motion = self.net.match(earlier, later, dense.BLOCK, self.radius)
        finest = earlier[0].normalized[0], later[0].normalized[0]
        image0, image1 = (dense.to_levels(_array(image)) for image in finest)
        guide = np.ascontiguousarray(_array(gray0.flatten(0, -3)[0]))
        pair = dense.FramePair(image0, image1, guide, _array(motion.displacement[0]))
        return pair, _array(motion.confidence_logits[0, ..., 0])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _require_block(block: int) -> None:
    if not isinstance(block, int) or block % 8 or block < 16:
        raise ValueError(f"block must be a multiple of 8 and at least 16 pixels, got {block}")


def _endpoint_errors(motion: Motion, batch: MotionBatch) -> Tensor:
    """Return the endpoint errors of the supervised blocks, (N,)."""
    error = (motion.displacement.detach() - batch["displacement"]).norm(dim=-1)
    return error[batch["visible"] > MIN_VISIBLE]
