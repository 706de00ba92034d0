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
        seconds: Spent on matching; None where nobody measured.
    """

    keypoints0: Tensor
    keypoints1: Tensor
    score: Tensor
    inliers: Tensor | None = None
    homography: Tensor | None = None
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
        )
