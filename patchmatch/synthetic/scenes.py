"""Two views of a generated 3D scene: planes and boxes with textures from any images.

Unlike two views of one plane, they have parallax and occlusion, and no homography explains them.
Correspondences, depth, camera poses and the fundamental matrix are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.synthetic.crops import rotation
from patchmatch.synthetic.dataset import SyntheticDataset
from patchmatch.synthetic.photometry import jitter_photometry, occlude
from patchmatch.synthetic.rendering import (
    Camera,
    Quads,
    build_mipmap,
    cast_rays,
    pixel_grid,
    shade,
    visible_flow,
)

TEXTURE_SIDE = 192  # pixels of a texture
BACKGROUND_DEPTH = (6.0, 14.0)
BACKGROUND_TILT = 0.5  # largest slope of the background in x and in y
DEPTH = (2.5, 6.0)  # of the centres of planes and boxes
PLANE_SIDE, BOX_SIDE = (0.3, 0.9), (0.15, 0.4)  # as a fraction of the depth
FOCAL = (0.8, 1.4)  # of the longer side of the image
AMBIENT = (0.5, 1.0)  # brightness of a surface that faces away from the light
MIN_OVERLAP = 0.3  # of the pixels of image 0 that are visible in image 1
MAX_ATTEMPTS = 20  # pairs of cameras to try
PROBE = 8  # pixels between the rays that measure the overlap
CORNERS = torch.tensor([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]).double()
# Corner, end of the edge along u, and end of the edge along v of the six faces of a box.
FACES = torch.tensor([[0, 1, 2], [5, 4, 7], [4, 0, 6], [1, 5, 3], [4, 5, 0], [2, 3, 6]])


@dataclass(frozen=True, kw_only=True)
class SceneRange:
    """Range of the generated scenes and of the motion between the cameras.

    Attributes:
        planes: Maximum number of planes in front of the background.
        boxes: Maximum number of boxes.
        turn: Maximum rotation of camera 1 around a point of the scene, in degrees.
        roll: Maximum rotation of camera 1 around its axis, in degrees.
        zoom: Maximum change of distance and of focal length together, in octaves.
        disturbed: Probability of each photometric change (``jitter_photometry``) and of an
            occluder, in either image; None disables them and the change of the light.
    """

    planes: int = 6
    boxes: int = 4
    turn: float = 30.0
    roll: float = 15.0
    zoom: float = 0.5
    disturbed: float | None = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("planes", "boxes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.turn <= 60:
            raise ValueError(f"turn must be above 0 and at most 60 degrees, got {self.turn}")
        if not 0 <= self.roll <= 180:
            raise ValueError(f"roll must be between 0 and 180 degrees, got {self.roll}")
        if not 0 <= self.zoom <= 1:
            raise ValueError(f"zoom must be between 0 and 1 octaves, got {self.zoom}")
        if self.disturbed is not None and not 0 <= self.disturbed <= 1:
            raise ValueError(f"disturbed must be between 0 and 1, got {self.disturbed}")


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
            colours = [c * light_quads(edges, rng)[r.quad] for c, r in zip(colours, rays)]
        images = [c.clamp(0, 1).unflatten(1, size).movedim(0, -1).numpy() for c in colours]
        images, visible = self._disturb(images, rng)
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

    def _disturb(
        self, images: list[np.ndarray], rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the images with photometric changes, and their pixels without occluders."""
        visible = [np.ones(image.shape[:2], bool) for image in images]
        probability = self.scenes.disturbed
        if probability is None:
            return images, visible
        for i in range(2):
            if rng.random() < probability:
                other = self.sources[int(rng.integers(len(self.sources)))]
                texture = cv2.resize(other, (self.width, self.height)).astype(np.float32) / 255
                images[i], visible[i] = occlude(images[i], texture, rng)
            images[i] = jitter_photometry(images[i], probability, rng).astype(np.float32)
        return images, visible


