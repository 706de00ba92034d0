"""LoFTR and SE(2)-LoFTR: detector-free matching with a transformer, coarse to fine."""

import abc
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.core.errors import InputError
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.luma import luma
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.loftr.data import FlowBatch
from patchmatch.pairs.loftr.loss import NO_MATCH, coarse_loss, fine_loss, true_matches
from patchmatch.pairs.loftr.net import (
    PUBLISHED_CHANNELS,
    PUBLISHED_HEADS,
    PUBLISHED_LAYERS,
    STRIDE,
    LoFTRStages,
    build_loftr,
)
from patchmatch.pairs.loftr.se2_backbone import FIELDS
from patchmatch.pairs.matcher import Correspondences
from patchmatch.pairs.pretrained import download_weights, half_precision, read_weights
from patchmatch.pairs.trainable import TrainablePairMatcher

PRETRAINED = ("outdoor", "indoor", "indoor_new")
CONTRAST_FLOOR = 0.02  # added to the local standard deviation, so that noise stays small
FINE_MATCHES = 512  # true matches of a batch that train the fine stage
ERROR_THRESHOLDS = (1, 3, 8)  # pixels
# The published weights take the corner of the top left pixel as origin, those trained here its
# centre.
PUBLISHED_ORIGIN = 0.5


