"""Base of the matchers that find corresponding points of two images."""

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from jaxtyping import Bool, Float
from torch import Tensor

from patchmatch.core.checkpoints import shipped_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.core.image_pairs import MIN_SIDE, ImagePair
from patchmatch.core.matcher import Matcher
from patchmatch.ops.finite import require_finite
from patchmatch.pairs.cameras import Cameras, camera_matrices
from patchmatch.pairs.estimation import (
    EPIPOLAR,
    add_alignment,
    add_epipolar,
    add_homography,
    refine_by_images,
)
from patchmatch.pairs.patch2pix.refinement import load_refiner
from patchmatch.pairs.points import rescale_points
from patchmatch.pairs.results import Matches
from patchmatch.pairs.verdict import is_flat

ROTATIONS = (1, 2, 4)
REFINERS = ("patch2pix",)


class PairMatcher(Matcher, abc.ABC):
    """Base of the matchers that find corresponding points of two images.

    A subclass implements ``match``; most derive from ``CorrespondenceMatcher``. This class matches
    the pairs of a run, and adds the epipolar matrix and the alignment of the images.

    Args:
        max_size: Longest side in pixels to which images are downscaled for matching; null keeps
            the full size. Images of similar size are downscaled by the same factor. Matches are
            in pixels of the original images.
        max_matches: Number of best matches to keep; null keeps all.
        min_score: Matches with a lower score are discarded.
        rotations: Number of orientations of image 0 to try, 1, 2 or 4 (steps of 360, 180 or 90
            degrees); the one with the most homography inliers is kept, preferably one whose
            homography aligns the images. For matchers that are not invariant to rotation.
        threshold: Inlier threshold of the homography: reprojection error in pixels of image 1.
        seed: Seed of the random samples in robust estimation.
        epipolar: Matrix to estimate beside the homography, for scenes that are not planar:
            fundamental, or essential, which requires intrinsics; null estimates none.
        epipolar_threshold: Inlier threshold of that matrix: distance from the epipolar line in
            pixels.
        intrinsics0: fx, fy, cx and cy of the camera of image 0, in pixels of the upright image.
            Intrinsics in a pairs.csv take precedence.
        intrinsics1: The same for image 1; null uses those of image 0.
        refine: patch2pix refines the matches by the regressors of Patch2Pix (Zhou et al. 2021); a
            match stays where their confidence is low. Null does not. An error with matchers whose
            matches lie on a homography; auto refines the matches of the others.
        align: Refine the homography by Lucas-Kanade alignment of the images, where these then
            agree more; never in a scene that the epipolar matrix shows not to be planar.
    """

    predict_config = "config_match_auto.yaml"
    predict_source = "--data.pairs FOLDER"
    #: Whether the matches are derived from a homography, which the matcher itself aligns. Their
    #: number proves nothing.
    finds_homographies: ClassVar[bool] = False

    def __init__(
        self,
        max_size: int | None = None,
        max_matches: int | None = None,
        min_score: float = 0.0,
        rotations: int = 1,
        threshold: float = 3.0,
        seed: int = 0,
        epipolar: str | None = None,
        epipolar_threshold: float = 1.0,
        intrinsics0: tuple[float, float, float, float] | None = None,
        intrinsics1: tuple[float, float, float, float] | None = None,
        refine: str | None = None,
        align: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if max_size is not None and max_size < MIN_SIDE:
            raise ValueError(f"max_size must be at least {MIN_SIDE} pixels, got {max_size}")
        if max_matches is not None and max_matches < 1:
            raise ValueError(f"max_matches must be at least 1, got {max_matches}")
        if rotations not in ROTATIONS:
            raise ValueError(f"rotations must be 1, 2 or 4, got {rotations}")
        for name, value in (("threshold", threshold), ("epipolar_threshold", epipolar_threshold)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number of pixels, got {value}")
        if epipolar is not None and epipolar not in EPIPOLAR:
            raise ValueError(f"epipolar must be one of {', '.join(EPIPOLAR)}, got {epipolar}")
        if refine is not None and refine not in REFINERS:
            raise ValueError(f"refine must be one of {', '.join(REFINERS)}, got {refine}")
        if refine is not None and self.finds_homographies:
            raise ValueError(
                f"refine has no effect on {type(self).__name__}, whose matches lie on a homography "
                "that is aligned with the images; remove the option, or give another matcher"
            )
        self.refine = refine
        self.max_size, self.max_matches, self.min_score = max_size, max_matches, min_score
        self.rotations, self.threshold, self.seed = rotations, threshold, seed
        self.epipolar, self.epipolar_threshold = epipolar, epipolar_threshold
        self.cameras = camera_matrices((intrinsics0, intrinsics1 or intrinsics0))
        self.align = align

    @abc.abstractmethod
    def match(
        self,
        image0: Float[Tensor, "1 C H W"],
        image1: Float[Tensor, "1 C1 H1 W1"],
        valid0: Bool[Tensor, "1 H W"] | None = None,
        valid1: Bool[Tensor, "1 H1 W1"] | None = None,
        cameras: Cameras | None = None,
    ) -> Matches:
        """Return the corresponding points of two images and the homography between them.

        Args:
            image0: RGB or gray in [0, 1].
            image1: RGB or gray in [0, 1], of any size.
            valid0: Pixels of image 0 that may be matched; None for all.
            valid1: The same for image 1.
            cameras: Camera matrices of both images; None for those of the options.

        Returns:
            Matches in pixels of the images, on the CPU, the best first.

        Raises:
            InputError: If ``epipolar`` is essential and an image has no intrinsics.
        """

    def predict_step(self, batch: ImagePair, batch_idx: int) -> list[Matches]:
        """Return the matches of a pair in pixels of the files; an empty list for a skipped pair."""
        if not batch["pairs"]:
            return []
        for name in ("image0", "image1"):
            require_finite(batch[name], name)
        intrinsics = batch["intrinsics"]
        cameras = self.cameras if intrinsics[0] is None else camera_matrices(intrinsics)
        found = self.match(
            batch["image0"], batch["image1"], batch["valid0"], batch["valid1"], cameras
        )
        if batch["scale"] == 1:
            return [found]
        points0, points1 = (
            rescale_points(points.double(), image.shape[-2:], size).float()
            for points, image, size in (
                (found.keypoints0, batch["image0"], batch["sizes"][0]),
                (found.keypoints1, batch["image1"], batch["sizes"][1]),
            )
        )
        in_files = replace(found, keypoints0=points0, keypoints1=points1)
        in_files = add_homography(in_files, self.threshold, self.seed)
        images, masks = (batch["image0"], batch["image1"]), (batch["valid0"], batch["valid1"])
        in_files = add_alignment(in_files, images, masks, batch["sizes"])
        return [self.finish(in_files, cameras, images, masks, batch["sizes"])]

    def setup(self, stage: str) -> None:
        """Load the weights before the first pair, so that missing ones stop the run early."""
        if stage == "predict":
            self.prepare()
            if self.refine is not None:
                load_refiner(self.device)

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether the matcher works with default options and without a download."""
        return cls.shipped_weights is None or shipped_checkpoint(cls.shipped_weights).is_file()

    def prepare(self) -> None:
        """Load what matching needs, such as weights; called before the first match."""

    def _raise_untrainable(self, *_: Any) -> NoReturn:
        raise InputError(
            f"{type(self).__name__} cannot be trained or evaluated, only used to predict; give "
            "another --model"
        )

    training_step = validation_step = test_step = configure_optimizers = _raise_untrainable

    def finish(
        self,
        matches: Matches,
        cameras: Cameras,
        images: Sequence[Tensor],
        masks: Sequence[Tensor | None],
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Matches:
        """Add the epipolar matrix, and refine the homography of a planar scene on the images."""
        matches = add_epipolar(matches, self.epipolar, cameras, self.epipolar_threshold, self.seed)
        if not self.align or self.finds_homographies or not is_flat(matches):
            return matches
        return refine_by_images(matches, images, masks, self.threshold, sizes)