def sample_geometry(scenes: SceneRange, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the corners (Q, 3) and edges (Q, 2, 3) of a random scene, the background first.

    Camera 0 is at the origin and looks along z.
    """
    depth = rng.uniform(*BACKGROUND_DEPTH)
    slope = rng.uniform(-BACKGROUND_TILT, BACKGROUND_TILT, 2)
    side = depth * rng.uniform(0.5, 1.0)
    axes = side * np.array([[1, 0, slope[0]], [0, 1, slope[1]]])
    corners, edges = [np.array([[0.0, 0.0, depth]])], [axes[None]]
    for _ in range(int(rng.integers(scenes.planes + 1))):
        centre, turned = _sample_placement(rng)
        sides = centre[2] * rng.uniform(*PLANE_SIDE, 2)
        axes = turned[:, :2].T * sides[:, None]
        corners.append((centre - axes.sum(axis=0) / 2)[None])
        edges.append(axes[None])
    for _ in range(int(rng.integers(scenes.boxes + 1))):
        centre, turned = _sample_placement(rng)
        half = centre[2] * rng.uniform(*BOX_SIDE, 3) / 2
        box = centre + (CORNERS.numpy() * half) @ turned.T  # (8, 3)
        faces = box[FACES.numpy()]  # (6, 3, 3)
        corners.append(faces[:, 0])
        edges.append(faces[:, 1:] - faces[:, :1])
    return torch.from_numpy(np.concatenate(corners)), torch.from_numpy(np.concatenate(edges))


def sample_cameras(
    scenes: SceneRange, height: int, width: int, rng: np.random.Generator
) -> tuple[Camera, Camera]:
    """Return camera 0 at the origin, and camera 1 moved around a point of the scene."""
    focal0 = max(height, width) * rng.uniform(*FOCAL)
    target = np.array([0.0, 0.0, rng.uniform(*DEPTH)])
    angle, axis = np.radians(rng.uniform(0.1, 1) * scenes.turn), rng.uniform(0, 2 * np.pi)
    orbit = _rotation(angle * np.array([np.cos(axis), np.sin(axis), 0]))
    roll = _rotation(np.radians(rng.uniform(-1, 1) * scenes.roll) * np.array([0, 0, 1.0]))
    octaves = rng.uniform(-1, 1, 2) * scenes.zoom / 2
    look = _rotation(rng.normal(0, 0.05, 3))  # so that the target is not in the centre
    turned = roll @ look @ orbit
    # Camera 1 sees the target in the direction (0, 0, 1) of its unrolled frame, at this distance.
    translation = roll @ look @ (2 ** octaves[0] * target) - turned @ target
    pose1 = torch.from_numpy(np.concatenate([turned, translation[:, None]], axis=1))
    return (
        Camera(intrinsics=_intrinsics(focal0, height, width), pose=torch.eye(3, 4).double()),
        Camera(intrinsics=_intrinsics(focal0 * 2 ** octaves[1], height, width), pose=pose1),
    )


def sample_textures(
    sources: Sequence[np.ndarray], edges: Tensor, rng: np.random.Generator
) -> Tensor:
    """Return random crops of images with the aspect of each quad, (Q, 3, T, T) float32.

    Args:
        sources: (H, W, 3) uint8 RGB.
        edges: (Q, 2, 3), the edges of the quads.
        rng: Source of randomness.
    """
    textures = []
    for u, v in edges.norm(dim=2).tolist():
        source = sources[int(rng.integers(len(sources)))]
        size = np.array([u, v]) / max(u, v)
        size = size * min(source.shape[1] / size[0], source.shape[0] / size[1])
        size = np.maximum(size * rng.uniform(0.4, 1.0), 2)
        x0, y0 = np.floor(rng.uniform(0, 1, 2) * (np.array(source.shape[1::-1]) - size)).astype(int)
        x1, y1 = np.array([x0, y0]) + size.astype(int)
        side = (TEXTURE_SIDE, TEXTURE_SIDE)
        crop = cv2.resize(source[y0:y1, x0:x1], side, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        textures.append(np.ascontiguousarray(np.rot90(crop, 2 * int(rng.integers(2)))))
    return torch.from_numpy(np.stack(textures)).movedim(-1, 1).float() / 255


def light_quads(edges: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the brightness (Q,) of the quads under a distant light from a random direction."""
    normals = torch.linalg.cross(edges[:, 0], edges[:, 1])
    normals = normals / normals.norm(dim=1, keepdim=True)
    light = torch.from_numpy(rng.normal(size=3))
    facing = (normals @ (light / light.norm())).abs()
    ambient = rng.uniform(*AMBIENT)
    return (ambient + (1 - ambient) * facing).float()


def relative_pose(camera0: Camera, camera1: Camera) -> Tensor:
    """Return rotation and translation (3, 4) from camera 0 to camera 1."""
    turned = camera1.pose[:, :3] @ camera0.pose[:, :3].mT
    return torch.cat([turned, camera1.pose[:, 3:] - turned @ camera0.pose[:, 3:]], dim=1)


def fundamental_matrix(pose: Tensor, intrinsics0: Tensor, intrinsics1: Tensor) -> Tensor:
    """Return the fundamental matrix (3, 3) of norm 1 of two cameras: x1 F x0 = 0.

    Args:
        pose: (3, 4), from camera 0 to camera 1.
        intrinsics0: (3, 3) of camera 0.
        intrinsics1: (3, 3) of camera 1.
    """
    x, y, z = pose[:, 3].tolist()
    cross = pose.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    essential = cross @ pose[:, :3]
    matrix = torch.linalg.inv(intrinsics1).mT @ essential @ torch.linalg.inv(intrinsics0)
    return matrix / matrix.norm()


def _sample_placement(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (3,) of a plane or box in the view of camera 0, and its rotation (3, 3)."""
    depth = rng.uniform(*DEPTH)
    centre = depth * np.array([*rng.uniform(-0.5, 0.5, 2), 1])
    tilt = _rotation(np.array([*rng.normal(0, 0.5, 2), 0]))
    turned = np.eye(3)
    turned[:2, :2] = rotation(rng.normal(0, 0.4))
    return centre, tilt @ turned


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of a rotation vector in radians."""
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


def _intrinsics(focal: float, height: int, width: int) -> Tensor:
    values = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor(values, dtype=torch.float64)


def _downscaled(camera: Camera) -> Camera:
    """Return a camera with every ``PROBE``-th pixel."""
    scale = torch.tensor([1 / PROBE, 1 / PROBE, 1], dtype=torch.float64)
    return Camera(intrinsics=scale[:, None] * camera.intrinsics, pose=camera.pose)


def _lands_on(visible1: Tensor, flow: Tensor) -> Tensor:
    """Return which pixels (H, W) of image 0 the flow (2, H, W) maps to visible pixels of image 1."""
    height, width = visible1.shape
    x, y = (pixel_grid(height, width) + flow.flatten(1).mT).round().long().unbind(dim=1)
    return visible1[y.clamp(0, height - 1), x.clamp(0, width - 1)].unflatten(0, (height, width))
