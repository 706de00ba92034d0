"""Training of features for template matching on places seen from several viewpoints."""

from collections.abc import Sequence

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric

from patchmatch.core.matcher import Matcher
from patchmatch.templates.backbones import load_backbone_weights, require_stride
from patchmatch.templates.features import normalize_features
from patchmatch.templates.losses import (
    UNKNOWN,
    corresponding_cells,
    match_log_quality,
    neighbour_cells,
    triplet_loss,
)
from patchmatch.templates.places import PlaceBatch
from patchmatch.templates.retrieval import Retrieval
from patchmatch.templates.tuned_net import TunedFeatures


class PlaceMatcher(Matcher):
    """Tune features for template matching on places seen from several viewpoints.

    The loss is the sum of two terms. The first is the negative log quality of the true matches
    between two views, computed as in QATM (Cheng et al., CVPR 2019) among the cells of all places
    of the batch; it needs known correspondences. The second is a triplet margin loss with
    semi-hard negatives on the embeddings of whole views (Schroff et al., CVPR 2015).

    Args:
        features: Feature extractor: vgg19, another network of torchvision, or handcrafted (needs
            no weights).
        weights: File with the weights of the network; null downloads those of torchvision.
        layers: Names of the network's layers in torchvision; null for the default layers of vgg19.
        stride: Side of a cell in pixels, 1, 2, 4 or 8.
        head: Kernel size, in cells, of the residual convolution on each map of features; 0 for
            none.
        embedding: Length of the embedding of a view.
        tune: Layers of the network to train as well, by their names in torchvision; a name
            includes all sublayers.
        unfreeze_every: Epochs until the next layer of ``tune`` is unfrozen; 0 trains all from the
            start.
        lr: Learning rate of AdamW for the convolutions and the embedding.
        tune_lr: Learning rate of the layers in ``tune``.
        weight_decay: Weight decay of AdamW.
        match_weight: Weight of the match quality in the loss.
        triplet_weight: Weight of the triplet loss.
        margin: Margin of the triplet loss, in squared distance.
        radius: Distance in cells at which a match still counts as correct.
        alpha: Inverse temperature of the match quality.
        patience: Epochs without a better val/recall_1 before the learning rates are halved.
    """

    predict_config = "config_template_predict.yaml"
    predict_source = "--data.scene SCENE --data.templates DIR"
    predict_checkpoint = "--model.features"

    def __init__(
        self,
        features: str = "vgg19",
        weights: str | None = None,
        layers: Sequence[str] | None = None,
        stride: int = 4,
        head: int = 1,
        embedding: int = 128,
        tune: Sequence[str] = (),
        unfreeze_every: int = 0,
        lr: float = 1e-3,
        tune_lr: float = 1e-5,
        weight_decay: float = 1e-2,
        match_weight: float = 1.0,
        triplet_weight: float = 1.0,
        margin: float = 0.2,
        radius: int = 2,
        alpha: float = 25.0,
        patience: int = 2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["weights"])  # checkpoints contain their values
        require_stride(stride)
        if head < 0 or (head and head % 2 == 0):
            raise ValueError(f"head must be 0 or an odd number of cells, got {head}")
        if embedding < 1:
            raise ValueError(f"embedding must be at least 1, got {embedding}")
        if unfreeze_every < 0:
            raise ValueError(f"unfreeze_every must be at least 0 epochs, got {unfreeze_every}")
        if radius < 0:
            raise ValueError(f"radius must be at least 0 cells, got {radius}")
        if alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {alpha}")
        if not head and not tune and not triplet_weight:
            raise ValueError("there are no parameters to train; give head, tune or triplet_weight")
        self.net = TunedFeatures(features, layers, stride, head, embedding)
        self.layers = [self.net.parameters_of(name) for name in tune]
        for parameter in (p for layer in self.layers for p in layer):
            parameter.requires_grad_()
        self.features, self.weights_file, self.unfreeze_every = features, weights, unfreeze_every
        self.lr, self.tune_lr, self.weight_decay = lr, tune_lr, weight_decay
        self.match_weight, self.triplet_weight = match_weight, triplet_weight
        self.margin, self.radius, self.alpha, self.patience = margin, radius, alpha, patience
        self.retrieval = Retrieval()
        self.mean_loss, self.mean_quality, self.accuracy = (MeanMetric() for _ in range(3))
        self.has_weights: Tensor  # saved, so that the weights of a checkpoint are not overwritten
        self.register_buffer("has_weights", torch.zeros((), dtype=torch.bool))

    def on_fit_start(self) -> None:
        """Load the weights of the network, unless a checkpoint contained them."""
        if not self.has_weights:
            load_backbone_weights(self.net.backbone, self.features, self.weights_file)
            self.has_weights.fill_(value=True)

    on_validation_start = on_test_start = on_fit_start

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW; its learning rates are halved when the recall stops rising."""
        tuned = {id(p) for layer in self.layers for p in layer}
        groups = [
            {"params": [p for p in self.parameters() if p.requires_grad and id(p) not in tuned]},
            {"params": [p for layer in self.layers for p in layer], "lr": self.tune_lr},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], self.lr, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=self.patience
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val/recall_1", "strict": False},
        }

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Freeze the layers of ``tune`` that are not unfrozen yet."""
        if self.unfreeze_every:
            for layer in self.layers[1 + self.current_epoch // self.unfreeze_every :]:
                for parameter in layer:  # requires_grad must not change: DDP reads it only once
                    parameter.grad = None

    def training_step(self, batch: PlaceBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        maps = self.net(batch["image"])
        loss, quality, correct = self._losses(batch, maps, self.net.embedding(maps))
        count = len(batch["image"])
        self.log("train/loss", loss, batch_size=count)
        if len(correct):
            self.log("train/quality", quality, batch_size=count)
            self.log("train/found", correct.mean(), batch_size=count, prog_bar=True)
        return loss

    def _losses(
        self, batch: PlaceBatch, maps: Sequence[Tensor], embedding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the mean log quality of the matches, and which ones are correct."""
        quality, correct = self.matches(batch, maps)
        quality = quality.sum() / max(1, len(quality))
        triplets = triplet_loss(embedding, batch["place"], self.margin)
        return self.triplet_weight * triplets - self.match_weight * quality, quality, correct

    def matches(self, batch: PlaceBatch, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the log quality of the true matches, (N,), and 1 for correct best matches, (N,).

        The first view of each place is a template; the second views of all places are the scene.

        Args:
            batch: Views of places.
            maps: Features of each kind, (B, D, h, w).
        """
        changes = batch["place"][1:] != batch["place"][:-1]
        starts = torch.cat([changes.new_ones(1), changes])
        first = torch.nonzero(starts[:-1] & ~changes).flatten()  # the next view is of its place
        homography = batch["homography"].double()
        between = homography[first + 1] @ torch.linalg.pinv(homography[first].nan_to_num())
        rows, columns = maps[0].shape[-2:]
        cells = corresponding_cells(between, (rows, columns), self.net.stride)  # (P, T)
        neighbours = neighbour_cells((rows, columns), self.radius).to(cells.device)
        scene = [_flatten_cells(features[first + 1]) for features in maps]
        qualities, correct = [maps[0].new_zeros(0)], [maps[0].new_zeros(0)]
        for i, view in enumerate(first.tolist()):
            if (cells[i] == UNKNOWN).all():
                continue
            template = [_flatten_cells(features[view : view + 1]) for features in maps]
            target = torch.where(cells[i] == UNKNOWN, UNKNOWN, cells[i] + i * rows * columns)
            scene_features, (features,) = normalize_features(scene, [template])
            one = match_log_quality(scene_features, features, target, neighbours, self.alpha)
            qualities.append(one[0])
            correct.append(one[1])
        return torch.cat(qualities), torch.cat(correct)

    def validation_step(self, batch: PlaceBatch, batch_idx: int) -> None:
        """Update the metrics with a batch of the validation set."""
        self._update_metrics(batch)

    def test_step(self, batch: PlaceBatch, batch_idx: int) -> None:
        """Update the metrics with a batch of the test set."""
        self._update_metrics(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_metrics("test")

    def _update_metrics(self, batch: PlaceBatch) -> None:
        maps = self.net(batch["image"])
        embedding = self.net.embedding(maps)
        loss, quality, correct = self._losses(batch, maps, embedding)
        self.retrieval.update(embedding, batch["place"], batch["query"])
        self.mean_loss.update(loss, len(embedding))
        if len(correct):
            self.mean_quality.update(quality, len(correct))
            self.accuracy.update(correct)

    def _log_metrics(self, stage: str) -> None:
        """Log and reset the metrics, which torchmetrics sums over all processes."""
        values = self.retrieval.compute()
        self.retrieval.reset()
        means = {"loss": self.mean_loss, "quality": self.mean_quality, "found": self.accuracy}
        for name, metric in means.items():
            if metric.update_called:  # images without homographies have no known matches
                values[name] = metric.compute()
            metric.reset()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, sync_dist=True)


def _flatten_cells(features: Tensor) -> Tensor:
    """Return maps, (B, D, h, w), as (B * h * w, D)."""
    return features.movedim(1, -1).flatten(0, 2)
