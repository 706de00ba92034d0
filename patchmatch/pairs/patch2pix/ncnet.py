"""NCNet: matches of patches by neighbourhood consensus, trained from pairs of images alone."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.core.errors import InputError
from patchmatch.core.weights import read_state_dict
from patchmatch.pairs.detector_free import DetectorFreeMatcher
from patchmatch.pairs.loftr.data import FlowBatch
from patchmatch.pairs.patch2pix.backbone import (
    ResNetFeatures,
    build_features,
    load_resnet,
)
from patchmatch.pairs.patch2pix.consensus import (
    CHANNELS,
    KERNELS,
    CellMatches,
    Consensus,
    Pooled,
    best_matches,
    consensus_weights,
    pooled_correlation,
    weak_loss,
)
from patchmatch.pairs.pretrained import AUTO
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.trainable import PretrainedPairMatcher

ERROR_THRESHOLDS = (4, 8, 16)  # pixels


class NCNetMatcher(PretrainedPairMatcher, DetectorFreeMatcher):
    """NCNet (Rocco et al. 2018): matches cells of 8 pixels by neighbourhood consensus.

    4D convolutions on the correlation of all pairs of cells find matches that agree with those
    around them. With ``relocate`` they run on maxima over blocks of cells, whose positions are kept
    (Sparse-NCNet, Rocco et al. 2020). The backbone is frozen; the consensus is trained from pairs
    of images that show the same or do not, without correspondences.

    Args:
        backbone: Feature extractor: loftr, the convolutions of the shipped LoFTR; or resnet34, with
            ImageNet weights.
        backbone_weights: Weights of resnet34: auto, which downloads them once, or a file with
            torchvision's state_dict. A checkpoint contains its own.
        weights: File with the consensus layers of a published checkpoint, saved as a plain
            state_dict; null for the shipped ones, which were trained here with loftr. Not used with
            a checkpoint.
        change_stride: Features of resnet34 at 1/8 of the size, in place of 1/16.
        relocate: Side of the blocks of cells; 1 correlates all cells, which takes 16 times
            the memory of 2.
        channels: Output channels of the 4D convolutions; the last has 1.
        kernels: Sides of their kernels in cells.
        both: Keep matches that are best in one direction only.
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size.
        tile: Side in pixels of the tiles that are matched at once; null matches the whole images.
        lr: Peak learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        options: Options of ``PairMatcher``.
    """

    in_color = True
    needs_float32 = True
    shipped = "ncnet.ckpt"
    predict_config = "config_match_ncnet.yaml"
    checkpoint_settings = frozenset(
        {"backbone", "change_stride", "relocate", "channels", "kernels", "lr", "weight_decay"}
    )

    def __init__(
        self,
        backbone: str = "loftr",
        backbone_weights: str = AUTO,
        weights: str | None = None,
        change_stride: bool = True,
        relocate: int = 2,
        channels: tuple[int, ...] = CHANNELS,
        kernels: tuple[int, ...] = KERNELS,
        both: bool = False,
        max_size: int | None = 840,
        tile: int | None = 840,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        **options: Any,
    ) -> None:
        super().__init__(max_size=max_size, tile=tile, **options)
        if relocate < 1:
            raise ValueError(f"relocate must be at least 1, got {relocate}")
        self.features = build_features(backbone, change_stride)
        self.consensus = Consensus(channels, kernels)
        self.backbone_weights, self.weights = backbone_weights, weights
        self.relocate, self.both = relocate, both
        self.lr, self.weight_decay = lr, weight_decay

    def load_pretrained(self) -> None:
        """Load the consensus layers of a published file, or the weights of the package."""
        if self.weights is None:
            if isinstance(self.features, ResNetFeatures):
                raise InputError(
                    "NCNet: no weights for --model.backbone resnet34 are shipped; give a "
                    "checkpoint as --ckpt_path (patchmatch fit -c ncnet --model.backbone resnet34 "
                    "trains one) or a published state_dict as --model.weights"
                )
            self.load_shipped()
            return
        advice = "give a plain state_dict of NCNet as --model.weights"
        found = consensus_weights(read_state_dict(self.weights, advice))
        expected = {k: tuple(v.shape) for k, v in self.consensus.state_dict().items()}
        shapes = {k: tuple(v.shape) for k, v in found.items()}
        if shapes != expected:
            raise InputError(
                f"{self.weights}: the consensus layers do not fit --model.channels and "
                f"--model.kernels: expected {expected}, got {shapes or 'none'}; {advice}"
            )
        self.initialize()
        self.consensus.load_state_dict(found)

    def initialize(self) -> None:
        """Load the weights of the backbone."""
        if isinstance(self.features, ResNetFeatures):
            load_resnet(self.features, self.backbone_weights)

    def match_tile(
        self,
        image0: Float[Tensor, "1 3 H W"],
        image1: Float[Tensor, "1 3 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None,
        valid1: Bool[Tensor, "1 H1 W1"] | None,
    ) -> Correspondences:
        """Match two RGB images; invalid pixels are replaced by 0.5."""
        self.prepare()
        features0, features1 = (
            self._extract(image if valid is None else torch.where(valid[:, None], image, 0.5))
            for image, valid in ((image0, valid0), (image1, valid1))
        )
        found = self._cells(pooled_correlation(features0, features1, self.relocate), 0)
        kept = torch.ones_like(found.mutual) if self.both else found.mutual
        stride = self.features.stride
        return Correspondences(
            points0=stride * found.cells0[kept].float(),
            points1=stride * found.cells1[kept].float(),
            score=found.score[kept],
        )

    def training_step(self, batch: FlowBatch, batch_idx: int) -> Tensor:
        """Return the weakly supervised loss; each image 0 is unrelated to the next image 1."""
        if len(batch["image0"]) < 2:
            raise InputError(
                "NCNet needs at least 2 pairs in a batch, to form unrelated ones; give a larger "
                "--data.batch_size"
            )
        features0, features1 = (self._extract(batch[name]) for name in ("image0", "image1"))
        related = pooled_correlation(features0, features1, self.relocate).scores
        unrelated = pooled_correlation(features0, features1.roll(1, 0), self.relocate).scores
        loss = weak_loss(self.consensus(related), self.consensus(unrelated))
        self.log("train/loss", loss, batch_size=len(features0), prog_bar=True)
        return loss

    def validation_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Evaluate the matches of a batch of validation images."""
        self._evaluate("val", batch)

    def test_step(self, batch: FlowBatch, batch_idx: int) -> None:
        """Evaluate the matches of a batch of test images."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: FlowBatch) -> None:
        """Log the shares of mutual matches within thresholds; matches without truth count not."""
        features0, features1 = (self._extract(batch[name]) for name in ("image0", "image1"))
        pooled = pooled_correlation(features0, features1, self.relocate)
        for index in range(len(features0)):
            found = self._cells(pooled, index)
            x, y = (self.features.stride * found.cells0[found.mutual]).unbind(dim=1)
            height, width = batch["valid"].shape[1:]
            x, y = x.clamp_max(width - 1), y.clamp_max(height - 1)
            points1 = self.features.stride * found.cells1[found.mutual]
            truth = torch.stack([x, y], dim=1) + batch["flow"][index, :, y, x].mT
            error = (points1 - truth).norm(dim=1)[batch["valid"][index, y, x]]
            self.log(f"{stage}/matches", float(len(error)), batch_size=1)
            for pixels in ERROR_THRESHOLDS:
                share = (error <= pixels).float().sum() / max(1, len(error))
                self.log(f"{stage}/within_{pixels}", share, batch_size=1)

    def _extract(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Return the features of images, extended to whole blocks of cells."""
        block = self.features.stride * self.relocate
        bottom, right = (-side % block for side in image.shape[-2:])
        return self.features(F.pad(image, (0, right, 0, bottom), mode="replicate"))

    def _cells(self, pooled: Pooled, index: int) -> CellMatches:
        scores = self.consensus(pooled.scores[index : index + 1])[0]
        offsets = None if pooled.offsets is None else pooled.offsets[index]
        return best_matches(scores, offsets, self.relocate)
