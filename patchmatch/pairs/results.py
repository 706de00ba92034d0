"""Places of two images that show the same thing."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Matches:
    """Places of two images that show the same thing, the best first.

    Attributes:
        keypoints0: (N, 2) float, x and y in pixels of the file of image 0, whatever was resized
            on the way; (0, 0) is the centre of the top-left pixel.
        keypoints1: (N, 2) float, the same in image 1: row i belongs to row i of ``keypoints0``.
        score: (N,) float, higher is better.
        inliers: (N,) bool, which matches agree with ``homography``; None where there is none.
        homography: (3, 3) double, takes points of image 0 to image 1, its last entry 1; None where
            it was not asked for or fewer than four matches agree on one.
        epipolar: (3, 3) double, the fundamental matrix F with x1 F x0 = 0 for pixels, or the
            essential matrix for rays; None where none was asked for or found.
        epipolar_inliers: (N,) bool, which matches agree with ``epipolar``; None without one.
        pose: (3, 4) double, rotation and direction of translation that bring camera 0 to camera
            1; None without an essential matrix.
        descriptors0: (N, D) float, what ``keypoints0`` look like; None where the matcher describes
            no places.
        descriptors1: (N, D) float, the same of ``keypoints1``.
        seconds: Spent on matching; None where nobody measured.
    """

    keypoints0: Tensor
    keypoints1: Tensor
    score: Tensor
    inliers: Tensor | None = None
    homography: Tensor | None = None
    epipolar: Tensor | None = None
    epipolar_inliers: Tensor | None = None
    pose: Tensor | None = None
    descriptors0: Tensor | None = None
    descriptors1: Tensor | None = None
    seconds: float | None = None

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Tensor | slice) -> "Matches":
        """Return the matches that a long or bool index names."""
        return replace(
            self,
            keypoints0=self.keypoints0[index],
            keypoints1=self.keypoints1[index],
            score=self.score[index],
            inliers=None if self.inliers is None else self.inliers[index],
            epipolar_inliers=(
                None if self.epipolar_inliers is None else self.epipolar_inliers[index]
            ),
            descriptors0=None if self.descriptors0 is None else self.descriptors0[index],
            descriptors1=None if self.descriptors1 is None else self.descriptors1[index],
        )
