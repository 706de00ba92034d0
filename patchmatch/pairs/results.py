"""Results of matching two images."""

from dataclasses import dataclass, replace

from torch import Tensor

from patchmatch.core.results import Result


@dataclass(frozen=True, kw_only=True)
class Correspondences:
    """Corresponding points as a matcher finds them, in pixels of the images it was given.

    Attributes:
        points0: (N, 2) float, x and y.
        points1: (N, 2) float; row i corresponds to row i of ``points0``.
        score: (N,) float, higher is better; the rows are in any order.
        descriptors0: (N, D) float, descriptors of ``points0``; None for matchers without them.
        descriptors1: (N, D) float, descriptors of ``points1``.
    """

    points0: Tensor
    points1: Tensor
    score: Tensor
    descriptors0: Tensor | None = None
    descriptors1: Tensor | None = None

    def __getitem__(self, index: Tensor) -> "Correspondences":
        """Return the correspondences at a long or bool index."""
        descriptors0, descriptors1 = self.descriptors0, self.descriptors1
        return Correspondences(
            points0=self.points0[index],
            points1=self.points1[index],
            score=self.score[index],
            descriptors0=None if descriptors0 is None else descriptors0[index],
            descriptors1=None if descriptors1 is None else descriptors1[index],
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Matches(Result):
    """Corresponding points of two images, the best first.

    Attributes:
        keypoints0: (N, 2) float, x and y in pixels of the original image 0; (0, 0) is the centre
            of the top-left pixel.
        keypoints1: (N, 2) float, the same in image 1; row i corresponds to row i of
            ``keypoints0``.
        score: (N,) float, higher is better.
        inliers: (N,) bool, matches that agree with ``homography``; None without a homography.
        homography: (3, 3) double, maps points of image 0 to image 1, last entry 1; None if fewer
            than four matches agree on one.
        aligned: Share in [0, 1] of the textured cells of the overlap in which the homography aligns
            the images; it is measured on the images, not on the matches. None without a homography
            or without such cells.
        epipolar: (3, 3) double, the fundamental matrix F with x1 F x0 = 0 for pixels, or the
            essential matrix for rays; None if not requested or not found.
        epipolar_inliers: (N,) bool, matches that agree with ``epipolar``, all False if it is not
            found; None if not requested.
        fundamental: (3, 3) double, ``epipolar`` for pixels of both images; None without one.
        pose: (3, 4) double, rotation and unit translation from camera 0 to camera 1; None without
            an essential matrix.
        descriptors0: (N, D) float, descriptors of ``keypoints0``; None for matchers without them.
        descriptors1: (N, D) float, descriptors of ``keypoints1``.
        seconds: Time spent on matching; None if it was not measured.
        matcher: Name of the matcher that answered, if several were tried; else None.
    """

    keypoints0: Tensor
    keypoints1: Tensor
    score: Tensor
    inliers: Tensor | None = None
    homography: Tensor | None = None
    aligned: float | None = None
    epipolar: Tensor | None = None
    epipolar_inliers: Tensor | None = None
    fundamental: Tensor | None = None
    pose: Tensor | None = None
    descriptors0: Tensor | None = None
    descriptors1: Tensor | None = None
    seconds: float | None = None
    matcher: str | None = None

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Tensor | slice) -> "Matches":
        """Return the matches at a long or bool index, with the same homography and pose."""
        rows = ("keypoints0", "keypoints1", "score", "inliers", "epipolar_inliers")
        rows += ("descriptors0", "descriptors1")
        values = {name: getattr(self, name) for name in rows}
        chosen = {name: None if v is None else v[index] for name, v in values.items()}
        return replace(self, **chosen)
