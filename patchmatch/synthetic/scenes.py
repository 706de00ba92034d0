"""Two views of a generated 3D scene: planes and boxes with textures from any images.

Unlike two views of one plane, they have parallax and occlusion, and no homography explains them.
Correspondences, depth, camera poses and the fundamental matrix are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from patchmatch.synthetic.dataset import SyntheticDataset
from patchmatch.synthetic.photometry import disturb_views
from patchmatch.synthetic.rendering import (
    Camera,
    Quads,
    build_mipmap,
    cast_rays,
    fundamental_matrix,
    pixel_grid,
    relative_pose,
    shade,
    visible_flow,
)
from patchmatch.synthetic.scene_sampling import (
    SceneRange,
    light_quads,
    sample_cameras,
    sample_geometry,
    sample_textures,
)

MIN_OVERLAP = 0.3  # of the pixels of image 0 that are visible in image 1
MAX_ATTEMPTS = 20  # pairs of cameras to try
PROBE = 8  # pixels between the rays that measure the overlap


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """Two views of a scene.

    Attributes:
        images: Both views, (H, W, 3) float32 RGB in [0, 1].
        depths: Depth of both views, (H, W) float64, in the unit of the translation.
        visible: (H, W) bool of either view: the pixel is not covered by an occluder.
        flow: (2, H, W) float64, from image 0 to image 1; zero where not valid.
        valid: (H, W) bool: the pixel of image 0 is visible in image 1.
        intrinsics: (3, 3) float64 of both cameras.
        pose: (3, 4) float64, rotation and translation from camera 0 to camera 1.
        fundamental: (3, 3) float64 of norm 1, maps points of image 0 to lines of image 1.
    """

    images: tuple[np.ndarray, np.ndarray]
    depths: tuple[Tensor, Tensor]
    visible: tuple[np.ndarray, np.ndarray]
    flow: Tensor
    valid: Tensor
    intrinsics: tuple[Tensor, Tensor]
    pose: Tensor
    fundamental: Tensor


class SceneDataset(SyntheticDataset):
    """Two views of scenes; pair ``(epoch, i)`` depends only on its index and the seed.

    Args:
        sources: Images that the textures are cut from, (H, W, 3) uint8 RGB.
        size: Number of pairs.
        seed: Seed of the pairs.
        height: Height of a view in pixels.
        width: Width of a view in pixels.
        scenes: Range of the scenes.
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        size: int,
        seed: int,
        height: int = 240,
        width: int = 320,
        scenes: SceneRange | None = None,
    ) -> None:
        super().__init__(size, seed)
        if min(height, width) < 4 * PROBE:
            raise ValueError(f"views must be at least 32x32 pixels, got {height}x{width}")
        self.sources, self.height, self.width = list(sources), height, width
        self.scenes = scenes or SceneRange()

    def make(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a random pair as tensors: images (3, H, W), and the fields of ``ScenePair``."""
        pair = self.sample_pair(rng)
        image0, image1 = (torch.from_numpy(image).movedim(-1, 0) for image in pair.images)
        return {
            "image0": image0.contiguous(),
            "image1": image1.contiguous(),
            "depth0": pair.depths[0].float(),
            "depth1": pair.depths[1].float(),
            "flow": pair.flow.float(),
            "valid": pair.valid,
            "intrinsics0": pair.intrinsics[0],
            "intrinsics1": pair.intrinsics[1],
            "pose": pair.pose,
            "fundamental": pair.fundamental,
        }

    def sample_pair(self, rng: np.random.Generator) -> ScenePair:
        """Return a random pair."""
        corner, edges = sample_geometry(self.scenes, rng)
        cameras = self._sample_cameras(corner, edges, rng)
        mipmap = build_mipmap(sample_textures(self.sources, edges, rng))
        quads = Quads(corner=corner, edges=edges)
        pixels = pixel_grid(self.height, self.width)
        size = (self.height, self.width)
        rays = [cast_rays(quads, camera, pixels) for camera in cameras]
        flow, valid = visible_flow(quads, cameras, rays[0], *size)
        colours = [shade(mipmap, r) for r in rays]
        if self.scenes.disturbed is not None:
            colours = [
                c * light_quads(edges, rng)[r.quad] for c, r in zip(colours, rays, strict=True)
            ]
        images = [c.clamp(0, 1).unflatten(1, size).movedim(0, -1).numpy() for c in colours]
        images, visible = disturb_views(images, self.sources, self.scenes.disturbed, rng)
        valid = valid & torch.from_numpy(visible[0])
        valid &= _lands_on(torch.from_numpy(visible[1]), flow)
        pose = relative_pose(*cameras)
        intrinsics = (cameras[0].intrinsics, cameras[1].intrinsics)
        return ScenePair(
            images=(images[0], images[1]),
            depths=(rays[0].depth.unflatten(0, size), rays[1].depth.unflatten(0, size)),
            visible=(visible[0], visible[1]),
            flow=torch.where(valid, flow, 0),
            valid=valid,
            intrinsics=intrinsics,
            pose=pose,
            fundamental=fundamental_matrix(pose, *intrinsics),
        )

    def _sample_cameras(
        self, corner: Tensor, edges: Tensor, rng: np.random.Generator
    ) -> tuple[Camera, Camera]:
        """Return two cameras whose views overlap; after all attempts, those that overlap most."""
        quads = Quads(corner=corner, edges=edges)
        height, width = self.height // PROBE, self.width // PROBE
        best, most = None, -1.0
        for _ in range(MAX_ATTEMPTS):
            cameras = sample_cameras(self.scenes, self.height, self.width, rng)
            small = (_downscaled(cameras[0]), _downscaled(cameras[1]))
            rays = cast_rays(quads, small[0], pixel_grid(height, width))
            overlap = float(visible_flow(quads, small, rays, height, width)[1].double().mean())
            if overlap > most:
                best, most = cameras, overlap
            if most >= MIN_OVERLAP:
                break
        assert best is not None
        return best


def _downscaled(camera: Camera) -> Camera:
    """Return a camera with every ``PROBE``-th pixel."""
    scale = torch.tensor([1 / PROBE, 1 / PROBE, 1], dtype=torch.float64)
    return Camera(intrinsics=scale[:, None] * camera.intrinsics, pose=camera.pose)


def _lands_on(visible1: Tensor, flow: Tensor) -> Tensor:
    """Return which pixels (H, W) of image 0 the flow maps to visible pixels of image 1."""
    height, width = visible1.shape
    x, y = (pixel_grid(height, width) + flow.flatten(1).mT).round().long().unbind(dim=1)
    return visible1[y.clamp(0, height - 1), x.clamp(0, width - 1)].unflatten(0, (height, width))
