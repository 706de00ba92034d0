import cv2
import numpy as np

from patchmatch.frames.report.thumbnails import LEVELS, Shrinker, thumbnail


def test_a_thumbnail_is_a_small_jpeg_in_the_right_colors():
    picture = np.zeros((1000, 2000, 3), np.uint8)
    picture[..., 0] = 250
    shown = cv2.imdecode(np.frombuffer(thumbnail(picture), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (480, 960, 3)
    assert np.abs(shown[240, 480, ::-1].astype(int) - (250, 0, 0)).max() < 8
    assert thumbnail(np.full((5, 7), 9, np.uint16)).startswith(b"\xff\xd8")


def test_pictures_are_shrunk_until_they_fit(run):
    whole = [thumbnail(run.picture(seed, 540, 960)) for seed in range(4)]
    shots = [[i] for i in range(40)]
    total = sum(len(whole[i % 4]) for i in range(40))
    roomy = Shrinker(lambda i: whole[i % 4], shots, 2 * total)
    assert (roomy.level, roomy.every, roomy.note) == (0, 1, "")
    assert sum(map(len, roomy)) == total
    tight = Shrinker(lambda i: whole[i % 4], shots, total // 4)
    assert 0 < tight.level < len(LEVELS)
    assert total // 10 < sum(map(len, tight)) <= total // 4
    assert f"{LEVELS[tight.level][0]} pixels" in tight.note
    assert all(map(len, tight))
    tiny = Shrinker(lambda i: whole[i % 4], shots, total // 300)
    assert tiny.every > 1
    assert 0 < sum(map(len, tiny)) <= total // 300
    assert f"one frame of {tiny.every}" in tiny.note


def test_frames_busier_than_the_sampled_ones_still_fit(run):
    plain = thumbnail(np.zeros((540, 960), np.uint8))
    busy = thumbnail(run.picture(1, 540, 960))
    shots = [[i] for i in range(100)]
    shrinker = Shrinker(lambda i: plain if i % 5 == 0 else busy, shots, 30 * len(busy))
    assert sum(map(len, shrinker)) <= 30 * len(busy)
