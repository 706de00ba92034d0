"""``patchmatch.track_objects``."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch
from sliding_square import sliding

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.io import write_image


@pytest.fixture
def folder(tmp_path):
    images, _ = sliding(frames=20)
    for number, image in enumerate(images):
        write_image(tmp_path / "frames" / f"{number:03d}.png", image)
    return tmp_path / "frames"


def test_objects_of_every_frame_but_the_first(folder):
    frames = list(patchmatch.track_objects(folder, camera=False))
    assert [frame.frame for frame in frames] == [f"{i:03d}" for i in range(1, 20)]
    last = frames[-1]
    (box,) = last.boxes[last.moved]
    np.testing.assert_allclose(box, (67, 40, 87, 60), atol=3)
    np.testing.assert_allclose(last.displacement[last.moved][0], (3, 0), atol=0.7)
    assert last.mask[50, 77]
    assert not last.mask[10, 10]
    assert last.camera is None


def test_missing_folder_and_wrong_option_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="no such"):
        list(patchmatch.track_objects(tmp_path / "missing"))
    with pytest.raises(ValueError, match="camera must be auto, true or false"):
        patchmatch.track_objects(folder, camera="maybe")


def test_memory_stays_flat_over_a_long_video(monkeypatch):
    """1,920 frames, with clips as a camera gives them."""
    from patchmatch.objects.matcher import ObjectTracker

    images, _ = sliding(frames=60, height=64, width=64)
    matcher = ObjectTracker(camera=False)

    def clip(index):
        names = [f"{8 * index + i:06d}" for i in range(9)]
        return {
            "index": index, "source": "camera", "several": False, "notes": [],
            "frames": [], "images": [images[(8 * index + i) % 60] for i in range(9)],
            "names": names, "times": [(8 * index + i) / 25 for i in range(9)],
            "pairs": [(i, i + 1) for i in range(8)],
        }  # fmt: skip

    sizes = []
    tracemalloc.start()
    with torch.inference_mode():
        for index in range(240):
            matcher.predict_step(clip(index), index)
            if index in (60, 239):
                gc.collect()  # what is only waiting for it is not kept
                sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] + 100_000