class TransformerMatcher(TrainablePairMatcher, DetectorFreeMatcher, abc.ABC):
    """Base of matchers with the interface of kornia's LoFTR.

    Args:
        weights: Weight file of the network.
        max_size: Pixels to which the longest side of each image is reduced; null keeps the full
            size, which takes time in proportion to the number of tiles.
        tile: Side in pixels of the tiles that are matched at once; memory grows with its fourth
            power. Null matches the whole images at once.
        half: Compute in half precision (on CUDA only).
        confidence: Minimum dual-softmax probability of a coarse match.
        channels: Channels at 1/2, 1/4 and 1/8 of the size; the default is the published size.
        layers: Pairs of a self- and a cross-attention layer of the coarse transformer.
        heads: Attention heads.
        fine_layers: The same of the fine transformer; 0 correlates the features of the backbone.
        normalize: Normalise the local contrast of the images first; the published weights were
            trained without.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        options: Options of ``PairMatcher``.
    """

    needs_float32 = True
    checkpoint_settings = frozenset(
        {
            *("channels", "layers", "heads", "fine_layers", "fields", "normalize"),
            *("lr", "weight_decay"),
        }
    )
    #: Name of the network in messages.
    title: str

    def __init__(
        self,
        weights: str | None = None,
        max_size: int | None = 840,
        tile: int | None = 840,
        half: bool = False,
        confidence: float = 0.2,
        channels: tuple[int, int, int] = PUBLISHED_CHANNELS,
        layers: int = PUBLISHED_LAYERS,
        heads: int = PUBLISHED_HEADS,
        fine_layers: int = 1,
        normalize: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, tile=tile, **options)
        if not 0 <= confidence < 1:
            raise ValueError(f"confidence must be at least 0 and below 1, got {confidence}")
        for name, count in (("layers", layers), ("fine_layers", fine_layers)):
            if count < 0:
                raise ValueError(f"{name} must be at least 0, got {count}")
        self.weights, self.half_precision, self.confidence = weights, half, confidence
        self.size = (tuple(channels), layers, heads, fine_layers)
        self.normalize, self.lr, self.weight_decay = normalize, lr, weight_decay
        self.is_trained, self.origin = False, 0.0
        self.net: nn.Module = self.build_net()

    def build_net(self) -> nn.Module:
        """Return the network with random weights."""
        return build_loftr(*self.size)

    @abc.abstractmethod
    def load_net(self) -> nn.Module:
        """Return the network with its weights; raise InputError if they are not available."""

    def prepare(self) -> None:
        """Load the weights on the first call, unless those of a checkpoint are loaded."""
        if not self.is_trained:
            self.net, self.is_trained = self.load_net().to(self.device), True
            self.origin = PUBLISHED_ORIGIN

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the weights of a checkpoint."""
        self.is_trained = True
        return super().load_state_dict(state_dict, *args, **kwargs)

    def on_fit_start(self) -> None:
        """Keep the weights that are about to be trained."""
        self.is_trained = True

    def match_tile(
        self, image0: Tensor, image1: Tensor, valid0: Tensor | None, valid1: Tensor | None
    ) -> Correspondences:
        """Match two gray images; invalid pixels are replaced by 0.5."""
        self.prepare()
        images = [
            self._input(image if valid is None else torch.where(valid[:, None], image, 0.5))
            for image, valid in ((image0, valid0), (image1, valid1))
        ]
        found = self._match_batch(*images)
        return Correspondences(
            points0=found["keypoints0"], points1=found["keypoints1"], score=found["confidence"]
        )

    def training_step(self, batch: FlowBatch, batch_idx: int) -> Tensor:
        """Return the sum of the coarse and the fine loss of a batch."""
        images = torch.cat([luma(batch["image0"]), luma(batch["image1"])])
        matches, points1 = true_matches(batch["flow"], batch["valid"], STRIDE)
        stages = LoFTRStages(self.net, self._input(images), shift_encoding=True)
        scores, count = stages.scores(), len(matches)
        coarse = coarse_loss(scores, matches)
        pairs, cells0 = (matches != NO_MATCH).nonzero(as_tuple=True)
        chosen = torch.randperm(len(pairs), device=pairs.device)[:FINE_MATCHES]
        fine = coarse.new_zeros(())
        if len(chosen):
            pairs, cells0 = pairs[chosen], cells0[chosen]
            cells1 = matches[pairs, cells0]
            columns = -(-images.shape[-1] // STRIDE)
            centres = STRIDE * torch.stack([cells1 % columns, cells1 // columns], dim=1)
            refined = stages.refine(pairs, cells0, cells1)
            target = (points1[pairs, cells0] - centres) / refined.radius
            fine = fine_loss(refined.expected, refined.variance, target)
        self.log("train/coarse_loss", coarse, batch_size=count)
        self.log("train/fine_loss", fine, batch_size=count)
        self.log("train/loss", coarse + fine, batch_size=count, prog_bar=True)
        return coarse + fine

    def validation_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Evaluate the matches of a batch of validation images."""
        self._evaluate("val", batch)

    def test_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Evaluate the matches of a batch of test images."""
        self._evaluate("test", batch)

    def setup(self, stage: str) -> None:
        """Load the weights before the first pair, so that missing ones stop the run early."""
        if stage in ("validate", "test", "predict"):
            self.prepare()

    def _evaluate(self, stage: str, batch: FlowBatch) -> None:
        """Log the loss, and shares of cells and of matches that are correct within thresholds."""
        image0, image1 = (self._input(luma(batch[name])) for name in ("image0", "image1"))
        matches, _ = true_matches(batch["flow"], batch["valid"], STRIDE)
        scores = LoFTRStages(self.net, torch.cat([image0, image1]), False).scores()
        known = matches != NO_MATCH
        count, cells = len(matches), known.sum().clamp_min(1)
        self.log(f"{stage}/loss", coarse_loss(scores, matches), batch_size=count)
        right = (scores.argmax(dim=2) == matches)[known].float().sum() / cells
        self.log(f"{stage}/right", right, batch_size=count)
        found = self._match_batch(image0, image1)
        pairs = found["batch_indexes"]
        x, y = found["keypoints0"].round().clamp_min(0).long().unbind(dim=1)
        target = found["keypoints0"] + batch["flow"][pairs, :, y, x]
        visible = batch["valid"][pairs, y, x]
        error = torch.where(visible, (found["keypoints1"] - target).norm(dim=1), torch.inf)
        for pixels in ERROR_THRESHOLDS:
            correct = (error <= pixels).float().sum()
            self.log(f"{stage}/recall_{pixels}", correct / cells, batch_size=count)
            precision = correct / max(1, len(error))
            self.log(f"{stage}/precision_{pixels}", precision, batch_size=count)

    def _input(self, gray: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        return normalize_contrast(gray, CONTRAST_FLOOR) if self.normalize else gray

    def _match_batch(self, image0: Tensor, image1: Tensor) -> dict[str, Tensor]:
        """Return kornia's matches of images (B, 1, H, W), in float32; keypoints in our convention."""
        self.net.coarse_matching.thr = self.confidence  # type: ignore[union-attr]
        with half_precision(image0, self.half_precision):
            found = self.net({"image0": image0, "image1": image1})
        points = {f"keypoints{i}": found[f"keypoints{i}"].float() - self.origin for i in (0, 1)}
        return {**found, **points, "confidence": found["confidence"].float()}


