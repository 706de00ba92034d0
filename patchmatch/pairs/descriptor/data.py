"""Synthetic training pairs of patches at SIFT keypoints, with exact correspondence."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.ops.homography import warp_points
from patchmatch.ops.luma import luma
from patchmatch.pairs.descriptor.ground_truth import match_by_homography
from patchmatch.pairs.descriptor.keypoints import Keypoints, detect_sift_keypoints
from patchmatch.pairs.descriptor.oriented import oriented_patches
from patchmatch.pairs.homography.data import HomographyDataset, HomographyPair, WarpedImages
from patchmatch.synthetic.dataset import SyntheticDataset, require_positive

MAX_ATTEMPTS = 50  # image pairs to try until one has enough common keypoints


class PatchBatch(TypedDict):
    """Matching patches; row i of image 0 corresponds to row i of image 1."""

    patches0: Tensor  #: (B, N, 1, S, S) float32 gray in [0, 1]
    patches1: Tensor  #: (B, N, 1, S, S)
    blobs: Tensor  #: (B, N, 4) float32: index of the source image; x, y and diameter in it
    sift0: Tensor  #: (B, N, 128) float32: SIFT descriptors of the same keypoints, as a baseline
    sift1: Tensor  #: (B, N, 128)


class KeypointPatchDataset(SyntheticDataset):
    """Patches of keypoints detected in both images of a pair; one example per image pair.

    Args:
        image_pairs: The image pairs.
        patches: Patch pairs per image pair.
        patch_size: Side of a patch in its own pixels.
        describe: Add SIFT descriptors.
    """

    def __init__(
        self,
        image_pairs: HomographyDataset,
        patches: int,
        patch_size: int = 32,
        describe: bool = False,
    ) -> None:
        super().__init__(image_pairs.size, image_pairs.seed)
        self.image_pairs, self.patches, self.patch_size = image_pairs, patches, patch_size
        self.describe = describe

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the patches of a random image pair with enough common keypoints."""
        for _ in range(MAX_ATTEMPTS):
            pair = self.image_pairs.sample_pair(rng)
            grays = [luma(torch.from_numpy(image).movedim(-1, 0)) for image in pair.images]
            keypoints0, keypoints1 = map(self._detect, grays, pair.visible)
            index0, index1 = match_by_homography(keypoints0, keypoints1, pair.homography)
            if len(index0) >= self.patches:
                chosen = torch.from_numpy(rng.permutation(len(index0))[: self.patches])
                matched = [keypoints0[index0[chosen]], keypoints1[index1[chosen]]]
                return self._example(pair, grays, matched)
        raise InputError(
            f"none of {MAX_ATTEMPTS} image pairs has {self.patches} keypoints in common; give "
            "images with more texture, a larger --data.side or fewer --data.patches"
        )

    def _detect(self, gray: Tensor, visible: np.ndarray) -> Keypoints:
        image = (gray[0] * 255).round().byte().numpy()
        return detect_sift_keypoints(image, mask=visible.astype(np.uint8), describe=self.describe)

    def _example(
        self, pair: HomographyPair, grays: list[Tensor], matched: list[Keypoints]
    ) -> dict[str, Tensor]:
        patches = [
            oriented_patches(gray[None], k.points, k.size, k.angle, self.patch_size)
            for gray, k in zip(grays, matched, strict=True)
        ]
        scale = float(np.sqrt(abs(np.linalg.det(pair.to_source[:2, :2]))))
        position = warp_points(torch.from_numpy(pair.to_source).float(), matched[0].points)
        index = torch.full((len(position), 1), float(pair.source))
        return {
            "patches0": patches[0],
            "patches1": patches[1],
            "blobs": torch.cat([index, position, scale * matched[0].size[:, None]], dim=1),
            "sift0": matched[0].descriptors,
            "sift1": matched[1].descriptors,
        }


class KeypointPatches(WarpedImages):
    """Patch pairs at SIFT keypoints detected in two warped views of an image.

    The pairs keep the detector's errors in position, size and angle. Images and splits are those
    of ``WarpedImages``.

    Args:
        source: ``photographs`` (those bundled with scikit-image, scikit-learn and matplotlib, where
            installed; otherwise dead-leaves images of digits), ``embedded`` or ``mnist``
            (dead-leaves images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Image pairs per training epoch; every epoch generates new ones.
        eval_pairs: Image pairs in the validation set and in the test set.
        patches: Patch pairs per image pair.
        canvases: Dead-leaves images composed of the training digits, see ``WarpedImages``.
        side: Side of an image in pixels.
        corner_shift: Maximum displacement of the corners in x and in y, as a fraction of the side.
        turn: Maximum rotation in degrees.
        zoom: Maximum change of scale in octaves.
        disturbed: Probability of each photometric change, see ``WarpedImages``; null disables them.
        batch_size: Image pairs per batch.
        num_workers: Worker processes that generate pairs; 0 uses the main process.
        seed: Seed of dead-leaves images and pairs. The pairs do not depend on num_workers.
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

    def _make(self, split: str) -> KeypointPatchDataset:
        image_pairs = self._image_pairs(split)
        return KeypointPatchDataset(image_pairs, self.patches, describe=split != "train")
