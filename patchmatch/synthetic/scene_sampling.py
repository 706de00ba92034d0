"""Random planes, boxes, textures, light and cameras of generated 3D scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from patchmatch.synthetic.crops import rotation
from patchmatch.synthetic.rendering import Camera

TEXTURE_SIDE = 192  # pixels of a texture
BACKGROUND_DEPTH = (6.0, 14.0)
BACKGROUND_TILT = 0.5  # largest slope of the background in x and in y
DEPTH = (2.5, 6.0)  # of the centres of planes and boxes
PLANE_SIDE, BOX_SIDE = (0.3, 0.9), (0.15, 0.4)  # as a fraction of the depth
FOCAL = (0.8, 1.4)  # of the longer side of the image
LEAST_MOTION = 1e-4  # factor that leaves less than a hundredth of a pixel
AMBIENT = (0.5, 1.0)  # brightness of a surface that faces away from the light
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
        small: Probability that all of this motion is scaled down, by a log-uniform factor of at
            least ``LEAST_MOTION``. The smallest motion is not visible, but it has a direction.
        disturbed: Probability of each photometric change (``jitter_photometry``) and of an
            occluder, in either image; None disables them and the change of the light.
    """

    planes: int = 6
    boxes: int = 4
    turn: float = 30.0
    roll: float = 15.0
    zoom: float = 0.5
    small: float = 0.0
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
        if not 0 <= self.small <= 1:
            raise ValueError(f"small must be between 0 and 1, got {self.small}")
        if self.disturbed is not None and not 0 <= self.disturbed <= 1:
            raise ValueError(f"disturbed must be between 0 and 1, got {self.disturbed}")


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
    factor = 1.0
    if scenes.small and rng.random() < scenes.small:
        factor = LEAST_MOTION ** rng.random()
    focal0 = max(height, width) * rng.uniform(*FOCAL)
    target = np.array([0.0, 0.0, rng.uniform(*DEPTH)])
    angle, axis = np.radians(rng.uniform(0.1, 1) * factor * scenes.turn), rng.uniform(0, 2 * np.pi)
    orbit = _rotation(angle * np.array([np.cos(axis), np.sin(axis), 0]))
    roll = _rotation(np.radians(rng.uniform(-1, 1) * factor * scenes.roll) * np.array([0, 0, 1.0]))
    octaves = factor * rng.uniform(-1, 1, 2) * scenes.zoom / 2
    look = _rotation(factor * rng.normal(0, 0.05, 3))  # so that the target is not in the centre
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