class LoFTRMatcher(TransformerMatcher):
    """LoFTR (Sun et al. 2021) of kornia: with its pretrained weights, or trained here.

    Args:
        pretrained: Pretrained weights: outdoor (MegaDepth), indoor or indoor_new (ScanNet). They
            are downloaded once. Not used with a checkpoint.
        weights: Weight file, for machines without network access (for example kornia's
            loftr_outdoor.ckpt); ``pretrained`` must name the variant of the file.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_loftr.yaml"
    title = "LoFTR"

    def __init__(
        self, pretrained: str = "outdoor", weights: str | None = None, **options: Any
    ) -> None:
        super().__init__(weights=weights, **options)
        if pretrained not in PRETRAINED:
            raise ValueError(f"pretrained must be one of {', '.join(PRETRAINED)}, got {pretrained}")
        self.pretrained = pretrained

    def load_net(self) -> nn.Module:
        """Return kornia's LoFTR with downloaded weights or those of the file."""
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import urls

        option = "--model.weights"
        if self.weights is None:
            build = partial(LoFTR, self.pretrained)
            return download_weights(self.title, build, option, urls[self.pretrained][0])
        # Only indoor_new was trained with the corrected positional encoding.
        net = build_loftr(fixed_encoding=self.pretrained == "indoor_new")
        return read_weights(self.title, net, self.weights, option)


class SE2LoFTRMatcher(TransformerMatcher):
    """LoFTR with a rotation-equivariant backbone (after Bökman and Kahl 2022).

    Pretrained weights are not available; matching requires a checkpoint or a weight file of your
    own.

    Args:
        weights: Weight file: the state_dict of ``patchmatch.pairs.loftr.se2.se2_loftr()``, saved
            with torch.save.
        fields: Fields of eight rotations at 1/2, 1/4 and 1/8 of the size; ``channels`` counts only
            the channels of the features after the pooling of rotations.
        options: Options of ``TransformerMatcher`` and ``PairMatcher``.
    """

    predict_config = "config_match_se2_loftr.yaml"
    title = "SE(2)-LoFTR"

    def __init__(
        self,
        weights: str | None = None,
        fields: tuple[int, int, int] = FIELDS,
        **options: Any,
    ) -> None:
        self.fields = tuple(fields)
        super().__init__(weights=weights, **options)

    def build_net(self) -> nn.Module:
        """Return the network with random weights."""
        return build_loftr(*self.size, self.fields)

    def load_net(self) -> nn.Module:
        """Return SE(2)-LoFTR with the weights of the file."""
        if self.weights is None:
            raise InputError(
                "SE(2)-LoFTR: pretrained weights are not available for download; train it "
                "(patchmatch fit -c se2_loftr) and give the checkpoint as --ckpt_path, or give a "
                "state_dict as --model.weights"
            )
        return read_weights(self.title, self.build_net(), self.weights, "--model.weights")
