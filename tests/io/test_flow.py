import re
import struct

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import read_flo, write_flo, write_flow_png

FLOW = np.array([[[1.5, -2], [0, 3], [4, 5]], [[-1, 0.25], [7, 8], [9, -10]]], np.float32)


def test_bytes_are_those_of_the_middlebury_format(tmp_path):
    """Tag, width, height, then dx and dy of the pixels row by row, all little-endian."""
    write_flo(tmp_path / "a.flo", FLOW)
    expected = struct.pack("<fii", 202021.25, 3, 2)
    for y in range(2):
        for x in range(3):
            expected += struct.pack("<ff", *FLOW[y, x])
    assert (tmp_path / "a.flo").read_bytes() == expected


def test_round_trip(tmp_path):
    write_flo(tmp_path / "deep/er.flo", FLOW)
    flow, valid = read_flo(tmp_path / "deep/er.flo")
    assert flow.dtype == np.float32
    assert (flow == FLOW).all()
    assert valid.all()
    flow[0, 0] = 9  # the array is writable


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10, -2e9])
def test_values_that_are_not_finite_or_too_large_are_not_valid(tmp_path, value):
    invalid = FLOW.copy()
    invalid[1, 2, 0] = value
    write_flo(tmp_path / "a.flo", invalid)
    assert struct.unpack("<ff", (tmp_path / "a.flo").read_bytes()[-8:]) == (1e10, 1e10)
    flow, valid = read_flo(tmp_path / "a.flo")
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert flow[1, 2].tolist() == [0, 0]
    (tmp_path / "b.flo").write_bytes(struct.pack("<4sii", b"PIEH", 3, 2) + invalid.tobytes())
    assert (read_flo(tmp_path / "b.flo")[1] == valid).all()  # also in files of other programs


def test_mask_sets_what_is_valid(tmp_path):
    mask = np.array([[True, False, True], [True, True, True]])
    write_flo(tmp_path / "a.flo", FLOW, mask)
    flow, valid = read_flo(tmp_path / "a.flo")
    assert (valid == mask).all()
    assert (flow[mask] == FLOW[mask]).all()


HEADER = struct.pack("<4sii", b"PIEH", 3, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"PI", "not a .flo file; it must begin"),
        (b"\x89PNG and more", "not a .flo file; it must begin"),
        (b"HEIP" + bytes(60), "not a .flo file in little-endian order"),
        (HEADER[:9], "truncated in its header"),
        (HEADER + bytes(47), "truncated: expected 60 bytes for 3x2 pixels, got 59"),
        (HEADER + bytes(49), "too long: expected 60 bytes for 3x2 pixels, got 61"),
        (struct.pack("<4sii", b"PIEH", -3, 2) + bytes(48), "damaged: its header states -3x2"),
        (struct.pack("<4sii", b"PIEH", 3, 0), "damaged: its header states 3x0"),
        (struct.pack("<4sii", b"PIEH", 2**30, 2**30), "damaged: its header states 1073741824x"),
    ],
)
def test_damaged_file_raises_with_its_path(tmp_path, data, message):
    path = tmp_path / "a.flo"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .*{re.escape(message)}"):
        read_flo(path)


def test_missing_file_raises(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_flo(tmp_path / "a.flo")


@pytest.mark.parametrize(
    ("flow", "valid", "message"),
    [
        (FLOW[0], None, r"must be \(H, W, 2\) with at least one pixel, got \(3, 2\)"),
        (np.zeros((2, 4, 3)), None, r"got \(2, 4, 3\)"),
        (np.zeros((0, 4, 2)), None, r"got \(0, 4, 2\)"),
        (FLOW, np.ones((3, 2), bool), r"valid must be \(2, 3\) like the flow, got \(3, 2\)"),
    ],
)
def test_arrays_of_wrong_shape_raise(tmp_path, flow, valid, message):
    with pytest.raises(ValueError, match=message):
        write_flo(tmp_path / "a.flo", flow, valid)
    assert not list(tmp_path.iterdir())


def test_flow_png_has_the_layout_of_kitti(tmp_path):
    flow = np.array([[[1.5, -2.0], [0, 0], [np.nan, 1]], [[600, 0], [-512, 511.98], [3, 4]]])
    valid = np.ones((2, 3), bool)
    valid[1, 2] = False
    write_flow_png(tmp_path / "flow.png", flow, valid)
    stored = cv2.imread(str(tmp_path / "flow.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]  # to RGB
    assert stored.dtype == np.uint16
    known = stored[..., 2] == 1
    assert known.tolist() == [[True, True, False], [False, True, False]]
    assert not stored[~known].any()
    decoded = (stored[..., :2].astype(float) - 2**15) / 64
    assert np.abs(decoded - flow)[known].max() <= 1 / 128
    assert decoded[0, 0].tolist() == [1.5, -2.0]


def test_flow_png_rejects_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"flow must be \(H, W, 2\)"):
        write_flow_png(tmp_path / "flow.png", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"valid must be \(2, 3\) like the flow"):
        write_flow_png(tmp_path / "flow.png", np.zeros((2, 3, 2)), np.ones((3, 2), bool))
