"""Data modules that generate their pairs from colour images."""

import pytest
import torch
from textures import smooth

from patchmatch.core.errors import InputError
from patchmatch.io import write_image
from patchmatch.nnf.differentiable.warped_pairs import WarpedPhotographs
from patchmatch.pairs.homography.data import WarpedImages

#: Key and shape of the ground truth of each data module.
GROUND_TRUTH = {WarpedImages: ("homography", (3, 3)), WarpedPhotographs: ("flow", (2, 32, 32))}

both = pytest.mark.parametrize("kind", GROUND_TRUTH, ids=lambda kind: kind.__name__)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        write_image(tmp_path / f"{i}.png", smooth(80, 90 + i, i))
    return tmp_path


@both
def test_a_folder_is_split_by_image(folder, kind):
    data = kind(str(folder), train_pairs=4, eval_pairs=2, side=32, batch_size=2)
    data.setup("fit")
    data.setup("test")
    widths = {split: {p.shape[1] for p in data.sets[split].sources} for split in data.sets}
    assert sorted(width for found in widths.values() for width in found) == [*range(90, 96)]
    batch = next(iter(data.train_dataloader()))
    assert batch["image0"].shape == batch["image1"].shape == (2, 3, 32, 32)
    name, shape = GROUND_TRUTH[kind]
    assert batch[name].shape == (2, *shape)
    assert batch["valid"].shape == (2, 32, 32)
    assert batch["valid"].dtype == torch.bool
    assert len(data.val_dataloader()) == 1


@both
def test_wrong_sources_raise(tmp_path, folder, kind):
    with pytest.raises(InputError, match="no such folder"):
        kind(str(tmp_path / "none")).setup("fit")
    (folder / "0.png").unlink()
    (folder / "1.png").unlink()
    with pytest.raises(InputError, match=r"expected at least 5 images, .*got 4"):
        kind(str(folder)).setup("fit")


@both
def test_predict_raises(kind):
    message = f"{kind.__name__}: generates training examples, cannot be used in predict"
    with pytest.raises(InputError, match=message):
        kind().setup("predict")
