import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.synthetic.photographs import load_gray_images


def test_gray_images_are_read_in_natural_order_and_downscaled(tmp_path):
    for name, size in (("b_10.png", (40, 60)), ("b_2.png", (900, 300))):
        cv2.imwrite(str(tmp_path / name), np.full((*size, 3), 128, np.uint8))
    images = load_gray_images(tmp_path, max_side=450)
    assert [p.shape for p in images] == [(450, 150), (40, 60)]
    assert images[0].dtype == np.float32
    assert images[0].max() <= 1


def test_a_missing_or_empty_folder_raises(tmp_path):
    with pytest.raises(InputError, match=r"no such folder; data\.source is embedded, mnist"):
        load_gray_images(tmp_path / "missing")
    with pytest.raises(InputError, match="contains no images"):
        load_gray_images(tmp_path)
