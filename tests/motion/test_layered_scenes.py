import cv2
import numpy as np
import pytest

from patchmatch.motion import layered_scenes as layers
from patchmatch.motion.layered_scenes import _grid, _Motion, _visible, disturb, make_scene

SIDE = 96
data = pytest.importorskip("skimage.data", reason="photographs are the textures")


def made_outlines(count=40):
    """Digits written by OpenCV: reading MNIST takes seconds."""
    drawn = np.zeros((count, 28, 28), np.uint8)
    for i, picture in enumerate(drawn):
        cv2.putText(picture, str(i % 10), (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    return drawn


@pytest.fixture(scope="module")
def outlines():
    return made_outlines()


@pytest.fixture(scope="module")
def photographs():
    colour = [cv2.cvtColor(p(), cv2.COLOR_RGB2GRAY) for p in (data.astronaut, data.coffee)]
    return [p.astype(np.float32) / 255 for p in (data.camera(), *colour)]


def scene_of(photographs, outlines, seed, upright=True):
    return make_scene(photographs, outlines, SIDE, np.random.default_rng(seed), upright)


def warp_back(scene):
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return cv2.remap(
        scene.frame1, x + scene.flow[..., 0], y + scene.flow[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


@pytest.mark.parametrize("upright", [True, False])
def test_frame1_warped_back_by_the_flow_is_frame0_where_it_is_visible(
    photographs, outlines, upright
):
    for seed in range(12):
        scene = scene_of(photographs, outlines, seed, upright)
        error = np.abs(warp_back(scene) - scene.frame0)[scene.visible]
        assert np.median(error) < 0.012
        # edges of layers are blended, and belong to neither
        assert np.quantile(error, 0.9) < 0.06


def test_the_flow_is_better_than_the_same_flow_moved_by_a_fifth_of_a_pixel(
    photographs, outlines, monkeypatch
):
    monkeypatch.setattr(layers, "PLAIN_SHARE", 0.0)  # plain surfaces look alike wherever they are
    for seed in range(12):
        scene = scene_of(photographs, outlines, seed)
        if scene.visible.mean() < 0.3:
            continue
        exact = np.abs(warp_back(scene) - scene.frame0)[scene.visible].mean()
        for off in ((0.2, 0), (-0.2, 0), (0, 0.2), (0, -0.2)):
            moved = scene._replace(flow=scene.flow + np.array(off, np.float32))
            assert np.abs(warp_back(moved) - scene.frame0)[scene.visible].mean() > exact


def shift_along_x(frame0, frame1):
    """The shift that explains most of the change of two frames, by least squares."""
    slope = np.gradient(frame0, axis=1) + np.gradient(frame1, axis=1)
    return -2 * (slope * (frame1 - frame0)).sum() / (slope**2).sum()


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_textures_move_by_the_flow_to_a_hundredth_of_a_pixel(
    photographs, outlines, monkeypatch, scale
):
    """OpenCV's cubic sampler would move smooth ones up to a tenth farther."""
    monkeypatch.setattr(layers, "PLAIN_SHARE", 0.0)
    monkeypatch.setattr(layers, "CROWD_SHARE", 0.0)
    monkeypatch.setattr(layers, "MOST_LAYERS", 0)
    monkeypatch.setattr(layers, "SCALES", (scale, scale))
    texture = cv2.GaussianBlur(photographs[0], (0, 0), 5)
    for shift in (0.15, 0.3, 0.7):
        motion = layers._still(SIDE)._replace(shift=np.array([shift, 0.0]))
        monkeypatch.setattr(layers, "_ground_motion", lambda *_, motion=motion: motion)
        scene = make_scene([texture], outlines, SIDE, np.random.default_rng(0), True)
        assert scene.flow[..., 0] == pytest.approx(shift, abs=1e-6)
        assert shift_along_x(*scene[:2]) == pytest.approx(shift, abs=0.01)


@pytest.mark.parametrize("length", [3.0, 4.0, 8.0])
def test_waves_of_few_pixels_move_by_the_flow_too(outlines, monkeypatch, length):
    """Between pixels half as far apart, a line would move the shortest of them by 0.02 pixels."""
    monkeypatch.setattr(layers, "PLAIN_SHARE", 0.0)
    monkeypatch.setattr(layers, "MOST_LAYERS", 0)
    monkeypatch.setattr(layers, "CROWD_SHARE", 0.0)
    monkeypatch.setattr(layers, "SCALES", (0.5, 0.5))
    number = round(2 * 240 / length) * np.pi / 240  # of which the mirrored border is no end
    wave = np.cos(number * (np.arange(240) + 0.5)).astype(np.float32)
    texture = np.tile(0.5 + 0.4 * wave, (240, 1))
    for shift in (0.3, 0.7, 1.1):
        motion = layers._still(SIDE)._replace(shift=np.array([shift, 0.0]))
        monkeypatch.setattr(layers, "_ground_motion", lambda *_, motion=motion: motion)
        scene = make_scene([texture], outlines, SIDE, np.random.default_rng(1), True)
        turn = [np.exp(-0.5j * number * np.arange(SIDE)) @ f[SIDE // 2] for f in scene[:2]]
        moved = -np.angle(turn[1] / turn[0]) / (0.5 * number)
        assert moved == pytest.approx(shift, abs=0.01)


def test_frames_are_in_the_unit_range_and_of_the_stated_types(photographs, outlines):
    scene = scene_of(photographs, outlines, 3)
    for frame in (scene.frame0, scene.frame1):
        assert frame.shape == (SIDE, SIDE)
        assert frame.dtype == np.float32
        assert 0 <= frame.min() < frame.max() <= 1
    assert scene.flow.shape == (SIDE, SIDE, 2)
    assert scene.flow.dtype == np.float32
    assert scene.visible.dtype == bool


def test_the_same_seed_makes_the_same_scene_and_another_another(photographs, outlines):
    one, same, other = (scene_of(photographs, outlines, seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.frame0, other.frame0)


def test_some_scenes_have_a_ground_that_stands_still_and_motions_of_all_sizes(
    photographs, outlines
):
    scenes = [scene_of(photographs, outlines, seed) for seed in range(60)]
    length = [np.median(np.linalg.norm(s.flow, axis=-1)) for s in scenes]
    assert 0.02 < np.mean(np.array(length) == 0) < 0.5
    assert np.mean(np.array(length) < 2) > 0.25
    assert np.mean(np.array(length) > 4) > 0.15
    assert 0.5 < np.mean([s.visible.mean() for s in scenes]) < 0.99


def test_plain_grounds_stand_still_and_have_hardly_any_texture(photographs, outlines, monkeypatch):
    monkeypatch.setattr(layers, "MOST_LAYERS", 0)
    monkeypatch.setattr(layers, "CROWD_SHARE", 0.0)
    for share in (0.0, 1.0):
        monkeypatch.setattr(layers, "PLAIN_SHARE", share)
        scenes = [scene_of(photographs, outlines, seed) for seed in range(20)]
        still = np.mean([not scene.flow.any() for scene in scenes])
        # an evenly fading brightness has no second differences
        bends = [np.abs(np.diff(scene.frame0, 2, axis=1)).mean() for scene in scenes]
        assert (still == 1 and max(bends) < 0.01) if share else (still < 0.7 and max(bends) > 0.03)


def test_a_layer_that_is_seen_in_one_frame_only_is_visible_in_none(
    photographs, outlines, monkeypatch
):
    monkeypatch.setattr(layers, "BRIEF_SHARE", 0.0)
    lasting = [scene_of(photographs, outlines, seed).visible.mean() for seed in range(20)]
    monkeypatch.setattr(layers, "BRIEF_SHARE", 1.0)
    scenes = [scene_of(photographs, outlines, seed) for seed in range(20)]
    assert np.mean([s.visible.mean() for s in scenes]) < np.mean(lasting) - 0.1
    for scene in scenes[:6]:
        if scene.visible.mean() > 0.2:
            error = np.abs(warp_back(scene) - scene.frame0)[scene.visible]
            assert np.median(error) < 0.012


def test_soft_layers_bend_within_a_block_and_their_flow_is_exact(
    photographs, outlines, monkeypatch
):
    monkeypatch.setattr(layers, "PLAIN_SHARE", 0.0)
    bends = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(layers, "SOFT_SHARE", share)
        rngs = [np.random.default_rng(seed) for seed in range(40)]
        flows = [layers._layer_motion(layers._still(SIDE), SIDE, rng).flow(SIDE) for rng in rngs]
        bends[share] = np.median([np.abs(np.diff(f[::16, ::16], 2, axis=1)).mean() for f in flows])
    assert bends[1.0] > 5 * bends[0.0]
    for rng in map(np.random.default_rng, range(40)):  # share is 1 by now
        motion = layers._layer_motion(layers._still(SIDE), SIDE, rng)
        points = _grid(SIDE)
        bent = points + (points - motion.centre) @ (motion.matrix - np.eye(2)).T
        bent = bent + motion.shift + motion.bent(points)
        apart = np.linalg.norm(motion.back(bent) - points, axis=-1)
        assert np.quantile(apart, 0.99) < 0.1


def test_crowds_are_of_many_small_layers(photographs, outlines, monkeypatch):
    sizes, outline = [], layers._outline

    def spy(*arguments):
        drawn, place = outline(*arguments)
        sizes.append(20 * layers.FINE / np.sqrt(abs(np.linalg.det(place[:, :2]))))
        return drawn, place

    monkeypatch.setattr(layers, "_outline", spy)
    found = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(layers, "CROWD_SHARE", share)
        sizes.clear()
        for seed in range(30):
            make_scene(photographs, outlines, 256, np.random.default_rng(seed), upright=True)
        found[share] = len(sizes) / 30, max(sizes)
    few, many = found[0.0], found[1.0]
    assert many[0] > 1.5 * few[0]
    assert many[1] <= layers.LARGEST_OF_CROWD < few[1]


def test_a_pixel_is_visible_where_it_lands_on_its_own_layer_in_the_frame():
    # a layer over columns 1 and 2 moves to the right by 2; the ground stands still
    owner0, owner1 = np.zeros((3, 5), int), np.zeros((3, 5), int)
    owner0[:2, 1:3], owner1[:2, 3:5] = 1, 1
    flow = np.zeros((3, 5, 2))
    flow[:2, 1:3, 0] = 2
    flow[2, 4] = 0, 0.6  # leaves the frame downwards
    flow[2, 0] = -0.4, 0  # does not leave it
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    assert _visible(flow, owner0, owner1).astype(int).tolist() == expected


def test_a_motion_and_its_inverse_undo_each_other():
    matrix = np.array([[1.02, -0.1], [0.05, 0.97]])
    waves = np.array([[0.4, -0.2, 0.05, 0.02, 1.0], [0.1, 0.3, -0.01, 0.06, 2.0]])
    motion = _Motion(matrix, np.array([3.0, -7]), np.array([10.0, 4]), waves)
    points = _grid(48)
    there = points + motion.flow(49)[::4, ::4][: len(points), : len(points)]
    assert np.allclose(motion.back(there), points, atol=2e-3)
    straight = motion._replace(waves=0 * waves)
    assert straight.flow(9)[4, 2].tolist() == pytest.approx(
        (matrix @ [2 - 10, 4 - 4] + [10, 4] + [3, -7] - [2, 4]).tolist(), abs=1e-5
    )
    assert np.abs(motion.flow(9) - straight.flow(9)).max() > 0.2


def test_neighbouring_blocks_move_as_unevenly_as_real_ones(photographs, outlines):
    """Of real pairs the second differences of blocks are as large as the first; straight motion
    has none."""
    first, second = [], []
    for seed in range(300, 400):
        rng = np.random.default_rng(seed)
        flow = layers._ground_motion(640, rng).flow(640)[16::32, 16::32]
        if flow.any():
            first.append(np.median(np.linalg.norm(np.diff(flow, axis=1), axis=-1)))
            second.append(np.median(np.linalg.norm(np.diff(flow, 2, axis=1), axis=-1)))
    assert 0.02 < np.median(first) < 0.2
    assert 0.05 < np.median(np.array(second) / np.array(first)) < 1
    assert np.quantile(second, 0.9) > 0.05


def test_disturbed_frames_stay_recognisable_and_repeat_with_the_seed(photographs, outlines):
    scene = scene_of(photographs, outlines, 3)
    for seed in range(12):
        one = disturb(scene.frame0, scene.frame1, np.random.default_rng(seed))
        same = disturb(scene.frame0, scene.frame1, np.random.default_rng(seed))
        for frame, again, clean in zip(one, same, scene[:2], strict=True):
            assert frame.dtype == np.uint8
            assert np.array_equal(frame, again)
            assert np.corrcoef(frame.ravel(), clean.ravel())[0, 1] > 0.4
