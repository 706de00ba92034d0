"""Two views of generated 3D scenes: exact geometry, depth order, colours and overlap."""

import numpy as np
import pytest
import torch
from textures import blobs
from torch.testing import assert_close

from patchmatch.ops.sampling import bilinear_sample
from patchmatch.pairs.geometry import estimate_homography
from patchmatch.synthetic.rendering import (
    NO_QUAD,
    Camera,
    Quads,
    build_mipmap,
    cast_rays,
    pixel_grid,
    shade,
    visible_flow,
)
from patchmatch.synthetic.scene_sampling import SceneRange
from patchmatch.synthetic.scenes import SceneDataset

HEIGHT, WIDTH = 72, 104
EXACT = SceneRange(disturbed=None)


@pytest.fixture(scope="module")
def pairs():
    sources = [blobs(120, 150, seed, spacing=12) for seed in range(4)]
    dataset = SceneDataset(sources, 8, 3, HEIGHT, WIDTH, EXACT)
    return [dataset.sample_pair(np.random.default_rng(seed)) for seed in range(8)]


def homogeneous(points):
    return torch.cat([points, torch.ones_like(points[:, :1])], dim=1)


def correspondences(pair):
    pixels0 = pixel_grid(HEIGHT, WIDTH)
    valid = pair.valid.flatten()
    return pixels0[valid], (pixels0 + pair.flow.flatten(1).mT)[valid]


def test_depth_and_pose_reproject_to_the_flow(pairs):
    for pair in pairs:
        points0, points1 = correspondences(pair)
        assert len(points0) > 0.1 * HEIGHT * WIDTH
        depth = pair.depths[0].flatten()[pair.valid.flatten()]
        rays = homogeneous(points0) @ torch.linalg.inv(pair.intrinsics[0]).mT
        points = (depth[:, None] * rays) @ pair.pose[:, :3].mT + pair.pose[:, 3]
        projected = points @ pair.intrinsics[1].mT
        assert_close(projected[:, :2] / projected[:, 2:], points1, atol=1e-3, rtol=0)


def test_depth_of_image1_agrees_where_a_point_is_visible(pairs):
    for pair in pairs:
        points0, points1 = correspondences(pair)
        depth0 = pair.depths[0].flatten()[pair.valid.flatten()]
        rays = homogeneous(points0) @ torch.linalg.inv(pair.intrinsics[0]).mT
        depth1 = ((depth0[:, None] * rays) @ pair.pose[:, :3].mT + pair.pose[:, 3])[:, 2]
        x, y = points1.round().long().unbind(dim=1)
        # The nearest pixel may lie beyond the edge of a quad, so not for all of them.
        error = (pair.depths[1][y, x] / depth1 - 1).abs()
        assert (error < 0.05).double().mean() > 0.9


def test_points_lie_on_their_epipolar_lines(pairs):
    for pair in pairs:
        points0, points1 = correspondences(pair)
        lines = homogeneous(points0) @ pair.fundamental.mT
        distance = (homogeneous(points1) * lines).sum(dim=1).abs() / lines[:, :2].norm(dim=1)
        assert distance.max() < 1e-6
        assert_close(pair.fundamental.norm(), torch.tensor(1.0).double())
        assert torch.linalg.det(pair.fundamental).abs() < 1e-9


def test_image1_looks_like_image0_at_the_flow(pairs):
    for pair in pairs:
        points0, points1 = correspondences(pair)
        images = [torch.from_numpy(image).movedim(-1, 0)[None] for image in pair.images]
        colours = [
            bilinear_sample(image, points[None].float())
            for image, points in zip(images, (points0, points1), strict=True)
        ]
        shuffled = colours[1][..., torch.randperm(len(points1))]
        error = (colours[0] - colours[1]).abs().mean()
        assert error < 0.3 * (colours[0] - shuffled).abs().mean()


def test_no_homography_explains_a_scene(pairs):
    shares = []
    for pair in pairs:
        points = [points.numpy() for points in correspondences(pair)]
        shares.append(estimate_homography(*points, 1.0).inliers.mean())
    assert np.mean(shares) < 0.8


def test_rays_meet_the_nearest_quad():
    """Against the intersection of one ray with one parallelogram after the other."""
    rng = np.random.default_rng(0)
    corner, edges = rng.normal((0, 0, 4), 1, (6, 3)), rng.normal(0, 1.5, (6, 2, 3))
    corner[0], edges[0] = [0, 0, 9], [[1, 0, 0.1], [0, 1, -0.2]]
    quads = Quads(corner=torch.from_numpy(corner), edges=torch.from_numpy(edges))
    turn = np.linalg.qr(np.eye(3) + 0.1 * rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.diag(turn))
    pose = np.concatenate([turn, rng.normal(0, 0.3, (3, 1))], axis=1)
    intrinsics = np.array([[50.0, 0, 31], [0, 60, 20], [0, 0, 1]])
    camera = Camera(intrinsics=torch.from_numpy(intrinsics), pose=torch.from_numpy(pose))
    rays = cast_rays(quads, camera, pixel_grid(40, 64))
    centre = -turn.T @ pose[:, 3]
    counts = set()
    for index in range(0, 40 * 64, 37):
        y, x = divmod(index, 64)
        direction = turn.T @ np.linalg.inv(intrinsics) @ [x, y, 1]
        nearest, chosen = np.inf, NO_QUAD
        for q in range(6):
            system = np.stack([edges[q, 0], edges[q, 1], -direction], axis=1)
            u, v, depth = np.linalg.solve(system, centre - corner[q])
            inside = q == 0 or (0 <= u <= 1 and 0 <= v <= 1)
            if inside and 0 < depth < nearest:
                nearest, chosen = depth, q
        counts.add(chosen)
        assert int(rays.quad[index]) == chosen
        assert float(rays.depth[index]) == pytest.approx(nearest, rel=1e-9)
    assert len(counts) > 3


