import cv2
import numpy as np

from patchmatch.writing.report.thumbnails import LEVELS, ResizedThumbnails, thumbnail


def test_thumbnail_is_a_small_jpeg_with_the_colors_of_the_frame():
    image = np.zeros((1000, 2000, 3), np.uint8)
    image[..., 0] = 250
    decoded = cv2.imdecode(np.frombuffer(thumbnail(image), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (480, 960, 3)
    assert np.abs(decoded[240, 480, ::-1].astype(int) - (250, 0, 0)).max() < 8
    assert thumbnail(np.full((5, 7), 9, np.uint16)).startswith(b"\xff\xd8")


def test_thumbnails_are_resized_to_the_total_size(run):
    jpegs = [thumbnail(run.image(seed, 540, 960)) for seed in range(4)]
    groups = [[i] for i in range(40)]
    total = sum(len(jpegs[i % 4]) for i in range(40))
    large = ResizedThumbnails(lambda i: jpegs[i % 4], groups, 2 * total)
    assert (large.level, large.every, large.note) == (0, 1, "")
    assert sum(map(len, large)) == total
    small = ResizedThumbnails(lambda i: jpegs[i % 4], groups, total // 4)
    assert 0 < small.level < len(LEVELS)
    assert total // 10 < sum(map(len, small)) <= total // 4
    assert f"{LEVELS[small.level][0]} pixels" in small.note
    assert all(map(len, small))
    tiny = ResizedThumbnails(lambda i: jpegs[i % 4], groups, total // 300)
    assert tiny.every > 1
    assert 0 < sum(map(len, tiny)) <= total // 300
    assert f"one of {tiny.every} frames" in tiny.note


def test_frames_with_more_detail_than_the_samples_fit(run):
    uniform = thumbnail(np.zeros((540, 960), np.uint8))
    detailed = thumbnail(run.image(1, 540, 960))
    groups = [[i] for i in range(100)]
    resized = ResizedThumbnails(
        lambda i: uniform if i % 5 == 0 else detailed, groups, 30 * len(detailed)
    )
    assert sum(map(len, resized)) <= 30 * len(detailed)
