"""Rendering of textured quads: exact depth and depth order, textures from a mipmap."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

NO_QUAD = -1  # of a pixel whose ray meets no quad
LEVELS = 6  # of a mipmap
CHUNK = 4096  # rays whose intersections with all quads fit the cache


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera.

    Attributes:
        intrinsics: (3, 3) float64, from rays to pixels.
        pose: (3, 4) float64, from the world to the camera: rotation and translation.
    """

    intrinsics: Tensor
    pose: Tensor

    def project(self, points: Float[Tensor, "*N 3"]) -> tuple[Float[Tensor, "*N 2"], Tensor]:
        """Return the pixels (x, y) of points of the world, and their depths (*N)."""
        projected = (points @ self.pose[:, :3].mT + self.pose[:, 3]) @ self.intrinsics.mT
        depth = projected[..., 2]
        return projected[..., :2] / depth[..., None], depth


@dataclass(frozen=True, kw_only=True)
class Quads:
    """Parallelograms; the first one is an unbounded plane, the background.

    Attributes:
        corner: (Q, 3) float64, the point with the texture coordinates (0, 0).
        edges: (Q, 2, 3) float64, the edges along u and v, from 0 to 1. Beyond 1, the texture of the
            unbounded plane is mirrored.
    """

    corner: Tensor
    edges: Tensor

    def inverse_projections(self, camera: Camera) -> Float[Tensor, "Q 3 3"]:
        """Return the matrices from pixels (x, y, 1) to (u, v, 1) / depth.

        A point of a quad is ``corner + u edge0 + v edge1``; its projection is linear in (u, v, 1),
        and so is the inverse: (u, v, 1) / depth is linear in the pixel.
        """
        rotation, translation = camera.pose[:, :3], camera.pose[:, 3]
        origin = self.corner @ rotation.mT + translation  # (Q, 3)
        columns = torch.cat([self.edges @ rotation.mT, origin[:, None]], dim=1)  # (Q, 3, 3) rows
        return torch.linalg.inv(camera.intrinsics @ columns.mT)


@dataclass(frozen=True, kw_only=True)
class Rays:
    """The nearest quad of each ray.

    Attributes:
        quad: (N,) long, index of the quad, or ``NO_QUAD``.
        depth: (N,) float64; infinite without a quad.
        texture: (N, 2) float64, u and v.
        pixel_side: (N,) float32, the side of the square with the area of a pixel on its quad, in
            sides of the texture.
    """

    quad: Tensor
    depth: Tensor
    texture: Tensor
    pixel_side: Tensor


@dataclass(frozen=True, kw_only=True)
class Mipmap:
    """Square textures at all levels, each half the size of the last (Williams 1983).

    Attributes:
        texels: (total, C), the levels after each other, row by row.
        starts: Row of the first texel of each level.
        side: Side of a texture at level 0 in texels.
        count: Number of textures.
    """

    texels: Tensor
    starts: Tensor
    side: int
    count: int


def pixel_grid(height: int, width: int) -> Float[Tensor, "N 2"]:
    """Return x and y of all pixels, row by row, in double precision."""
    axes = (torch.arange(n, dtype=torch.float64) for n in (height, width))
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def cast_rays(quads: Quads, camera: Camera, pixels: Float[Tensor, "N 2"]) -> Rays:
    """Return the nearest quad in front of the camera on the ray of each pixel.

    Args:
        quads: The scene.
        camera: The camera.
        pixels: x and y in double precision, inside the image or not.
    """
    inverse = quads.inverse_projections(camera)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)  # (N, 3)
    rows = inverse.movedim(1, 0).flatten(0, 1).float()  # (3 Q, 3): of u, of v, of the inverse depth
    nearest, quad = (
        torch.cat(parts)
        for parts in zip(
            *(_nearest_quad(rows, part) for part in homogeneous.float().split(CHUNK)), strict=True
        )
    )
    # The depth again in double precision, of the nearest quad only.
    matrix = inverse.flatten(1)[quad]  # (N, 9); the sum in three terms is faster than a product
    over_depth = matrix[:, ::3] * pixels[:, :1] + matrix[:, 1::3] * pixels[:, 1:] + matrix[:, 2::3]
    depth = 1 / over_depth[:, 2]
    # u = a / w and v = b / w with a, b and w linear in the pixel, so that the determinant of the
    # derivatives of (u, v) is det(inverse) / w^3.
    area = (torch.linalg.det(inverse).abs()[quad] * depth.abs() ** 3).float()
    missed = nearest <= 0
    return Rays(
        quad=quad.masked_fill(missed, NO_QUAD),
        depth=depth.masked_fill(missed, torch.inf),
        texture=over_depth[:, :2] * depth[:, None],
        pixel_side=area.sqrt().nan_to_num(1.0, 1.0, 1.0),
    )