def test_a_quad_before_another_hides_it():
    """A plane at depth 2 covers the left half of image 1 but not of image 0."""
    corner = torch.tensor([[-4.0, -4, 4], [-6, -6, 2]]).double()
    edges = torch.tensor([[[8.0, 0, 0], [0, 8, 0]], [[4.0, 0, 0], [0, 12, 0]]]).double()
    quads = Quads(corner=corner, edges=edges)
    intrinsics = torch.tensor([[20.0, 0, 31.5], [0, 20, 20], [0, 0, 1]]).double()
    still, moved = torch.eye(3, 4).double(), torch.eye(3, 4).double()
    moved[0, 3] = 2.0
    cameras = tuple(Camera(intrinsics=intrinsics, pose=pose) for pose in (still, moved))
    rays = cast_rays(quads, cameras[0], pixel_grid(41, 64))
    flow, visible = visible_flow(quads, cameras, rays, 41, 64)
    x = torch.arange(64)
    background = x > 11.5  # -2 / 2 * 20 + 31.5
    assert (rays.quad.unflatten(0, (41, 64))[20] == 0).equal(background)
    # Background moves by 2 / 4 * 20 = 10 px, the plane by 20 px to x = 31.5.
    expected = background & (x + 10 > 31.5) & (x + 10 <= 63)
    assert visible[20].equal(expected | (~background & (x + 20 <= 31.5)))
    assert_close(flow[0, 20, visible[20] & background], torch.full((32,), 10.0).double())


def test_a_texture_at_its_own_size_is_kept():
    """A plane one pixel a texel shows its texture; at half the size, the mean of 2x2 texels."""
    texture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    intrinsics = torch.tensor([[64.0, 0, 31.5], [0, 64, 31.5], [0, 0, 1]]).double()
    camera = Camera(intrinsics=intrinsics, pose=torch.eye(3, 4).double())
    for depth, expected in ((1.0, texture[1]), (2.0, None)):
        corner = torch.tensor([[0.0, 0, 9], [-0.5, -0.5, depth]]).double()
        edges = torch.eye(2, 3).double().expand(2, 2, 3)
        rays = cast_rays(Quads(corner=corner, edges=edges), camera, pixel_grid(64, 64))
        colours = shade(build_mipmap(texture), rays).unflatten(1, (64, 64))
        if expected is None:
            expected = torch.nn.functional.avg_pool2d(texture[1], 2)
            colours = colours[:, 16:48, 16:48]
        assert_close(colours, expected, atol=1e-5, rtol=0)


def test_pairs_depend_on_index_and_seed_only():
    sources = [blobs(100, 100, 0)]
    first, again = (SceneDataset(sources, 4, 1, 48, 64)[(2, 3)] for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = SceneDataset(sources, 4, 2, 48, 64)[(2, 3)]
    assert not torch.equal(first["image0"], other["image0"])
    assert first["image0"].shape == (3, 48, 64)
    assert first["flow"].shape == (2, 48, 64)
    assert 0 <= first["image0"].min() <= first["image0"].max() <= 1


def test_occluders_are_not_valid():
    sources = [blobs(100, 100, seed) for seed in range(2)]
    dataset = SceneDataset(sources, 1, 0, 64, 64, SceneRange(disturbed=1.0))
    pair = dataset.sample_pair(np.random.default_rng(1))
    visible0, visible1 = (torch.from_numpy(mask) for mask in pair.visible)
    assert not visible0.all()
    assert not (pair.valid & ~visible0).any()
    valid, pixels = pair.valid.flatten(), pixel_grid(64, 64)
    x, y = (pixels + pair.flow.flatten(1).mT)[valid].round().long().unbind(dim=1)
    assert visible1[y, x].all()


def test_small_motion_has_a_direction_down_to_no_visible_motion():
    scenes = SceneRange(disturbed=None, small=1.0)
    dataset = SceneDataset([blobs(100, 100, seed) for seed in range(2)], 12, 0, 64, 64, scenes)
    largest = []
    for pair in dataset:
        y, x = pair["valid"].nonzero().unbind(dim=1)
        flow = pair["flow"][:, y, x].double()
        points0 = torch.stack([x, y, torch.ones_like(x)], dim=1).double()
        points1 = points0.clone()
        points1[:, :2] += flow.mT
        lines = points0 @ pair["fundamental"].mT
        assert ((points1 * lines).sum(dim=1) / lines[:, :2].norm(dim=1)).abs().max() < 1e-3
        assert pair["pose"][:, 3].norm() > 0
        largest.append(float(flow.norm(dim=0).max()))
    assert min(largest) < 0.05
    assert max(largest) > 2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("turn", 0, "turn must be above 0 and at most 60"),
        ("roll", 200, "roll must be between 0 and 180"),
        ("zoom", 2, "zoom must be between 0 and 1"),
        ("small", 1.5, "small must be between 0 and 1"),
        ("boxes", -1, "boxes must be at least 0"),
        ("disturbed", 1.5, "disturbed must be between 0 and 1"),
    ],
)
def test_impossible_ranges_raise(option, value, message):
    with pytest.raises(ValueError, match=message):
        SceneRange(**{option: value})


def test_tiny_views_and_textures_raise():
    with pytest.raises(ValueError, match="at least 32x32"):
        SceneDataset([blobs(40, 40, 0)], 1, 0, 16, 64)
    with pytest.raises(ValueError, match="multiple of 32 pixels, at least 64"):
        build_mipmap(torch.rand(1, 3, 48, 48))
