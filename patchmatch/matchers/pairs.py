"""What every matcher shares that finds corresponding points of two pictures."""

import abc
import time
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from patchmatch.data.image_pairs import ImagePair
from patchmatch.errors import InputError
from patchmatch.evaluation.geometry import estimate_homography
from patchmatch.matchers.base import Matcher, keep_freed_memory
from patchmatch.ops import drop_duplicates
from patchmatch.results import Matches

LUMA = torch.tensor([0.299, 0.587, 0.114])
SMALLEST_SIDE = 16  # pixels: smaller pictures hold nothing that could be found again
TURNS = (1, 2, 4)


@dataclass(frozen=True)
class Found:
    """Corresponding points as a matcher finds them, in pixels of the images that it was given.

    Attributes:
        points0: (N, 2) float, x and y.
        points1: (N, 2) float, their partners.
        score: (N,) float, higher is better, in any order.
    """

    points0: Tensor
    points1: Tensor
    score: Tensor


class PairMatcher(Matcher, abc.ABC):
    """Base of matchers that find corresponding points of two pictures.

    A subclass finds them in ``find``, in images as they come; resizing, turning, masks, the order
    and the homography are the work of this class.

    Args:
        max_size: Pixels to which the longest side of each image is reduced inside; null keeps
            every pixel. Answers are in pixels of the images as they came.
        max_matches: How many matches to keep at most, the best ones; null keeps all.
        min_score: Matches that score less are left out.
        rotations: In how many orientations image 0 is tried, 1, 2 or 4 quarter turns; the one with
            the most matches on a homography is kept. For matchers that know upright pictures only.
        threshold: Pixels in image 1 within which a match agrees with the homography.
        seed: Of the random samples that the homography is estimated from.
    """

    predict_config = "config_match_sift.yaml"
    predict_source = "--data.pairs FOLDER"

    def __init__(
        self,
        max_size: int | None = None,
        max_matches: int | None = None,
        min_score: float = 0.0,
        rotations: int = 1,
        threshold: float = 3.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if max_size is not None and max_size < SMALLEST_SIDE:
            raise ValueError(f"max_size must be at least {SMALLEST_SIDE} pixels, got {max_size}")
        if max_matches is not None and max_matches < 1:
            raise ValueError(f"max_matches must be at least 1, got {max_matches}")
        if rotations not in TURNS:
            raise ValueError(f"rotations must be 1, 2 or 4, got {rotations}")
        if not 0 < threshold < float("inf"):
            raise ValueError(f"threshold must be a positive number of pixels, got {threshold}")
        self.max_size, self.max_matches, self.min_score = max_size, max_matches, min_score
        self.rotations, self.threshold, self.seed = rotations, threshold, seed

    @abc.abstractmethod
    def find(
        self,
        image0: Float[Tensor, "1 1 H W"],
        image1: Float[Tensor, "1 1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None,
        valid1: Bool[Tensor, "1 H1 W1"] | None,
    ) -> Found:
        """Return the corresponding points of two gray images in [0, 1], 16 pixels a side or more.

        Args:
            image0: On any device.
            image1: On the same device.
            valid0: The pixels that count; points elsewhere are left out by the caller.
            valid1: The same of image 1.
        """

    @torch.no_grad()
    def match(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None = None,
        valid1: Bool[Tensor, "1 H1 W1"] | None = None,
    ) -> Matches:
        """Return the corresponding points of two images and the homography most agree with.

        Args:
            image0: RGB or gray in [0, 1].
            image1: RGB or gray in [0, 1], of any size.
            valid0: The pixels that count; None for all.
            valid1: The same of image 1.

        Returns:
            Matches in pixels of the images, on the CPU, the best first. Without matches all
            tensors are empty.
        """
        start = time.perf_counter()
        keep_freed_memory()
        size0, size1 = image0.shape[-2:], image1.shape[-2:]
        small0, small1 = (self._reduced(_gray(image)) for image in (image0, image1))
        mask0, mask1 = (
            None if valid is None else _resized_mask(valid, small)
            for valid, small in ((valid0, small0), (valid1, small1))
        )
        best = _nothing()
        if min(*small0.shape[-2:], *small1.shape[-2:]) >= SMALLEST_SIDE:
            for turns in range(0, 4, 4 // self.rotations):
                turned = torch.rot90(small0, turns, dims=(-2, -1))
                mask = None if mask0 is None else torch.rot90(mask0, turns, dims=(-2, -1))
                found = self.find(turned, small1, mask, mask1)
                points0 = _turned_back(found.points0.double().cpu(), small0.shape, turns)
                points1, score = found.points1.double().cpu(), found.score.float().cpu()
                keep = _inside(points0, mask0, small0) & _inside(points1, mask1, small1)
                keep &= score >= self.min_score
                points0 = _enlarged(points0[keep], small0, size0)
                points1 = _enlarged(points1[keep], small1, size1)
                answer = self._with_homography(self._ordered(points0, points1, score[keep]))
                best = max(best, answer, key=_support)
        return replace(best, seconds=time.perf_counter() - start)

    def predict_step(self, batch: ImagePair, batch_idx: int) -> list[Matches]:
        """Return the matches of a pair in pixels of the files; nothing where it was left out."""
        if not batch["pairs"]:
            return []
        found = self.match(batch["image0"], batch["image1"], batch["valid0"], batch["valid1"])
        if batch["scale"] == 1:
            return [found]
        points = [
            _enlarged(points.double(), batch[name], batch["sizes"][i])
            for i, (name, points) in enumerate(
                (("image0", found.keypoints0), ("image1", found.keypoints1))
            )
        ]
        whole = Matches(points[0].float(), points[1].float(), found.score)
        return [replace(self._with_homography(whole), seconds=found.seconds)]

    def setup(self, stage: str) -> None:
        """Make ready before the first pair, so that what is missing is told at once."""
        if stage == "predict":
            self.prepare()

    def prepare(self) -> None:
        """Fetch what matching needs, such as weights; called before the first match."""

    def _refuse(self, *_: Any) -> NoReturn:
        """Say that there is nothing to train, before Lightning looks for how to."""
        raise InputError(
            f"{type(self).__name__} is not trained here and has no measure of its own: it can only "
            "predict; train another matcher"
        )

    training_step = validation_step = test_step = configure_optimizers = _refuse

    def _reduced(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        scale = (self.max_size or max(height, width)) / max(height, width)
        if scale >= 1:
            return image
        size = max(1, round(height * scale)), max(1, round(width * scale))
        # "area" averages the pixels that fall together, so fine texture does not alias
        return F.interpolate(image, size, mode="area")

    def _ordered(self, points0: Tensor, points1: Tensor, score: Tensor) -> Matches:
        """Return the matches with the best first, no place twice and not too many."""
        order = score.argsort(descending=True, stable=True)
        order = order[drop_duplicates(points0[order], points1[order])][: self.max_matches]
        return Matches(points0[order].float(), points1[order].float(), score[order])

    def _with_homography(self, matches: Matches) -> Matches:
        estimate = estimate_homography(
            matches.keypoints0.numpy(), matches.keypoints1.numpy(), self.threshold, self.seed
        )
        if estimate.model is None:
            return matches
        return replace(
            matches,
            inliers=torch.from_numpy(estimate.inliers),
            homography=torch.from_numpy(estimate.model),
        )


def _support(matches: Matches) -> tuple[int, int]:
    """Return what one orientation is better by than another."""
    return 0 if matches.inliers is None else int(matches.inliers.sum()), len(matches)


def _nothing() -> Matches:
    return Matches(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0))


def _gray(image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        raise ValueError(
            f"an image must be (1, 1, H, W) gray or (1, 3, H, W) RGB, got {tuple(image.shape)}"
        )
    if image.shape[1] == 1:
        return image
    return (image * LUMA.to(image)[:, None, None]).sum(dim=1, keepdim=True)


def _resized_mask(valid: Tensor, image: Tensor) -> Tensor:
    """Return a mask (1, H, W) in the size of an image (1, C, h, w); half covered does not count."""
    if valid.shape[-2:] == image.shape[-2:]:
        return valid
    return F.interpolate(valid[:, None].float(), image.shape[-2:], mode="area")[:, 0] > 0.5


def _enlarged(points: Tensor, image: Tensor, size: Any) -> Tensor:
    """Return points of an image as points of that of ``size``, height and width, it came from."""
    scale = [size[1] / image.shape[-1], size[0] / image.shape[-2]]
    return (points + 0.5) * points.new_tensor(scale) - 0.5


def _turned_back(points: Tensor, shape: Any, turns: int) -> Tensor:
    """Return points of an image that was turned by ``torch.rot90`` as points of the image."""
    height, width = shape[-2:]
    x, y = points.unbind(dim=1)
    match turns:
        case 1:  # the top right corner has become the top left one
            x, y = width - 1 - y, x
        case 2:
            x, y = width - 1 - x, height - 1 - y
        case 3:
            x, y = y, height - 1 - x
    return torch.stack([x, y], dim=1)


def _inside(points: Tensor, valid: Tensor | None, image: Tensor) -> Tensor:
    """Return which points lie in an image (1, C, H, W), on a pixel that counts."""
    height, width = image.shape[-2:]
    x, y = points.round().long().unbind(dim=1)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    if valid is None:
        return inside
    mask = valid[0].cpu()
    return inside & mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]
