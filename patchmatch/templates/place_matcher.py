"""Tuning features on places seen from several views, for finding templates by them."""

from collections.abc import Sequence

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric

from patchmatch.core.matcher import Matcher
from patchmatch.templates.backbones import read_weights
from patchmatch.templates.features import unite
from patchmatch.templates.places import PlaceBatch
from patchmatch.templates.retrieval import Retrieval
from patchmatch.templates.triplets import (
    UNKNOWN,
    cells_around,
    match_quality,
    matching_cells,
    triplet_loss,
)
from patchmatch.templates.tuned_net import TunedFeatures


class PlaceMatcher(Matcher):
    """Tune features for templates on places that are seen from several views.

    Two losses go together. Where it is known which cells of two views show the same, the log
    quality of these matches is raised, just as QATM (Cheng et al., CVPR 2019) computes it to find
    a template, among the cells of many other places. And the embeddings of whole views are drawn
    together and apart by a triplet margin loss with semi-hard negatives.

    Args:
        features: vgg19, another network of torchvision, or handcrafted, which needs no weights.
        weights: File with the weights of the network; null lets torchvision download them.
        layers: Names of the network's layers in torchvision; null for those proven for vgg19.
        stride: Side of a cell in pixels.
        head: Side in cells of the convolution that changes each map of features; 0 for none.
        embedding: Length of the embedding of a view.
        tune: Layers of the network that are trained, too, by their names in torchvision; a name
            stands for all beneath it.
        unfreeze_every: Epochs until the next one of ``tune`` joins in; 0 trains all at once.
        lr: Learning rate of AdamW, for what comes after the network.
        tune_lr: Learning rate of the network's own layers.
        weight_decay: Weight decay of AdamW.
        match_weight: Weight of the quality of the matches in the loss.
        triplet_weight: Weight of the triplet loss.
        margin: By how much another place is to be farther, in squared distance of embeddings.
        radius: Cells by which a match may miss the true one and still count as right.
        alpha: Inverse temperature of the quality.
        patience: Epochs without a better recall after which the learning rates are halved.
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
        self.save_hyperparameters(ignore=["weights"])  # once read, they are told by their values
        if stride not in (1, 2, 4, 8):
            raise ValueError(f"stride must be 1, 2, 4 or 8 pixels, got {stride}")
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
            raise ValueError("nothing is left to train: give head, tune or triplet_weight")
        self.net = TunedFeatures(features, layers, stride, head, embedding)
        self.layers = [self.net.parameters_of(name) for name in tune]
        for parameter in (p for layer in self.layers for p in layer):
            parameter.requires_grad_()
        self.features, self.weights_file, self.unfreeze_every = features, weights, unfreeze_every
        self.lr, self.tune_lr, self.weight_decay = lr, tune_lr, weight_decay
        self.match_weight, self.triplet_weight = match_weight, triplet_weight
        self.margin, self.radius, self.alpha, self.patience = margin, radius, alpha, patience
        self.retrieval = Retrieval()
        self.mean_loss, self.mean_quality, self.share_found = (MeanMetric() for _ in range(3))
        self.has_weights: Tensor  # kept with them, so that none is read over those of a checkpoint
        self.register_buffer("has_weights", torch.zeros((), dtype=torch.bool))

    def on_fit_start(self) -> None:
        """Read the weights of the network, unless a checkpoint has brought them."""
        if not self.has_weights:
            read_weights(self.net.backbone, self.features, self.weights_file)
            self.has_weights.fill_(value=True)

    on_validation_start = on_test_start = on_fit_start

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, whose rates are halved where recall no longer rises."""
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
        """Hold still the layers whose turn has not come."""
        if self.unfreeze_every:
            for layer in self.layers[1 + self.current_epoch // self.unfreeze_every :]:
                for parameter in layer:  # frozen thus, for DDP fixes at the start what it shares
                    parameter.grad = None

    def training_step(self, batch: PlaceBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        maps = self.net(batch["image"])
        loss, quality, found = self._losses(batch, maps, self.net.embedding(maps))
        count = len(batch["image"])
        self.log("train/loss", loss, batch_size=count)
        if len(found):
            self.log("train/quality", quality, batch_size=count)
            self.log("train/found", found.mean(), batch_size=count, prog_bar=True)
        return loss

    def _losses(
        self, batch: PlaceBatch, maps: Sequence[Tensor], embedding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of a batch, the mean log quality of the matches, and those found."""
        quality, found = self.matches(batch, maps)
        quality = quality.sum() / max(1, len(quality))
        triplets = triplet_loss(embedding, batch["place"], self.margin)
        return self.triplet_weight * triplets - self.match_weight * quality, quality, found

    def matches(self, batch: PlaceBatch, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the log quality of the true matches, and 1 for those that were found.

        The first view of each place is a template; all second views together are the scene.

        Args:
            batch: Views of places.
            maps: Their features of each kind, (B, D, h, w).
        """
        changes = batch["place"][1:] != batch["place"][:-1]
        starts = torch.cat([changes.new_ones(1), changes])
        first = torch.nonzero(starts[:-1] & ~changes).flatten()  # the next one is of its place
        homography = batch["homography"].double()
        between = homography[first + 1] @ torch.linalg.pinv(homography[first].nan_to_num())
        rows, columns = maps[0].shape[-2:]
        match = matching_cells(between, (rows, columns), self.net.stride)  # (N, T)
        around = cells_around((rows, columns), self.radius).to(match.device)
        scene = [_cells(features[first + 1]) for features in maps]
        qualities, found = [maps[0].new_zeros(0)], [maps[0].new_zeros(0)]
        for i, number in enumerate(first.tolist()):
            if (match[i] == UNKNOWN).all():
                continue
            template = [_cells(features[number : number + 1]) for features in maps]
            within = torch.where(match[i] == UNKNOWN, UNKNOWN, match[i] + i * rows * columns)
            scene_features, (template_features,) = unite(scene, [template])
            one = match_quality(scene_features, template_features, within, around, self.alpha)
            qualities.append(one[0])
            found.append(one[1])
        return torch.cat(qualities), torch.cat(found)

    def validation_step(self, batch: PlaceBatch, batch_idx: int) -> None:
        """Measure a batch of places that are not trained on."""
        self._measure(batch)

    def test_step(self, batch: PlaceBatch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        """Log what was measured on the whole validation set."""
        self._tell("val")

    def on_test_epoch_end(self) -> None:
        """Log what was measured on the whole test set."""
        self._tell("test")

    def _measure(self, batch: PlaceBatch) -> None:
        maps = self.net(batch["image"])
        embedding = self.net.embedding(maps)
        loss, quality, found = self._losses(batch, maps, embedding)
        self.retrieval.update(embedding, batch["place"], batch["query"])
        self.mean_loss.update(loss, len(embedding))
        if len(found):
            self.mean_quality.update(quality, len(found))
            self.share_found.update(found)

    def _tell(self, stage: str) -> None:
        """Log, the same in all processes: the metrics have summed over them."""
        values = self.retrieval.compute()
        self.retrieval.reset()
        means = {"loss": self.mean_loss, "quality": self.mean_quality, "found": self.share_found}
        for name, metric in means.items():
            if metric.update_called:  # of pictures it is not known what matches
                values[name] = metric.compute()
            metric.reset()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, sync_dist=True)


def _cells(features: Tensor) -> Tensor:
    """Return maps, (B, D, h, w), as (B * h * w, D)."""
    return features.movedim(1, -1).flatten(0, 2)
