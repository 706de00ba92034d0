import cv2
import numpy as np
import pytest
import torch

from patchmatch.core.errors import InputError
from patchmatch.motion.data import MovingDigits, MovingScenes
from patchmatch.motion.layered_scenes import make_scene


def drawn_digits(count=40):
    """Draw digits with OpenCV: reading MNIST takes seconds."""
    images = np.zeros((count, 28, 28), np.uint8)
    for i, image in enumerate(images):
        cv2.putText(image, str(i % 10), (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    return images


@pytest.fixture(scope="module", autouse=True)
def _quick_digits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("patchmatch.synthetic.dataset.load_digits", lambda *_: drawn_digits(100))
        yield


@pytest.fixture(scope="module")
def module(_quick_digits):
    data = MovingDigits(train_scenes=5, eval_scenes=3, canvases=5, side=96, batch_size=2, seed=4)
    data.setup("fit")
    data.setup("test")
    return data


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_batch_has_frame_pairs_and_the_motion_of_every_block(module):
    batch = next(iter(module.train_dataloader()))
    assert batch["frames"].shape == (2, 1, 2, 96, 96)
    assert batch["displacement"].shape == (2, 3, 3, 2)
    assert batch["visible"].shape == (2, 3, 3)
    assert all(value.dtype == torch.float32 for value in batch.values())
    assert batch["frames"].min() >= 0
    assert batch["frames"].max() <= 1
    assert 0 <= batch["visible"].min() <= batch["visible"].max() <= 1


def test_motion_of_a_block_is_the_median_flow(module):
    scenes = module.sets["train"]
    rng = np.random.default_rng((scenes.seed, 2, 3))
    scene = make_scene(scenes.textures, scenes.masks, 96, rng, upright=False)
    item = scenes[2, 3]
    for row, column in np.ndindex(3, 3):
        block = slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32)
        middle = np.median(scene.flow[block].reshape(-1, 2), axis=0)
        assert item["displacement"][row, column].tolist() == pytest.approx(middle, abs=1e-5)
        assert item["visible"][row, column].item() == pytest.approx(scene.visible[block].mean())


def test_scene_depends_only_on_seed_epoch_and_index(module):
    scenes = module.sets["train"]
    options = scenes.textures, scenes.masks, 5
    again = MovingScenes(*options, scenes.seed, 96, upright=False)
    assert same(scenes[1, 2], again[1, 2])
    assert same(scenes[2], scenes[0, 2])
    others = [scenes[0, 2], scenes[1, 3], MovingScenes(*options, 99, 96, upright=False)[1, 2]]
    assert not any(torch.equal(scenes[1, 2]["frames"], other["frames"]) for other in others)


def test_training_scenes_are_new_in_every_epoch_and_validation_scenes_are_fixed(module):
    train, val = module.train_dataloader(), module.val_dataloader()
    epochs = []
    for epoch in range(2):
        train.sampler.set_epoch(epoch)
        epochs.append(torch.cat([batch["frames"] for batch in train]))
    assert len(epochs[0]) == len(epochs[1]) == 5
    assert not any(torch.equal(a, b) for a in epochs[0] for b in epochs[1])
    assert all(same(a, b) for a, b in zip(val, val, strict=True))


def test_validation_and_test_scenes_differ(module):
    val, test = (next(iter(x)) for x in (module.val_dataloader(), module.test_dataloader()))
    assert not torch.equal(val["frames"], test["frames"])


def test_splits_share_no_texture(module):
    train, val, test = (module.sets[split].textures for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (5, 1, 1)
    assert not any(np.array_equal(a, b) for a in train for b in (*val, *test))


def test_index_out_of_range_raises(module):
    with pytest.raises(IndexError):
        module.sets["val"][3]
    with pytest.raises(IndexError):
        module.sets["val"][0, -1]


def test_no_block_is_visible_after_a_cut(monkeypatch):
    module = MovingDigits(train_scenes=1, eval_scenes=8, side=64, canvases=10)
    module.setup("test")
    for share in (0.0, 1.0):
        monkeypatch.setattr("patchmatch.motion.data.CUT_SHARE", share)
        seen = [scene["visible"].mean() for scene in map(module.sets["test"].__getitem__, range(8))]
        assert (max(seen) == 0) == bool(share)


def test_images_of_a_folder_are_the_textures(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (120, 150)).astype(np.uint8))
    module = MovingDigits(str(tmp_path), train_scenes=1, eval_scenes=1, side=64)
    module.setup("fit")
    assert module.sets["train"].upright
    assert module.sets["train"].textures[0].shape == (120, 150)
    count = len(module.sets["train"].textures) + len(module.sets["val"].textures)
    assert 1 < count < 10


def test_too_few_images_raise(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((120, 150), 50 * i, np.uint8))
    with pytest.raises(InputError, match=r"expected at least 5 images, .*got 3"):
        MovingDigits(str(tmp_path)).setup("fit")


def test_predict_stage_raises():
    with pytest.raises(InputError, match="MovingDigits has no frames to predict"):
        MovingDigits().setup("predict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_scenes": 0}, "train_scenes must be at least 1, got 0"),
        ({"eval_scenes": 0}, "eval_scenes must be at least 1, got 0"),
        ({"canvases": 0}, "canvases must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"side": 100}, "side must be a multiple of 32 and at least 64, got 100"),
        ({"side": 32}, "side must be a multiple of 32 and at least 64, got 32"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
    ],
)
def test_invalid_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        MovingDigits(**options)
