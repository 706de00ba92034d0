import cv2
import numpy as np
import pytest

from patchmatch.motion import layered_scenes
from patchmatch.motion.layered_scenes import (
    _grid,
    _Motion,
    _visible,
    degrade_frames,
    make_scene,
)

SIDE = 96
data = pytest.importorskip("skimage.data", reason="photographs are the textures")


def drawn_digits(count=40):
    """Draw digits with OpenCV: reading MNIST takes seconds."""
    images = np.zeros((count, 28, 28), np.uint8)
    for i, image in enumerate(images):
        cv2.putText(image, str(i % 10), (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    return images


@pytest.fixture(scope="module")
def masks():
    return drawn_digits()


@pytest.fixture(scope="module")
def photographs():
    colour = [cv2.cvtColor(p(), cv2.COLOR_RGB2GRAY) for p in (data.astronaut, data.coffee)]
    return [p.astype(np.float32) / 255 for p in (data.camera(), *colour)]


def scene_of(photographs, masks, seed, upright=True):
    return make_scene(photographs, masks, SIDE, np.random.default_rng(seed), upright)


def warp_back(scene):
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return cv2.remap(
        scene.frame1, x + scene.flow[..., 0], y + scene.flow[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


@pytest.mark.parametrize("upright", [True, False])
def test_frame1_warped_by_the_flow_is_frame0_where_visible(photographs, masks, upright):
    for seed in range(12):
        scene = scene_of(photographs, masks, seed, upright)
        error = np.abs(warp_back(scene) - scene.frame0)[scene.visible]
        assert np.median(error) < 0.012
        # Edges of layers are blended.
        assert np.quantile(error, 0.9) < 0.06


def test_flow_is_better_than_the_flow_moved_by_a_fifth_of_a_pixel(photographs, masks, monkeypatch):
    # Plain surfaces fit any motion.
    monkeypatch.setattr(layered_scenes, "PLAIN_SHARE", 0.0)
    for seed in range(12):
        scene = scene_of(photographs, masks, seed)
        if scene.visible.mean() < 0.3:
            continue
        exact = np.abs(warp_back(scene) - scene.frame0)[scene.visible].mean()
        for off in ((0.2, 0), (-0.2, 0), (0, 0.2), (0, -0.2)):
            moved = scene._replace(flow=scene.flow + np.array(off, np.float32))
            assert np.abs(warp_back(moved) - scene.frame0)[scene.visible].mean() > exact


def shift_along_x(frame0, frame1):
    """Return the least-squares shift between two frames."""
    slope = np.gradient(frame0, axis=1) + np.gradient(frame1, axis=1)
    return -2 * (slope * (frame1 - frame0)).sum() / (slope**2).sum()


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_textures_move_by_the_flow_within_a_hundredth_of_a_pixel(
    photographs, masks, monkeypatch, scale
):
    """OpenCV's cubic interpolation would move smooth textures by up to 10% more."""
    monkeypatch.setattr(layered_scenes, "PLAIN_SHARE", 0.0)
    monkeypatch.setattr(layered_scenes, "CROWD_SHARE", 0.0)
    monkeypatch.setattr(layered_scenes, "MAX_LAYERS", 0)
    monkeypatch.setattr(layered_scenes, "SCALES", (scale, scale))
    texture = cv2.GaussianBlur(photographs[0], (0, 0), 5)
    for shift in (0.15, 0.3, 0.7):
        motion = layered_scenes._zero_motion(SIDE)._replace(shift=np.array([shift, 0.0]))
        monkeypatch.setattr(layered_scenes, "_background_motion", lambda *_, motion=motion: motion)
        scene = make_scene([texture], masks, SIDE, np.random.default_rng(0), True)
        assert scene.flow[..., 0] == pytest.approx(shift, abs=1e-6)
        assert shift_along_x(*scene[:2]) == pytest.approx(shift, abs=0.01)


@pytest.mark.parametrize("length", [3.0, 4.0, 8.0])
def test_waves_of_a_few_pixels_move_by_the_flow(masks, monkeypatch, length):
    """Textures upsampled by only two would move the shortest wave by 0.02 pixels."""
    monkeypatch.setattr(layered_scenes, "PLAIN_SHARE", 0.0)
    monkeypatch.setattr(layered_scenes, "MAX_LAYERS", 0)
    monkeypatch.setattr(layered_scenes, "CROWD_SHARE", 0.0)
    monkeypatch.setattr(layered_scenes, "SCALES", (0.5, 0.5))
    number = round(2 * 240 / length) * np.pi / 240  # continuous at the reflected border
    wave = np.cos(number * (np.arange(240) + 0.5)).astype(np.float32)
    texture = np.tile(0.5 + 0.4 * wave, (240, 1))
    for shift in (0.3, 0.7, 1.1):
        motion = layered_scenes._zero_motion(SIDE)._replace(shift=np.array([shift, 0.0]))
        monkeypatch.setattr(layered_scenes, "_background_motion", lambda *_, motion=motion: motion)
        scene = make_scene([texture], masks, SIDE, np.random.default_rng(1), True)
        turn = [np.exp(-0.5j * number * np.arange(SIDE)) @ f[SIDE // 2] for f in scene[:2]]
        moved = -np.angle(turn[1] / turn[0]) / (0.5 * number)
        assert moved == pytest.approx(shift, abs=0.01)


def test_frames_are_in_the_unit_range_and_of_the_stated_types(photographs, masks):
    scene = scene_of(photographs, masks, 3)
    for frame in (scene.frame0, scene.frame1):
        assert frame.shape == (SIDE, SIDE)
        assert frame.dtype == np.float32
        assert 0 <= frame.min() < frame.max() <= 1
    assert scene.flow.shape == (SIDE, SIDE, 2)
    assert scene.flow.dtype == np.float32
    assert scene.visible.dtype == bool


def test_scene_depends_on_the_seed(photographs, masks):
    one, same, other = (scene_of(photographs, masks, seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.frame0, other.frame0)


def test_scenes_have_still_backgrounds_and_motions_of_all_sizes(photographs, masks):
    scenes = [scene_of(photographs, masks, seed) for seed in range(60)]
    length = [np.median(np.linalg.norm(s.flow, axis=-1)) for s in scenes]
    assert 0.02 < np.mean(np.array(length) == 0) < 0.5
    assert np.mean(np.array(length) < 2) > 0.25
    assert np.mean(np.array(length) > 4) > 0.15
    assert 0.5 < np.mean([s.visible.mean() for s in scenes]) < 0.99


def test_plain_backgrounds_are_still_and_have_hardly_any_texture(photographs, masks, monkeypatch):
    monkeypatch.setattr(layered_scenes, "MAX_LAYERS", 0)
    monkeypatch.setattr(layered_scenes, "CROWD_SHARE", 0.0)
    for share in (0.0, 1.0):
        monkeypatch.setattr(layered_scenes, "PLAIN_SHARE", share)
        scenes = [scene_of(photographs, masks, seed) for seed in range(20)]
        still = np.mean([not scene.flow.any() for scene in scenes])
        # A linear brightness has zero second differences.
        bends = [np.abs(np.diff(scene.frame0, 2, axis=1)).mean() for scene in scenes]
        assert (still == 1 and max(bends) < 0.01) if share else (still < 0.7 and max(bends) > 0.03)


def test_layer_in_only_one_frame_is_not_visible(photographs, masks, monkeypatch):
    monkeypatch.setattr(layered_scenes, "BRIEF_SHARE", 0.0)
    lasting = [scene_of(photographs, masks, seed).visible.mean() for seed in range(20)]
    monkeypatch.setattr(layered_scenes, "BRIEF_SHARE", 1.0)
    scenes = [scene_of(photographs, masks, seed) for seed in range(20)]
    assert np.mean([s.visible.mean() for s in scenes]) < np.mean(lasting) - 0.1
    for scene in scenes[:6]:
        if scene.visible.mean() > 0.2:
            error = np.abs(warp_back(scene) - scene.frame0)[scene.visible]
            assert np.median(error) < 0.012


def test_soft_layers_bend_within_a_block_with_exact_flow(photographs, masks, monkeypatch):
    monkeypatch.setattr(layered_scenes, "PLAIN_SHARE", 0.0)
    bends, background = {}, layered_scenes._zero_motion(SIDE)
    for share in (0.0, 1.0):
        monkeypatch.setattr(layered_scenes, "SOFT_SHARE", share)
        rngs = [np.random.default_rng(seed) for seed in range(40)]
        flows = [layered_scenes._layer_motion(background, SIDE, rng).flow(SIDE) for rng in rngs]
        bends[share] = np.median([np.abs(np.diff(f[::16, ::16], 2, axis=1)).mean() for f in flows])
    assert bends[1.0] > 5 * bends[0.0]
    for rng in map(np.random.default_rng, range(40)):  # SOFT_SHARE is 1 here
        motion = layered_scenes._layer_motion(background, SIDE, rng)
        points = _grid(SIDE)
        bent = points + (points - motion.centre) @ (motion.matrix - np.eye(2)).T
        bent = bent + motion.shift + motion.bending(points)
        apart = np.linalg.norm(motion.invert(bent) - points, axis=-1)
        assert np.quantile(apart, 0.99) < 0.1


def test_crowds_have_many_small_layers(photographs, masks, monkeypatch):
    sizes, mask_of = [], layered_scenes._mask

    def spy(*arguments):
        mask, matrix = mask_of(*arguments)
        scale = layered_scenes.MASK_UPSAMPLING / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        sizes.append(20 * scale)
        return mask, matrix

    monkeypatch.setattr(layered_scenes, "_mask", spy)
    found = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(layered_scenes, "CROWD_SHARE", share)
        sizes.clear()
        for seed in range(30):
            make_scene(photographs, masks, 256, np.random.default_rng(seed), upright=True)
        found[share] = len(sizes) / 30, max(sizes)
    few, many = found[0.0], found[1.0]
    assert many[0] > 1.5 * few[0]
    assert many[1] <= layered_scenes.MAX_CROWD_SIZE < few[1]


def test_pixel_is_visible_where_it_lands_on_its_own_layer():
    # A layer over columns 1 and 2 moves right by 2; the background is still.
    owner0, owner1 = np.zeros((3, 5), int), np.zeros((3, 5), int)
    owner0[:2, 1:3], owner1[:2, 3:5] = 1, 1
    flow = np.zeros((3, 5, 2))
    flow[:2, 1:3, 0] = 2
    flow[2, 4] = 0, 0.6  # leaves the frame downwards
    flow[2, 0] = -0.4, 0  # does not leave it
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    assert _visible(flow, owner0, owner1).astype(int).tolist() == expected


def test_inverse_of_a_motion_returns_the_points():
    matrix = np.array([[1.02, -0.1], [0.05, 0.97]])
    waves = np.array([[0.4, -0.2, 0.05, 0.02, 1.0], [0.1, 0.3, -0.01, 0.06, 2.0]])
    motion = _Motion(
        matrix=matrix, shift=np.array([3.0, -7]), centre=np.array([10.0, 4]), waves=waves
    )
    points = _grid(48)
    there = points + motion.flow(49)[::4, ::4][: len(points), : len(points)]
    assert np.allclose(motion.invert(there), points, atol=2e-3)
    straight = motion._replace(waves=0 * waves)
    assert straight.flow(9)[4, 2].tolist() == pytest.approx(
        (matrix @ [2 - 10, 4 - 4] + [10, 4] + [3, -7] - [2, 4]).tolist(), abs=1e-5
    )
    assert np.abs(motion.flow(9) - straight.flow(9)).max() > 0.2


def test_second_differences_of_motion_are_as_large_as_in_real_pairs(photographs, masks):
    """Affine motion would have zero second differences."""
    first, second = [], []
    for seed in range(300, 400):
        rng = np.random.default_rng(seed)
        flow = layered_scenes._background_motion(640, rng).flow(640)[16::32, 16::32]
        if flow.any():
            first.append(np.median(np.linalg.norm(np.diff(flow, axis=1), axis=-1)))
            second.append(np.median(np.linalg.norm(np.diff(flow, 2, axis=1), axis=-1)))
    assert 0.02 < np.median(first) < 0.2
    assert 0.05 < np.median(np.array(second) / np.array(first)) < 1
    assert np.quantile(second, 0.9) > 0.05


def test_degraded_frames_resemble_the_originals_and_depend_on_the_seed(photographs, masks):
    scene = scene_of(photographs, masks, 3)
    for seed in range(12):
        one = degrade_frames(scene.frame0, scene.frame1, np.random.default_rng(seed))
        same = degrade_frames(scene.frame0, scene.frame1, np.random.default_rng(seed))
        for frame, again, clean in zip(one, same, scene[:2], strict=True):
            assert frame.dtype == np.uint8
            assert np.array_equal(frame, again)
            assert np.corrcoef(frame.ravel(), clean.ravel())[0, 1] > 0.4
