"""PatchMatch: the nearest neighbour of every patch, without learned weights."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

from jaxtyping import Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.nnf.matcher import DenseMatcher, require_seed
from patchmatch.nnf.patches import Field, require_norm
from patchmatch.nnf.search import PRESETS, nearest_neighbours, patch_match
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.luma import luma

PLAIN = "plain"  # the preset that runs the algorithm of the paper
FEATURES = ("rgb", "gray", "contrast")


class PatchMatch(DenseMatcher):
    """Nearest-neighbour field from image 0 to image 1, after Barnes et al. 2009.

    It has no weights and is not trained. The same seed gives the same field.

    Args:
        patch_size: Side of a patch in pixels, usually 7. Larger patches are more distinctive,
            smaller ones find more similar matches.
        preset: fast, balanced or accurate: a k-d tree search that comes close to the exact nearest
            neighbours. plain: the algorithm of the paper (random start, propagation, random
            search).
        iterations: Number of iterations; null for that of the preset, 5 for plain.
        k: Number of different matches of each pixel, best first.
        features: What patches are compared by. rgb: the images as they are; gray: their
            brightness; contrast: brightness after local contrast normalisation, which ignores
            changes of illumination.
        norm: l2, the sum of squared differences; l1, the sum of absolute differences.
        max_displacement: Largest displacement in x and in y, in pixels; null searches all of
            image 1.
        seed: Seed of the random search.
        both_ways: Search image 0 for image 1 as well, and report which matches are consistent.
            Takes twice the time.
        tolerance: Largest distance in pixels between a pixel and where its match leads back, for
            both_ways.
    """

    def __init__(
        self,
        patch_size: int = 7,
        preset: str = "balanced",
        iterations: int | None = None,
        k: int = 1,
        features: str = "rgb",
        norm: str = "l2",
        max_displacement: int | None = None,
        seed: int = 0,
        both_ways: bool = False,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(patch_size, both_ways, tolerance)
        self.save_hyperparameters()
        for name, value, known in (
            ("preset", preset, (*PRESETS, PLAIN)),
            ("features", features, FEATURES),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        require_norm(norm)
        for name, number in (("iterations", iterations), ("k", k)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if max_displacement is not None and max_displacement < 0:
            raise ValueError(f"max_displacement must be at least 0 pixels, got {max_displacement}")
        require_seed(seed)
        self.preset, self.iterations, self.k, self.features = preset, iterations, k, features
        self.norm, self.max_displacement, self.seed = norm, max_displacement, seed

    def setup(self, stage: str) -> None:
        """Raise InputError for every stage but predict."""
        if stage != "predict":
            self._reject_training()

    def bytes_per_pixel(self, channels: int) -> int:
        """Return the approximate memory that matching requires per pixel of either image."""
        return super().bytes_per_pixel(channels) + 50 * (self.k - 1)  # measured

    def require_matchable(self, batch: ImagePair) -> None:
        """Raise InputError if a pair cannot be matched, or an image has fewer than k patches."""
        super().require_matchable(batch)
        for name, image in zip(batch["names"], (batch["image0"], batch["image1"]), strict=True):
            patches = math.prod(side - self.patch_size + 1 for side in image.shape[-2:])
            if patches < self.k:
                raise InputError(
                    f"{batch['name']}: {name} has {patches} patches, fewer than the {self.k} "
                    "matches of a pixel; give a smaller --model.k, or a larger image"
                )

    def fields(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> Iterator[Field]:
        """Yield the field from image 0 to image 1 after each iteration."""
        features = (self._extract_features(image0), self._extract_features(image1))
        options: dict[str, Any] = {
            "k": self.k,
            "norm": self.norm,
            "max_displacement": self.max_displacement,
            "valid0": valid0,
            "valid1": valid1,
            "seed": self.seed,
        }
        if self.preset == PLAIN:
            options["iterations"] = self.iterations or 5
            return patch_match(*features, self.patch_size, **options)
        options |= {"preset": self.preset, "iterations": self.iterations}
        # a preset may yield one field more than its number of iterations
        return islice(nearest_neighbours(*features, self.patch_size, **options), self.iterations)

    def _extract_features(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B _ H W"]:
        """Return the feature map whose patches are compared."""
        if self.features == "rgb":
            return image
        if image.shape[1] == 3:
            image = luma(image)
        return image if self.features == "gray" else normalize_contrast(image)

    def _reject_training(self, *_: Any) -> NoReturn:
        """Raise InputError, before Lightning looks for an optimizer."""
        raise InputError(
            "PatchMatch has nothing to train and no metric of its own: it can only predict; give "
            "another --model"
        )

    training_step = validation_step = test_step = _reject_training
