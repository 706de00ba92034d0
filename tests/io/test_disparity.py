"""Disparity files."""

import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io.disparity import read_disparity, write_disparity_png, write_pfm

DISPARITY = np.array([[1.5, np.nan, 3.25], [0.5, 250.0, 7.0]], np.float32)


def test_pfm_and_png_come_back_with_unknown_pixels(tmp_path):
    write_pfm(tmp_path / "d.pfm", np.where(np.isnan(DISPARITY), np.inf, DISPARITY))
    write_disparity_png(tmp_path / "d.png", DISPARITY)
    np.savez(tmp_path / "d.npz", disparity=DISPARITY)
    for name in ("d.pfm", "d.png", "d.npz"):
        np.testing.assert_array_equal(read_disparity(tmp_path / name), DISPARITY)


def test_pfm_rows_run_from_the_bottom_in_either_byte_order(tmp_path):
    path = tmp_path / "d.pfm"
    path.write_bytes(b"Pf\n1 2\n1.0\n" + np.array([2, 1], ">f4").tobytes())
    assert read_disparity(path).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("name", "data"),
    [("d.pfm", b"Pf\n9 9\n-1\nabc"), ("d.png", b"no"), ("d.npz", b"no"), ("d.txt", b"1")],
)
def test_other_files_are_rejected(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
        read_disparity(tmp_path / name)
