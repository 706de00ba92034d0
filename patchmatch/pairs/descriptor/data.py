"""Patches that show the same place, cut at SIFT keypoints of images that make themselves."""

from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import warp_points
from patchmatch.ops.luma import luma
from patchmatch.pairs.descriptor.oriented import oriented_patches
from patchmatch.pairs.homography.data import HomographyPairs, WarpedImages, WarpedPair
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive

FAR = 0.25  # of the diameter of a blob, and
NEAR = 1.5  # pixels: how far a keypoint may lie from where the homography takes its partner
SCALES = 0.4  # octaves by which the sizes of partners may differ from what the homography says
ANGLES = 25.0  # degrees by which their directions may
TRIALS = 50  # pairs of images that may show too few keypoints before this is told


class PatchBatch(TypedDict):
    """Patch pairs that show the same place; row i of one belongs to row i of the other."""

    patches0: Tensor  #: (B, N, 1, S, S) float32 gray in [0, 1]
    patches1: Tensor  #: (B, N, 1, S, S)
    place: Tensor  #: (B, N, 4) float32: number of the picture; x, y and diameter of the blob in it
    sift0: Tensor  #: (B, N, 128) float32: SIFT descriptors of the same keypoints, to compare with
    sift1: Tensor  #: (B, N, 128)


@dataclass(frozen=True)
class Keypoints:
    """Blobs of an image with their directions, as SIFT finds them.

    Attributes:
        points: (N, 2) float32, x and y in pixels.
        size: (N,) float32, diameter in pixels.
        angle: (N,) float32, degrees clockwise from the x axis.
        response: (N,) float32, how clearly each stands out.
        sift: (N, 128) float32 descriptors of OpenCV; (N, 0) where they were not asked for.
    """

    points: Tensor
    size: Tensor
    angle: Tensor
    response: Tensor
    sift: Tensor

    def __getitem__(self, index: Tensor) -> "Keypoints":
        """Return the keypoints that a long or bool index names."""
        parts = (self.points, self.size, self.angle, self.response, self.sift)
        return Keypoints(*(part[index] for part in parts))


def find_keypoints(
    picture: np.ndarray,
    contrast: float = 0.04,
    mask: np.ndarray | None = None,
    describe: bool = False,
) -> Keypoints:
    """Return the SIFT keypoints of a gray picture, (H, W) uint8, by OpenCV.

    Args:
        picture: Where to look.
        contrast: How much a place must stand out.
        mask: (H, W) uint8, not 0 where keypoints may lie; None for everywhere.
        describe: Whether to compute SIFT's own descriptors.
    """
    # without it OpenCV puts every keypoint a quarter of a pixel off
    sift = cv2.SIFT.create(contrastThreshold=contrast, enable_precise_upscale=True)
    values = None
    if describe:
        found, values = sift.detectAndCompute(picture, mask)
    else:
        found = sift.detect(picture, mask)
    numbers = np.array([(*k.pt, k.size, k.angle, k.response) for k in found], np.float32)
    table = torch.from_numpy(numbers.reshape(-1, 5))
    length = 128 if describe else 0
    if values is None:
        values = np.zeros((len(table), length), np.float32)
    return Keypoints(table[:, :2], table[:, 2], table[:, 3], table[:, 4], torch.from_numpy(values))


