import pytest
import torch
from torch.testing import assert_close

from patchmatch.core.errors import InputError
from patchmatch.core.weights import read_state_dict


@pytest.mark.parametrize("wrap", [dict, lambda weights: {"state_dict": weights, "epoch": 3}])
def test_state_dict_is_read_bare_and_nested(tmp_path, wrap):
    weights = {"a.weight": torch.rand(2, 3)}
    torch.save(wrap(weights), tmp_path / "net.pth")
    assert_close(read_state_dict(tmp_path / "net.pth", ""), weights)


def test_wrong_file_raises_with_the_advice(tmp_path):
    with pytest.raises(InputError, match=r"net.pth: no such file; check the path, or give another"):
        read_state_dict(tmp_path / "net.pth", "give another")
    (tmp_path / "net.pth").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"net.pth: cannot be read as weights; give another"):
        read_state_dict(tmp_path / "net.pth", "give another")
    torch.save([1.0], tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net.pth: contains no state_dict; give another"):
        read_state_dict(tmp_path / "net.pth", "give another")
