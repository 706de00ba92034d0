"""The memory of the scene, light and ghosts, on images whose answer is known."""

import cv2
import numpy as np

from patchmatch.objects.carried_memory import CarriedMemory
from patchmatch.objects.ghosts import edge_strength, ghost_share
from patchmatch.objects.light import frame_gain, is_shadow
from patchmatch.objects.memory import SAMPLES, SceneMemory


def scenery(seed=0, height=60, width=90):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (3, height // 6, width // 6)).astype(np.float32)
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    return np.stack(planes).clip(0, 255).astype(np.uint8)


def test_distance_is_the_second_smallest_over_the_samples():
    planes = scenery()
    memory = SceneMemory(planes)
    frame = scenery(1)
    samples = memory.samples.astype(int)  # (S, C, H, W)
    expected = np.sort(np.abs(samples - frame).max(axis=1), axis=0)[1]
    np.testing.assert_array_equal(memory.distance(frame), expected)
    assert len(samples) == SAMPLES


def test_two_colors_of_a_swaying_pixel_are_both_remembered():
    first, second = scenery(), scenery(3)
    memory = SceneMemory(first)
    everywhere = np.full(first.shape[1:], 255, np.uint8)
    for index in range(400):
        frame = (first, second)[index % 2]
        memory.learn(frame, memory.distance(frame), everywhere, rate=0.02)
    for frame in (first, second):
        assert (memory.distance(frame) == 0).mean() > 0.95


def test_memory_learns_only_where_nothing_moves():
    planes = scenery()
    memory = SceneMemory(planes)
    still = np.zeros(planes.shape[1:], np.uint8)
    still[:, :45] = 255
    bright = np.full_like(planes, 250)
    for _ in range(300):
        memory.learn(bright, memory.distance(bright), still, rate=0.05)
    distance = memory.distance(bright)
    assert not distance[:, :45].any()
    assert distance[:, 46:].min() > 20


def test_a_carried_memory_is_where_the_camera_looks():
    wide = scenery(0, 60, 140)
    memory = CarriedMemory(np.ascontiguousarray(wide[:, :, :90]))
    everywhere = np.full((60, 90), 255, np.uint8)
    camera = np.array([[1, 0, -5], [0, 1, 0], [0, 0, 1.0]])  # content moves left
    for step in range(1, 7):
        frame = np.ascontiguousarray(wide[:, :, 5 * step : 5 * step + 90])
        memory.carry(camera)
        distance = memory.distance(frame)
        assert np.percentile(distance, 99) <= 4
        memory.learn(frame, distance, everywhere, rate=0.1)
    frame[:, 20:30, 40:50] = 255
    found = memory.distance(frame) > memory.threshold(1.0)
    assert found[21:29, 41:49].mean() > 0.9
    assert found.sum() <= 100


def test_gain_of_a_darker_frame_is_undone():
    planes = scenery()
    darker = (planes * 0.7).astype(np.uint8)
    np.testing.assert_allclose(frame_gain(darker, planes.astype(np.float32)), 0.7, atol=0.02)


def test_shadow_is_found_and_a_thing_of_another_color_is_not():
    planes = scenery(2, 80, 120)
    frame = planes.copy()
    frame[:, 10:40, 10:50] = (frame[:, 10:40, 10:50] * 0.65).astype(np.uint8)
    frame[:, 40:70, 70:100] = np.array([200, 30, 40], np.uint8)[:, None, None]
    shadow = is_shadow(frame, planes.astype(np.float32), noise=1.0) > 0
    assert shadow[14:36, 14:46].mean() > 0.9
    assert shadow[44:66, 74:96].mean() < 0.05
    assert shadow[:, 105:].mean() < 0.02


def test_contour_in_the_frame_is_a_thing_and_in_the_memory_a_ghost():
    background = np.full((3, 80, 120), 120, np.uint8)
    memory = background.copy()
    memory[:, 20:60, 10:40] = 220  # was there
    frame = background.copy()
    frame[:, 20:60, 70:100] = 220  # is there
    mask = np.zeros((80, 120), np.uint8)
    mask[20:60, 10:40] = mask[20:60, 70:100] = 255
    share = ghost_share(mask, edge_strength(frame), edge_strength(memory))
    assert share[22:58, [12, 38]].min() > 0.9
    assert share[22:58, [72, 98]].max() < 0.1
