"""Training features through the search for correspondences, and searching with them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.nnf.differentiable.features import PatchFeatures
from patchmatch.nnf.differentiable.loss import (
    decision_loss,
    expectation_loss,
    known_flow,
    whole_patches,
)
from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet
from patchmatch.nnf.differentiable.warped_pairs import WarpedBatch
from patchmatch.nnf.gain_offset import Light, apply_gain_offset, estimate_gain_offset
from patchmatch.nnf.matcher import DenseMatcher, require_seed
from patchmatch.nnf.patches import Field
from patchmatch.ops.contrast import normalize_contrast

FEATURES = ("learned", "rgb", "contrast")
#: Settings of a search, not of how the features were trained.
SEARCH = (
    *("iterations", "patch_size", "candidates", "samples", "steps", "reach", "features", "light"),
    *("norm", "seed", "both_ways", "tolerance"),
)
BYTES = 130  # measured, for every particle that a pixel judges in an iteration
MEMORY = 8e9  # bytes: a search that takes more is refused


class DifferentiablePatchMatch(DenseMatcher):
    """Dense correspondence by Differentiable PatchMatch, on features trained through the search.

    A first search compares features that any gain leaves as they are; from what it finds the light
    is estimated, and the search proper compares image 0 as bright as image 1.

    Args:
        channels: Learned features of a pixel.
        context: Side in pixels of the patch that they depend on.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        train_iterations: Iterations of the search in training.
        iterations: Iterations of the search when pairs are matched.
        patch_size: Side in pixels of the patches that ``rgb`` and ``contrast`` compare.
        candidates: How many different matches to keep for each pixel, the best one first.
        samples: Random particles that a pixel judges in an iteration.
        steps: Distances of the neighbours whose particles a pixel judges, in pixels.
        reach: No component of a displacement is longer, in pixels; None for all of image 1.
        features: What patches are compared by: ``learned``, ``rgb`` (the pixels as they are, of
            any number of channels) or ``contrast`` (each channel with its local contrast made
            even). Only ``learned`` is trained.
        light: Whether image 1 may be brighter or darker than image 0: gain and offset of each
            channel are estimated and undone, for ``learned`` features.
        norm: ``l2`` sums squared differences, ``l1`` absolute ones.
        seed: Seed of the search.
        both_ways: Search image 0 for image 1 as well, and tell which matches agree.
        tolerance: Pixels by which a match that is followed there and back may miss its start,
            with both_ways.
    """

    predict_source = "--model DifferentiablePatchMatch --data.base_dir FOLDER"
    shipped_weights = "differentiable_patch_match.ckpt"

    def __init__(
        self,
        channels: int = 64,
        context: int = 15,
        lr: float = 4e-3,
        weight_decay: float = 1e-4,
        train_iterations: int = 4,
        iterations: int = 8,
        patch_size: int = 7,
        candidates: int = 1,
        samples: int = 4,
        steps: Sequence[int] = (1, 4),
        reach: int | None = None,
        features: str = "learned",
        light: bool = True,
        norm: str = "l2",
        seed: int = 0,
        both_ways: bool = False,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(patch_size, both_ways, tolerance)
        self.save_hyperparameters(ignore=list(SEARCH))
        given = {"iterations": iterations, "train_iterations": train_iterations}
        given |= {"candidates": candidates}
        for name, value in given.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, got {features!r}")
        require_seed(seed)
        self.net = PatchFeatures(channels, context)
        learned = features == "learned"
        self.search = DifferentiablePatchMatchNet(
            iterations=iterations,
            particles=candidates,
            samples=samples,
            steps=tuple(steps),
            reach=reach,
            patch_size=1 if learned else patch_size,
            norm=norm,
        )
        self.lr, self.weight_decay, self.train_iterations = lr, weight_decay, train_iterations
        self.features, self.seed = features, seed
        self.light = light and learned
        #: Side of the patch that the cost of a pixel depends on.
        self.span = self.net.patch_size if learned else patch_size

    def bytes_per_pixel(self, channels: int) -> int:
        """Return how much memory matching takes for each pixel of either image, about."""
        return BYTES * self.search.judged_count

    def between_pixels(self, image0: Tensor, image1: Tensor, field: Field) -> Tensor:
        """Return the expected flow around the best match of every pixel, (B, 2, H, W) float.

        Args:
            image0: The images of the field.
            image1: The images of the field.
            field: What ``fields`` found.
        """
        if self.light:
            image0 = apply_gain_offset(
                image0, estimate_gain_offset(image0, image1, field.flow[:, 0])
            )
        inside = whole_patches(field.flow, self.span)
        features0, features1 = self.describe(image0), self.describe(image1)
        return self._pad(self.search.expected(features0, features1, inside))

    def describe(self, image: Tensor) -> Tensor:
        """Return the feature maps of images, (B, C, H, W) in [0, 1]."""
        if self.features == "learned":
            return self.net(image)
        if self.features == "rgb":
            return image
        return normalize_contrast(image.flatten(0, 1)[:, None]).view_as(image)

    def training_step(self, batch: WarpedBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: of every decision of the search and of its answer."""
        loss, error = self.tried(batch)
        count = len(batch["image0"])
        self.log("train/loss", loss, batch_size=count)
        self.log("train/epe", error.mean(), batch_size=len(error), prog_bar=True)
        temperature = self.search.evaluation.log_temperature.exp()
        self.log("train/temperature", temperature, batch_size=count)
        return loss

    def validation_step(self, batch: WarpedBatch, batch_idx: int) -> None:
        """Measure a batch of held-out pictures."""
        self._measure("val", batch)

    def test_step(self, batch: WarpedBatch, batch_idx: int) -> None:
        """Measure a batch of test pictures."""
        self._measure("test", batch)

    def _measure(self, stage: str, batch: WarpedBatch) -> None:
        *_, field = self.fields(batch["image0"], batch["image1"])
        truth, known = known_flow(batch["flow"], batch["valid"], self.span)
        error = (whole_patches(field.flow[:, 0], self.span) - truth).norm(dim=1)[known]
        self.log(f"{stage}/epe", error.mean(), batch_size=len(error), prog_bar=True)
        self.log(f"{stage}/within_one", (error < 1).float().mean(), batch_size=len(error))

    def tried(self, batch: WarpedBatch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and the errors of the whole-pixel answers that are known.

        The light is undone as the true matches tell it, so that the features learn to find places
        and not to bear light.
        """
        image0, image1 = batch["image0"], batch["image1"]
        light = estimate_gain_offset(image0, image1, batch["flow"].round().long(), batch["valid"])
        features0, features1 = self.net(apply_gain_offset(image0, light)), self.net(image1)
        truth, known = known_flow(batch["flow"], batch["valid"], self.span)
        loss, particles = torch.zeros((), device=truth.device), None
        for found in self.search(features0, features1, iterations=self.train_iterations):
            loss = loss + decision_loss(self.search, features0, features1, found, truth, known)
            particles = found.particles
        assert particles is not None
        answer = self.search.expected(features0, features1, particles)
        loss = loss / self.train_iterations + expectation_loss(answer, truth, known)
        return loss, (particles[:, 0] - truth).norm(dim=1)[known]

    @torch.no_grad()
    def fields(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> Iterator[Field]:
        """Yield the nearest-neighbour field after each iteration.

        A patch is named by its centre. A pixel nearer to the border than half a patch has the
        flow and the cost of the nearest pixel whose patch lies inside.

        Args:
            image0: (B, C, H, W) in [0, 1].
            image1: (B, C, H1, W1), of any size.
            valid0: (B, H, W) bool, the pixels to be matched; the others cost infinity.
            valid1: (B, H1, W1) bool, the pixels that patches may be centred on.

        Raises:
            InputError: If an image is smaller than a patch, the channels do not fit, or the search
                would fill the memory.
        """
        self._require(image0, image1)
        if self.light:
            image0 = apply_gain_offset(image0, self.find_light(image0, image1, valid0, valid1))
        features0, features1 = self.describe(image0), self.describe(image1)
        inside = [None if v is None else whole_patches(v, self.span) for v in (valid0, valid1)]
        chance = torch.Generator().manual_seed(self.seed)
        for found in self.search(features0, features1, None, None, *inside, generator=chance):
            flow, cost = self._pad(found.particles), self._pad(found.cost)
            if valid0 is not None:
                cost = cost.masked_fill(~valid0[:, None], torch.inf)
            yield Field(flow, cost)

    def find_light(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> Light:
        """Return what makes image 0 as bright as image 1, by a search of half the iterations.

        Args:
            image0: As in ``fields``.
            image1: As in ``fields``.
            valid0: As in ``fields``.
            valid1: As in ``fields``.
        """
        features = [self.net(image, any_light=True) for image in (image0, image1)]
        inside = [None if v is None else whole_patches(v, self.span) for v in (valid0, valid1)]
        chance = torch.Generator().manual_seed(self.seed)
        iterations = (self.search.iterations + 1) // 2
        *_, found = self.search(*features, None, None, *inside, chance, iterations)
        flow = self._pad(found.particles[:, 0])
        return estimate_gain_offset(image0, image1, flow, valid0)

    def _pad(self, values: Tensor) -> Tensor:
        """Repeat the border of (..., H, W), the grid of whole patches, up to that of the image."""
        places = []
        for side in values.shape[-2:]:
            place = torch.arange(side + self.span - 1, device=values.device) - self.span // 2
            places.append(place.clamp(0, side - 1))
        return values[..., places[0][:, None], places[1]]

    def _require(self, image0: Tensor, image1: Tensor) -> None:
        channels0, channels1 = image0.shape[1], image1.shape[1]
        if channels0 != channels1:
            raise InputError(
                f"image 0 has {channels0} channels and image 1 has {channels1}; give both in "
                "colour or both in grey"
            )
        if self.features == "learned" and channels0 not in (1, 3):
            raise InputError(
                f"learned features need images of 1 or 3 channels, got {channels0}; use "
                "--model.features rgb"
            )
        for number, image in enumerate((image0, image1)):
            height, width = image.shape[-2:]
            if min(height, width) < self.span:
                raise InputError(
                    f"image {number} of {width}x{height} pixels is smaller than a patch of "
                    f"{self.span}; give larger images, or --model.features rgb and a smaller "
                    "--model.patch_size"
                )
        batch, _, height, width = image0.shape
        needed = BYTES * self.search.judged_count * batch * height * width
        if needed > MEMORY:
            scale = (MEMORY / needed) ** 0.5
            raise InputError(
                f"image 0 of {width}x{height} pixels would take {needed / 1e9:.0f} GB of memory, "
                f"{MEMORY / 1e9:.0f} are allowed; reduce it to {int(width * scale)}x"
                f"{int(height * scale)}, or give smaller batches or fewer --model.steps"
            )
