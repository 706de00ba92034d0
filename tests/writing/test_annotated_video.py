"""The video of the images of a run."""

import cv2
import numpy as np
import pytest

from patchmatch.io import write_image
from patchmatch.writing.annotated_video import frame_rate, write_annotated_video


@pytest.mark.parametrize(
    ("times", "fps"),
    [
        ([0.04, 0.08, 0.12], 25),
        ([0.0, 0.1, 0.2, 5.0], 10),
        ([None, None], 25),
        ([None, 0.5, None, 1.0], 2),
        ([1.0, 1.0, 0.5], 25),
        ([3.0], 25),
        ([], 25),
        ([0.0, 60.0], 1),
        ([0.0, 0.0001], 120),
    ],
)
def test_frame_rate_follows_the_median_time_step(times, fps):
    assert frame_rate(times) == pytest.approx(fps)


def test_video_skips_unreadable_images_and_other_sizes_with_a_note(tmp_path):
    for name, size in (("a", (40, 60)), ("b", (40, 60)), ("c", (60, 40))):
        write_image(tmp_path / f"{name}.png", np.zeros(size, np.uint8))
    images = [tmp_path / f"{name}.png" for name in ("a", "c", "missing", "b")]
    note = write_annotated_video(tmp_path / "v.mp4", images, fps=25)
    assert (
        note == f"skipped in v.mp4: {images[1]}: differs in size from the first image (and 1 more)"
    )
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    assert write_annotated_video(tmp_path / "v.mp4", images[:1], fps=25) is None


def test_video_without_images_is_not_written(tmp_path):
    note = write_annotated_video(tmp_path / "v.mp4", [tmp_path / "missing.png"], fps=25)
    assert note is not None
    assert "missing.png" in note
    assert write_annotated_video(tmp_path / "v.mp4", [], fps=25) is None
    assert not list(tmp_path.iterdir())