class KeypointPatchPairs(SyntheticDataset):
    """Patches of keypoints that were found in both images of a pair; an example is one pair's.

    Args:
        images: The pairs of images.
        patches: Patch pairs that a pair of images gives.
        patch_size: Side of a patch in its own pixels.
        describe: Whether to add SIFT's descriptors.
    """

    def __init__(
        self, images: HomographyPairs, patches: int, patch_size: int = 32, describe: bool = False
    ) -> None:
        super().__init__(images.size, images.seed)
        self.images, self.patches, self.patch_size = images, patches, patch_size
        self.describe = describe

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the patches of a pair of images that shows enough of them."""
        for _ in range(TRIALS):
            pair = self.images.pair(rng)
            grays = [luma(torch.from_numpy(image).movedim(-1, 0)) for image in pair.images]
            found = [self._keypoints(g, s) for g, s in zip(grays, pair.shown, strict=True)]
            index0, index1 = partners(found[0], found[1], pair.homography)
            if len(index0) >= self.patches:
                chosen = torch.from_numpy(rng.permutation(len(index0))[: self.patches])
                return self._cut(pair, grays, [found[0][index0[chosen]], found[1][index1[chosen]]])
        raise InputError(
            f"in {TRIALS} pairs of images none had {self.patches} keypoints in common; give "
            "pictures with more texture, larger --data.side or fewer --data.patches"
        )

    def _keypoints(self, gray: Tensor, shown: np.ndarray) -> Keypoints:
        picture = (gray[0] * 255).round().byte().numpy()
        return find_keypoints(picture, mask=shown.astype(np.uint8), describe=self.describe)

    def _cut(
        self, pair: WarpedPair, grays: list[Tensor], found: list[Keypoints]
    ) -> dict[str, Tensor]:
        patches = [
            oriented_patches(gray[None], k.points, k.size, k.angle, self.patch_size)
            for gray, k in zip(grays, found, strict=True)
        ]
        scale = float(np.sqrt(abs(np.linalg.det(pair.placing[:2, :2]))))
        where = warp_points(torch.from_numpy(pair.placing).float(), found[0].points)
        number = torch.full((len(where), 1), float(pair.picture))
        return {
            "patches0": patches[0],
            "patches1": patches[1],
            "place": torch.cat([number, where, scale * found[0].size[:, None]], dim=1),
            "sift0": found[0].sift,
            "sift1": found[1].sift,
        }


class KeypointPatches(WarpedImages):
    """Patch pairs cut at SIFT keypoints that are found again in a view made of the same picture.

    What the detector errs in place, size and direction is in the pairs as it is. Pictures and
    splits are those of ``WarpedImages``.

    Args:
        source: ``photographs`` (those inside scikit-image, scikit-learn and matplotlib, as far as
            they are installed; heaps of digits if they are not), ``embedded`` or ``mnist`` (heaps
            of digits), or a folder of any images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs of images in an epoch of training; every epoch makes fresh ones.
        eval_pairs: Pairs of images in the validation and in the test set.
        patches: Patch pairs that a pair of images gives.
        canvases: Heaps composed of the training digits, see ``WarpedImages``.
        side: Side of an image in pixels.
        corner_shift: How far the corners move in x and in y at most, as a share of the side.
        turn: Largest rotation in degrees.
        zoom: Largest change of scale, in octaves.
        disturbed: How likely each disturbance is; null leaves the views clean.
        batch_size: Pairs of images in a batch.
        num_workers: Processes that make pairs; 0 makes them in the main process.
        seed: Seed of canvases and pairs; the same pairs whatever the number of workers.
    """

    batch_type = PatchBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 1024,
        eval_pairs: int = 48,
        patches: int = 48,
        canvases: int = 4,
        side: int = 224,
        corner_shift: float = 0.2,
        turn: float = 45.0,
        zoom: float = 0.7,
        disturbed: float | None = 0.4,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(patches=patches)
        super().__init__(
            source=source,
            data_dir=data_dir,
            train_pairs=train_pairs,
            eval_pairs=eval_pairs,
            canvases=canvases,
            side=side,
            corner_shift=corner_shift,
            turn=turn,
            zoom=zoom,
            disturbed=disturbed,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.patches = patches

    def _make(self, split: str) -> KeypointPatchPairs:
        return KeypointPatchPairs(self._image_pairs(split), self.patches, describe=split != "train")


def partners(
    keypoints0: Keypoints, keypoints1: Keypoints, homography: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return indices of keypoints of both images that mark the same blob, each once.

    Place, size and direction of the one agree with what the homography makes of the other.

    Args:
        keypoints0: Of image 0.
        keypoints1: Of image 1.
        homography: From image 0 to image 1.
    """
    if not len(keypoints0.points) or not len(keypoints1.points):
        return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    matrix = torch.from_numpy(homography).float()
    turn = torch.deg2rad(keypoints0.angle)
    ahead = torch.stack([turn.cos(), turn.sin()], dim=1)
    aside = ahead.flip(1) * ahead.new_tensor([-1.0, 1.0])
    here, along, across = (
        warp_points(matrix, keypoints0.points + step) for step in (0 * ahead, ahead, aside)
    )
    along, across = along - here, across - here
    area = (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]).abs()
    size = keypoints0.size * area.sqrt()
    angle = torch.rad2deg(torch.atan2(along[:, 1], along[:, 0]))
    exact = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(here, keypoints1.points, compute_mode=exact)  # (N0, N1)
    allowed = (FAR * torch.minimum(size[:, None], keypoints1.size)).clamp_min(NEAR)
    octaves = (size[:, None] / keypoints1.size).log2().abs()
    turned = ((angle[:, None] - keypoints1.angle + 180) % 360 - 180).abs()
    wrong = (apart > allowed) | (octaves > SCALES) | (turned > ANGLES)
    cost = apart / allowed + octaves / SCALES + turned / ANGLES
    cost = cost.masked_fill(wrong, torch.inf)
    best, index1 = cost.min(dim=1)
    mutual = cost.argmin(dim=0)[index1] == torch.arange(len(cost))
    index0 = (mutual & best.isfinite()).nonzero()[:, 0]
    return index0, index1[index0]
