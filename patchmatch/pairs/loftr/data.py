"""Synthetic training pairs of detector-free matchers: two images with the flow between them."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from patchmatch.ops.homography import warp_points
from patchmatch.pairs.homography.data import HomographyDataset, WarpedImages
from patchmatch.synthetic.dataset import SyntheticDataset
from patchmatch.synthetic.scene_sampling import SceneRange
from patchmatch.synthetic.scenes import SceneDataset


class FlowBatch(TypedDict):
    """Image pairs with exact correspondences."""

    image0: Tensor  #: (B, 3, H, W) float32 RGB in [0, 1]
    image1: Tensor  #: (B, 3, H, W)
    flow: Tensor  #: (B, 2, H, W) float32, from image 0 to image 1; zero where not valid
    valid: Tensor  #: (B, H, W) bool: the pixel of image 0 is visible in image 1


class FlowPairDataset(SyntheticDataset):
    """Image pairs with the flow between them: warped images, and two views of 3D scenes.

    Args:
        image_pairs: The warped images.
        scene_pairs: The views of scenes, of the same size.
        scenes: Share of the views of scenes.
        margin: Pixels by which the images are cropped, in x and in y. Both are cropped at random
            positions, so that they overlap less.
    """

    def __init__(
        self,
        image_pairs: HomographyDataset,
        scene_pairs: SceneDataset,
        scenes: float,
        margin: int = 0,
    ) -> None:
        super().__init__(image_pairs.size, image_pairs.seed)
        self.image_pairs, self.scene_pairs, self.scenes = image_pairs, scene_pairs, scenes
        self.margin = margin

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a random pair as tensors, see ``FlowBatch``."""
        if self.scenes and rng.random() < self.scenes:
            pair = self.scene_pairs.make(rng)
            pair = {name: pair[name] for name in FlowBatch.__annotations__}
        else:
            pair = self.image_pairs.make(rng)
            height, width = pair["valid"].shape
            flow = homography_flow(pair.pop("homography"), height, width)
            pair["flow"] = torch.where(pair["valid"], flow, 0).float()
        if not self.margin:
            return pair
        corners = [rng.integers(self.margin + 1, size=2).tolist() for _ in range(2)]
        return crop_pair(pair, corners[0], corners[1], self.image_pairs.side - self.margin)


class FlowPairs(WarpedImages):
    """Image pairs with the flow between them: warped images, and two views of 3D scenes.

    Images, splits and changes are those of ``WarpedImages``. Scenes are planes and boxes with these
    images as textures (``SceneDataset``); their cameras roll up to ``turn``.

    Args:
        source: ``photographs`` (those bundled with scikit-image, scikit-learn and matplotlib, where
            installed; otherwise dead-leaves images of digits), ``embedded`` or ``mnist``
            (dead-leaves images of digits), or a folder of images.
        data_dir: Folder of downloaded data.
        train_pairs: Pairs per training epoch; every epoch generates new ones.
        eval_pairs: Pairs in the validation set and in the test set.
        canvases: Dead-leaves images composed of the training digits, see ``WarpedImages``.
        side: Side of an image in pixels, a multiple of 8.
        corner_shift: Maximum displacement of the corners in x and in y, as a fraction of the side.
        turn: Maximum rotation in degrees.
        zoom: Maximum change of scale in octaves.
        disturbed: Probability of each photometric change, see ``WarpedImages``; null disables them.
        scenes: Share of the pairs that are views of scenes, 0 to 1.
        shift: Maximum displacement of the views in x and in y, as a fraction of the side, for
            pairs that overlap in part.
        batch_size: Pairs per batch.
        num_workers: Worker processes that generate pairs; 0 uses the main process.
        seed: Seed of dead-leaves images and pairs. The pairs do not depend on num_workers.
    """

    batch_type = FlowBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        train_pairs: int = 1024,
        eval_pairs: int = 64,
        canvases: int = 8,
        side: int = 192,
        corner_shift: float = 0.2,
        turn: float = 45.0,
        zoom: float = 0.7,
        disturbed: float | None = 0.4,
        scenes: float = 0.0,
        shift: float = 0.0,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        if side % 8:
            raise ValueError(f"side must be a multiple of 8 pixels, got {side}")
        if not 0 <= scenes <= 1:
            raise ValueError(f"scenes must be between 0 and 1, got {scenes}")
        if not 0 <= shift < 1:
            raise ValueError(f"shift must be at least 0 and below 1, got {shift}")
        margin = round(shift * side)
        super().__init__(
            source=source,
            data_dir=data_dir,
            train_pairs=train_pairs,
            eval_pairs=eval_pairs,
            canvases=canvases,
            side=side + margin,
            corner_shift=corner_shift,
            turn=turn,
            zoom=zoom,
            disturbed=disturbed,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )

        self.scenes, self.margin = scenes, margin
        self.scene_range = SceneRange(roll=turn, zoom=min(zoom, 1.0), disturbed=disturbed)

    def _make(self, split: str) -> FlowPairDataset:
        pairs = self._image_pairs(split)
        scenes = SceneDataset(
            pairs.sources, pairs.size, pairs.seed, self.side, self.side, self.scene_range
        )
        return FlowPairDataset(pairs, scenes, self.scenes, self.margin)


def homography_flow(homography: Tensor, height: int, width: int) -> Tensor:
    """Return the flow (2, H, W) of a homography (3, 3), in its precision."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([x, y], dim=-1).flatten(0, 1).to(homography)
    return (warp_points(homography, points) - points).mT.unflatten(1, (height, width))


def crop_pair(
    pair: dict[str, Tensor], corner0: list[int], corner1: list[int], side: int
) -> dict[str, Tensor]:
    """Return square crops of both images of a pair, with the flow between the crops.

    Args:
        pair: Fields of ``FlowBatch`` without the batch axis.
        corner0: x and y of the top left pixel of the crop of image 0.
        corner1: The same for image 1.
        side: Side of the crops in pixels.
    """
    (x0, y0), (x1, y1) = corner0, corner1
    window0 = (..., slice(y0, y0 + side), slice(x0, x0 + side))
    window1 = (..., slice(y1, y1 + side), slice(x1, x1 + side))
    flow = pair["flow"][window0] + torch.tensor([x0 - x1, y0 - y1])[:, None, None]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    points1 = torch.stack([x, y]) + flow
    valid = pair["valid"][window0] & ((points1 >= 0) & (points1 <= side - 1)).all(dim=0)
    return {
        "image0": pair["image0"][window0].contiguous(),
        "image1": pair["image1"][window1].contiguous(),
        "flow": torch.where(valid, flow, 0),
        "valid": valid,
    }
