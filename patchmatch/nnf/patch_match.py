"""PatchMatch: the nearest neighbour of every patch, by search alone."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

from jaxtyping import Float
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import ImagePair
from patchmatch.nnf.matcher import DenseMatcher, require_seed
from patchmatch.nnf.patches import Field
from patchmatch.nnf.search import nearest_neighbours, patch_match
from patchmatch.ops.contrast import normalize_contrast
from patchmatch.ops.luma import luma

PRESETS = ("fast", "balanced", "accurate", "plain")
FEATURES = ("rgb", "gray", "contrast")
NORMS = ("l2", "l1")


class PatchMatch(DenseMatcher):
    """Nearest-neighbour field of image 0 in image 1, after Barnes et al. 2009.

    It learns nothing and needs no weights. The same seed gives the same field.

    Args:
        patch_size: Side of a patch in pixels, 7 usually. Larger ones tell more places apart,
            smaller ones find more places alike.
        preset: fast, balanced or accurate, a search that ends near the exact nearest neighbours;
            plain, the algorithm of the paper (random start, propagation, random search).
        iterations: Number of iterations; null lets the preset choose, and is 5 for plain.
        candidates: How many different matches to keep for each pixel, the best one first.
        features: What patches are compared by: rgb, the pictures as they are; gray, their
            brightness; contrast, their brightness less the local mean over the local deviation,
            which sees past changes of light.
        norm: l2, the sum of squared differences; l1, the sum of absolute ones.
        reach: Search only so many pixels around each pixel's own place, in x and in y; null
            searches all of image 1.
        seed: Seed of the random search.
        both_ways: Search image 0 for image 1 as well, and tell which matches agree. It doubles
            the time.
        tolerance: Pixels by which a match that is followed there and back may miss its start,
            with both_ways.
    """

    def __init__(
        self,
        patch_size: int = 7,
        preset: str = "balanced",
        iterations: int | None = None,
        candidates: int = 1,
        features: str = "rgb",
        norm: str = "l2",
        reach: int | None = None,
        seed: int = 0,
        both_ways: bool = False,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(patch_size, both_ways, tolerance)
        self.save_hyperparameters()
        for name, value, known in (
            ("preset", preset, PRESETS),
            ("features", features, FEATURES),
            ("norm", norm, NORMS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        for name, number in (("iterations", iterations), ("candidates", candidates)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if reach is not None and reach < 0:
            raise ValueError(f"reach must be at least 0 pixels, got {reach}")
        require_seed(seed)
        self.preset, self.iterations, self.candidates = preset, iterations, candidates
        self.features, self.norm, self.reach, self.seed = features, norm, reach, seed

    def setup(self, stage: str) -> None:
        """Refuse to be trained or measured."""
        if stage != "predict":
            self._refuse()

    def bytes_per_pixel(self, channels: int) -> int:
        """Return how much memory matching takes for each pixel of either image, about."""
        return super().bytes_per_pixel(channels) + 50 * (self.candidates - 1)  # measured

    def require_matchable(self, batch: ImagePair) -> None:
        """Raise InputError as well if there are fewer patches than matches asked for."""
        super().require_matchable(batch)
        for name, image in zip(batch["names"], (batch["image0"], batch["image1"]), strict=True):
            places = math.prod(side - self.patch_size + 1 for side in image.shape[-2:])
            if places < self.candidates:
                raise InputError(
                    f"{batch['name']}: {name} holds {places} patches, but {self.candidates} "
                    "matches are asked for; give fewer --model.candidates, or a larger picture"
                )

    def fields(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> Iterator[Field]:
        """Yield the field of image 0 in image 1 after each iteration."""
        described = (self._describe(image0), self._describe(image1))
        options: dict[str, Any] = {
            "count": self.candidates,
            "norm": self.norm,
            "reach": self.reach,
            "valid0": valid0,
            "valid1": valid1,
            "seed": self.seed,
        }
        if self.preset == "plain":
            options["iterations"] = self.iterations or 5
            return patch_match(*described, self.patch_size, **options)
        options |= {"preset": self.preset, "iterations": self.iterations}
        # A preset's first field may be one more than the rounds that follow it.
        return islice(nearest_neighbours(*described, self.patch_size, **options), self.iterations)

    def _describe(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B _ H W"]:
        """Return the feature map whose patches are compared."""
        if self.features == "rgb":
            return image
        if image.shape[1] == 3:
            image = luma(image)
        return image if self.features == "gray" else normalize_contrast(image)

    def _refuse(self, *_: Any) -> NoReturn:
        """Say that there is nothing to train, before Lightning looks for how to."""
        raise InputError(
            "PatchMatch learns nothing and has no measure of its own: it can only predict; train "
            "another matcher"
        )

    training_step = validation_step = test_step = _refuse
