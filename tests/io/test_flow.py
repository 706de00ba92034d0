import re
import struct

import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import read_flo, write_flo

FLOW = np.array([[[1.5, -2], [0, 3], [4, 5]], [[-1, 0.25], [7, 8], [9, -10]]], np.float32)


def test_the_bytes_are_those_of_the_benchmark(tmp_path):
    """Tag, width, height, then dx and dy of the pixels row by row, all little-endian."""
    write_flo(tmp_path / "a.flo", FLOW)
    expected = struct.pack("<fii", 202021.25, 3, 2)
    for y in range(2):
        for x in range(3):
            expected += struct.pack("<ff", *FLOW[y, x])
    assert (tmp_path / "a.flo").read_bytes() == expected


def test_what_was_written_is_read_again(tmp_path):
    write_flo(tmp_path / "deep/er.flo", FLOW)
    flow, valid = read_flo(tmp_path / "deep/er.flo")
    assert flow.dtype == np.float32
    assert (flow == FLOW).all()
    assert valid.all()
    flow[0, 0] = 9  # the array is the caller's own


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf, 1e10, -2e9])
def test_what_is_no_displacement_is_unknown(tmp_path, unknown):
    wild = FLOW.copy()
    wild[1, 2, 0] = unknown
    write_flo(tmp_path / "a.flo", wild)
    assert struct.unpack("<ff", (tmp_path / "a.flo").read_bytes()[-8:]) == (1e10, 1e10)
    flow, valid = read_flo(tmp_path / "a.flo")
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert flow[1, 2].tolist() == [0, 0]
    (tmp_path / "b.flo").write_bytes(struct.pack("<4sii", b"PIEH", 3, 2) + wild.tobytes())
    assert (read_flo(tmp_path / "b.flo")[1] == valid).all()  # also where others wrote it


def test_a_mask_says_what_is_unknown(tmp_path):
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
        (b"PI", "this is no .flo file; it must begin"),
        (b"\x89PNG and more", "this is no .flo file; it must begin"),
        (b"HEIP" + bytes(60), "this is no .flo file; it is stored in big-endian order"),
        (HEADER[:9], "cut off in its header"),
        (HEADER + bytes(47), "cut off: 3x2 pixels take 60 bytes, it has 59"),
        (HEADER + bytes(49), "too long: 3x2 pixels take 60 bytes, it has 61"),
        (struct.pack("<4sii", b"PIEH", -3, 2) + bytes(48), "damaged: its header states -3x2"),
        (struct.pack("<4sii", b"PIEH", 3, 0), "damaged: its header states 3x0"),
        (struct.pack("<4sii", b"PIEH", 2**30, 2**30), "damaged: its header states 1073741824x"),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(tmp_path, data, message):
    path = tmp_path / "a.flo"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .*{re.escape(message)}"):
        read_flo(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_flo(tmp_path / "a.flo")


@pytest.mark.parametrize(
    ("flow", "valid", "message"),
    [
        (FLOW[0], None, r"must be \(H, W, 2\) with at least one pixel, got \(3, 2\)"),
        (np.zeros((2, 4, 3)), None, r"got \(2, 4, 3\)"),
        (np.zeros((0, 4, 2)), None, r"got \(0, 4, 2\)"),
        (FLOW, np.ones((3, 2), bool), r"valid must be \(2, 3\) as the flow is, got \(3, 2\)"),
    ],
)
def test_arrays_of_other_shapes_are_refused(tmp_path, flow, valid, message):
    with pytest.raises(ValueError, match=message):
        write_flo(tmp_path / "a.flo", flow, valid)
    assert not list(tmp_path.iterdir())