def build_mipmap(textures: Float[Tensor, "Q C T T"]) -> Mipmap:
    """Return the textures at all levels; T is a multiple of 32 and at least 64."""
    levels, starts, total, side = [], [], 0, textures.shape[-1]
    if side < 64 or side % 32:
        raise ValueError(f"textures must have a multiple of 32 pixels, at least 64, got {side}")
    level = textures
    for _ in range(LEVELS):
        starts.append(total)
        levels.append(level.movedim(1, -1).flatten(0, 2))  # (Q T T, C)
        total += len(levels[-1])
        level = F.avg_pool2d(level, 2)
    return Mipmap(
        texels=torch.cat(levels), starts=torch.tensor(starts), side=side, count=len(textures)
    )


def shade(mipmap: Mipmap, rays: Rays) -> Float[Tensor, "C N"]:
    """Return the colours of rays: bilinear interpolation at the mipmap level of the pixel size.

    Beyond a texture it is mirrored. Without a quad, a ray is gray.

    Args:
        mipmap: The textures of the quads.
        rays: The rays of an image.
    """
    level = (rays.pixel_side * mipmap.side).clamp_min(1).log2().round().long()
    level = level.clamp_max(LEVELS - 1)
    sides = mipmap.side >> level  # (N,)
    first = mipmap.starts[level] + rays.quad.clamp_min(0) * sides**2
    texture = (1 - (1 - rays.texture.remainder(2)).abs()).float()
    position = (texture * sides[:, None] - 0.5).clamp_min(0)
    last = (sides - 1)[:, None].float()
    position = torch.minimum(position, last)
    low = torch.minimum(position.floor(), last - 1)
    right, down = (position - low).unbind(dim=1)
    x, y = low.long().unbind(dim=1)
    index = first + y * sides + x
    texels = mipmap.texels
    top = torch.lerp(texels[index], texels[index + 1], right[:, None])
    index = index + sides
    bottom = torch.lerp(texels[index], texels[index + 1], right[:, None])
    colours = torch.lerp(top, bottom, down[:, None])
    return torch.where(rays.quad[:, None] == NO_QUAD, 0.5, colours).mT


def visible_flow(
    quads: Quads, cameras: tuple[Camera, Camera], rays0: Rays, height: int, width: int
) -> tuple[Float[Tensor, "2 H W"], Bool[Tensor, "H W"]]:
    """Return the flow of the pixels of image 0, and where their points are visible in image 1.

    A point is visible if it is inside image 1 and the ray of camera 1 to it meets its quad first.

    Args:
        quads: The scene.
        cameras: Cameras 0 and 1.
        rays0: The rays of all pixels of image 0.
        height: Height of both images.
        width: Width of both images.
    """
    pixels0 = pixel_grid(height, width)
    quad = rays0.quad.clamp_min(0)
    edge_u, edge_v = (edges[quad] for edges in quads.edges.unbind(dim=1))  # (N, 3)
    u, v = rays0.texture.split(1, dim=1)
    pixels1, depth1 = cameras[1].project(quads.corner[quad] + u * edge_u + v * edge_v)
    limits = pixels1.new_tensor([width - 1, height - 1])
    inside = ((pixels1 >= 0) & (pixels1 <= limits)).all(dim=1)
    visible = inside & (depth1 > 0) & (rays0.quad != NO_QUAD)
    index = visible.nonzero()[:, 0]
    visible[index] = cast_rays(quads, cameras[1], pixels1[index]).quad == quad[index]
    flow = torch.where(visible[:, None], pixels1 - pixels0, 0)
    return flow.mT.unflatten(1, (height, width)), visible.unflatten(0, (height, width))


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


def _nearest_quad(
    rows: Float[Tensor, "Q3 3"], pixels: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, "N"], Int[Tensor, "N"]]:
    """Return the largest inverse depth of each ray, not positive without a quad, and its quad."""
    u, v, w = (rows @ pixels.mT).chunk(3)  # each (Q, N): u and v over the depth, inverse depth
    hit = (torch.minimum(u, v) >= 0) & (torch.maximum(u, v) <= w)
    hit[0] = True  # the background is unbounded
    return w.masked_fill_(hit.logical_not_(), -1).max(dim=0)
