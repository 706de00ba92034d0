"""Base of LoFTR and SE(2)-LoFTR: matching, training and evaluation."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.core.weights import read_state_dict
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
from patchmatch.pairs.pretrained import half_precision, read_weights
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.trainable import TrainablePairMatcher

CONTRAST_FLOOR = 0.02  # added to the local standard deviation, so that noise stays small
FINE_MATCHES = 512  # true matches of a batch that train the fine stage
ERROR_THRESHOLDS = (1, 3, 8)  # pixels
# The published weights take the corner of the top left pixel as origin, those trained here its
# centre.
PUBLISHED_ORIGIN = 0.5


class TransformerMatcher(TrainablePairMatcher, DetectorFreeMatcher, abc.ABC):
    """Base of matchers with the interface of kornia's LoFTR.

    Args:
        weights: Weight file of the network: the state_dict of ``build_loftr``, or a checkpoint of
            ``fit``. ``fit`` starts from it.
        max_size: Pixels to which the longest side of each image is reduced; null keeps the full
            size, which takes time in proportion to the number of tiles.
        tile: Side in pixels of the tiles that are matched at once; memory grows with its fourth
            power. Null matches the whole images at once.
        half: Compute in half precision (on CUDA only).
        confidence: Minimum dual-softmax probability of a coarse match.
        channels: Channels at 1/2, 1/4 and 1/8 of the size; the default is the published size.
        layers: Pairs of a self- and a cross-attention layer of the coarse transformer.
        heads: Attention heads.
        fine_layers: Pairs of layers of the fine transformer; 0 correlates the features of the
            backbone.
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
    #: Name of the network in messages, and checkpoint in ``patchmatch/weights``.
    title: ClassVar[str]
    shipped: ClassVar[str]

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
        self.net = self._with_threshold(self.build_net())

    @abc.abstractmethod
    def build_net(self) -> nn.Module:
        """Return the network with random weights."""

    def load_net(self) -> nn.Module:
        """Return the network of the package, or that of the file."""
        return self.shipped_net() if self.weights is None else self.read_net(self.build_net())

    def read_net(self, net: nn.Module) -> nn.Module:
        """Return a network with the weights of the file: a state_dict, or a checkpoint of fit."""
        option, path = "--model.weights", str(self.weights)
        names = read_state_dict(path, f"give the weights of {self.title} as {option}")
        is_checkpoint = all(name.startswith("net.") for name in names)
        self.origin = 0.0 if is_checkpoint else PUBLISHED_ORIGIN
        holder = nn.ModuleDict({"net": net}) if is_checkpoint else net
        read_weights(self.title, holder, path, option)
        return net

    def shipped_net(self) -> nn.Module:
        """Return the network of the package, of the size it was trained with."""
        checkpoint = read_checkpoint(shipped_checkpoint(self.shipped))
        settings = checkpoint["hyper_parameters"]
        self.normalize, self.origin = bool(settings["normalize"]), 0.0
        net = build_loftr(
            settings["channels"],
            settings["layers"],
            settings["heads"],
            settings["fine_layers"],
            settings.get("fields"),
        )
        nn.ModuleDict({"net": net}).load_state_dict(checkpoint["state_dict"])
        return net.eval()

    def prepare(self) -> None:
        """Load the weights on the first call, unless those of a checkpoint are loaded."""
        if not self.is_trained:
            self.net = self._with_threshold(self.load_net()).to(self.device)
            self.is_trained = True

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
        """Load the weights that a training starts from."""
        if stage == "fit" and self.weights is not None and not self.is_trained:
            self.net, self.origin = self._with_threshold(self.load_net()).train(), 0.0

    def on_predict_start(self) -> None:
        """Load the weights before the first pair, after those of a checkpoint."""
        self.prepare()

    on_validation_start = on_test_start = on_predict_start

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

    def _with_threshold(self, net: Any) -> nn.Module:
        net.coarse_matching.thr = self.confidence
        return net

    def _input(self, gray: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        return normalize_contrast(gray, CONTRAST_FLOOR) if self.normalize else gray

    def _match_batch(self, image0: Tensor, image1: Tensor) -> dict[str, Tensor]:
        """Return the matches of images (B, 1, H, W), float32, with keypoints in our convention."""
        with half_precision(image0, self.half_precision):
            found = self.net({"image0": image0, "image1": image1})
        points = {f"keypoints{i}": found[f"keypoints{i}"].float() - self.origin for i in (0, 1)}
        return {**found, **points, "confidence": found["confidence"].float()}
