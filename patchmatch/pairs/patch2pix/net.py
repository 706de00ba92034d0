"""Networks of Patch2Pix: a frozen backbone, and the mid and the fine regressor."""

import abc
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from patchmatch.core.checkpoints import read_checkpoint, shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.luma import to_gray
from patchmatch.pairs.loftr.net import build_loftr
from patchmatch.pairs.patch2pix.proposals import STRIDE, mutual_neighbours
from patchmatch.pairs.patch2pix.regressor import (
    FINE_SPACING,
    MID_SPACING,
    Pyramid,
    Refined,
    Regressor,
)

BACKBONES = {"loftr": "loftr.ckpt"}  # checkpoints in ``patchmatch/weights``, by name
CONTRAST_FLOOR = 0.02  # with which these backbones were trained
PREFIX = "net.backbone."  # of the backbone in these checkpoints


class RefinementNet(nn.Module, abc.ABC):
    """Base of the networks of Patch2Pix: proposals, and two regressors that refine them.

    Attributes:
        backbone: Frozen feature extractor.
        mid: Regressor of the proposals.
        fine: Regressor of the result of the mid one.
    """

    #: Pixels between the cells that are proposed.
    stride: int
    #: Pixels by which the anchors of a proposal are displaced.
    shift: float
    #: Times that the fine regressor is applied.
    fine_steps: int = 1
    #: Matches that are refined at once.
    chunk: int = 1024

    backbone: Any
    mid: Any
    fine: Any

    @abc.abstractmethod
    def extract(self, image: Float[Tensor, "B C H W"]) -> Any:
        """Return the features of RGB or gray images in [0, 1], which can be indexed by a slice."""

    @abc.abstractmethod
    def propose(
        self,
        features0: Any,
        features1: Any,
        valid0: Bool[Tensor, "H W"] | None = None,
        valid1: Bool[Tensor, "H1 W1"] | None = None,
    ) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
        """Return the proposals of one pair in pixels, the best first.

        Args:
            features0: Features of one image 0.
            features1: Features of one image 1.
            valid0: Cells of image 0 that may match; None for all.
            valid1: The same for image 1.
        """

    def train(self, mode: bool = True) -> "RefinementNet":
        """Set the mode of the regressors; the backbone always keeps its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def refine(
        self,
        features0: Any,
        features1: Any,
        pair: Int[Tensor, "M"],
        points0: Float[Tensor, "M 2"],
        points1: Float[Tensor, "M 2"],
    ) -> list[Refined]:
        """Return the matches after the mid regressor, and after each step of the fine one.

        The arguments are those of ``Regressor``. No gradient flows from one step to another.
        """
        return self._refine(self._steps(features0, features1, True), pair, points0, points1)

    def refine_pair(
        self,
        features0: Any,
        features1: Any,
        points0: Float[Tensor, "M 2"],
        points1: Float[Tensor, "M 2"],
        coarse: bool = True,
    ) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"], Float[Tensor, "M"]]:
        """Return the refined matches of one pair, with their confidence in [0, 1].

        Memory does not grow with the number of matches.

        Args:
            features0: Features of one image 0.
            features1: Features of one image 1.
            points0: x and y in pixels of image 0.
            points1: x and y in pixels of image 1.
            coarse: Take both regressors, and the lower one of their confidences; otherwise only the
                fine one.
        """
        steps = self._steps(features0, features1, coarse)
        parts = [(points0[:0], points1[:0], points0[:0, 0])]
        for start in range(0, len(points0), self.chunk):
            part0, part1 = points0[start : start + self.chunk], points1[start : start + self.chunk]
            pair = torch.zeros(len(part0), dtype=torch.long, device=part0.device)
            refined = self._refine(steps, pair, part0, part1)
            logits = refined[-1].logits
            if coarse:
                logits = torch.minimum(refined[0].logits, logits)
            parts.append((refined[-1].points0, refined[-1].points1, logits.sigmoid()))
        moved0, moved1, score = (torch.cat(values) for values in zip(*parts, strict=True))
        return moved0, moved1, score

    def _steps(self, features0: Any, features1: Any, coarse: bool) -> list[tuple[Any, Any, Any]]:
        """Return the regressors in the order of application, with their maps of both images."""
        fine = (self.fine, self.fine.project(features0), self.fine.project(features1))
        steps = [fine] * self.fine_steps
        if coarse:
            steps.insert(0, (self.mid, self.mid.project(features0), self.mid.project(features1)))
        return steps

    @staticmethod
    def _refine(
        steps: list[tuple[Any, Any, Any]], pair: Tensor, points0: Tensor, points1: Tensor
    ) -> list[Refined]:
        refined: list[Refined] = []
        for regressor, maps0, maps1 in steps:
            refined.append(regressor(maps0, maps1, pair, points0, points1))
            points0, points1 = refined[-1].points0.detach(), refined[-1].points1.detach()
        return refined


class Patch2PixNet(RefinementNet):
    """Small Patch2Pix: regressors on the features of LoFTR; mutual neighbours as proposals.

    Args:
        backbone: Name in ``BACKBONES``: the convolutions of the shipped LoFTR. They are part of the
            state_dict, so that a checkpoint stays valid when the package ships another LoFTR.

    Raises:
        InputError: If the checkpoint of the backbone is missing or does not contain one.
    """

    stride, shift = STRIDE, STRIDE / 2
    fine_steps = 2

    def __init__(self, backbone: str = "loftr") -> None:
        super().__init__()
        self.backbone, channels = load_backbone(BACKBONES[backbone])
        self.backbone.requires_grad_(False).eval()  # Trainer.fit keeps the mode of each module
        self.mid = Regressor(channels, MID_SPACING)
        self.fine = Regressor(channels, FINE_SPACING)

    @torch.no_grad()
    def extract(self, image: Float[Tensor, "B C H W"]) -> Pyramid:
        """Return the features of RGB or gray images in [0, 1]."""
        net: Any = self.backbone
        image = normalize_contrast(to_gray(image), CONTRAST_FLOOR)
        levels: list[Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _, inputs, output: levels.append(output))
            for layer in (net.layer1, net.layer2, net.layer3)
        ]
        try:
            coarse, fine = net(image)
        finally:
            for hook in hooks:
                hook.remove()
        half, quarter, eighth = levels
        return Pyramid(
            image=image, half=half, quarter=quarter, eighth=eighth, fine=fine, coarse=coarse.float()
        )

    def propose(
        self,
        features0: Pyramid,
        features1: Pyramid,
        valid0: Bool[Tensor, "H W"] | None = None,
        valid1: Bool[Tensor, "H1 W1"] | None = None,
    ) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
        """Return the mutual nearest neighbours of one pair, see ``RefinementNet.propose``."""
        return mutual_neighbours(features0.coarse[0], features1.coarse[0], valid0, valid1)[:2]


def load_backbone(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return the convolutions of a shipped LoFTR with their weights, and their channels.

    Args:
        name: Checkpoint in ``patchmatch/weights``.

    Raises:
        InputError: If the checkpoint is missing, or not one of LoFTR.
    """
    path = shipped_checkpoint(name)
    checkpoint = read_checkpoint(path)
    settings, weights = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    found = {k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)}
    if not found or "channels" not in settings:
        raise InputError(f"{path}: contains no backbone of LoFTR; install patchmatch again")
    half, quarter, eighth = settings["channels"]
    net: Any = build_loftr((half, quarter, eighth), layers=0, heads=1, fine_layers=0)
    net.backbone.load_state_dict(found)
    return net.backbone, (half, quarter, eighth)
