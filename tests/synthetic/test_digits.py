import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.synthetic.digits import load_digits, split_indices


def test_every_digit_is_in_exactly_one_split():
    splits = [split_indices(5000, name) for name in ("train", "val", "test")]
    assert [len(s) for s in splits] == [3000, 1000, 1000]
    assert sorted(np.concatenate(splits).tolist()) == list(range(5000))


def test_the_embedded_digits_are_white_on_black_mnist():
    digits = load_digits("embedded", "nowhere")
    assert digits.shape == (5000, 28, 28)
    assert digits.dtype == np.uint8
    assert digits.max() == 255
    assert digits[:, 0].max() < digits[:, 14].max()
    assert np.median(digits) == 0


def test_a_failed_download_of_mnist_raises_with_the_folder_to_fill(tmp_path, monkeypatch):
    import torchvision.datasets

    def fail(*args, **kwargs):
        raise RuntimeError("Error downloading t10k-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(InputError, match=r"contains no MNIST test set.*MNIST.*raw.*embedded"):
        load_digits("mnist", tmp_path)


def test_mnist_is_found_in_the_data_folder(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    for prefix in ("t10k", "train"):
        header = np.array([0x803, 7, 28, 28], ">u4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + digits.tobytes())
        labels = np.array([0x801, 7], ">u4").tobytes() + bytes(7)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
    assert np.array_equal(load_digits("mnist", tmp_path), digits)
