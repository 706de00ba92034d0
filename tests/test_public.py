import cv2
import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.errors import InputError
from patchmatch.results import Kind


def write_walk(folder, count=4, step=1, size=(80, 110)):
    """Frames in which a textured square walks to the right over a textured ground."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, size).astype(np.float32), (0, 0), 1.5)
    square = cv2.GaussianBlur(rng.integers(0, 256, (40, 40)).astype(np.float32), (0, 0), 1.5)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        frame = ground.copy()
        frame[13:53, 26 + step * i : 66 + step * i] = square
        cv2.imwrite(str(folder / f"frame_{i}.png"), frame.astype(np.uint8))


def test_frames_are_predicted_one_by_one_in_order(tmp_path):
    write_walk(tmp_path, count=12)
    found = patchmatch.predict_frames(tmp_path, batch_size=4)
    first = next(found)
    assert (first.frame0, first.frame1) == ("frame_0", "frame_1")
    rest = list(found)
    assert [c.frame1 for c in rest] == [f"frame_{i}" for i in range(2, 12)]
    assert all((c.kind == Kind.ONE_PIXEL).any() for c in rest)
    top = first.top(3)
    assert top.displacement.tolist() == [[1, 0]] * len(top)


def test_options_reach_the_matcher(tmp_path):
    write_walk(tmp_path, count=2)
    (changes,) = patchmatch.predict_frames(tmp_path, block=16, stride=16)
    assert len(changes) == 5 * 6
    assert (changes.boxes[0] == torch.tensor([0, 0, 16, 16])).all()


def test_a_broken_frame_is_warned_of_and_left_out(tmp_path):
    write_walk(tmp_path, count=5)
    (tmp_path / "frame_2.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match=r"frame left out: .*frame_2\.png"):
        pairs = [(c.frame0, c.frame1) for c in patchmatch.predict_frames(tmp_path)]
    assert pairs == [("frame_0", "frame_1"), ("frame_3", "frame_4")]


def test_a_wrong_source_is_refused_when_it_is_given_not_when_it_is_read(tmp_path):
    with pytest.raises(InputError):
        patchmatch.predict_frames(tmp_path / "nothing")


def test_a_frame_smaller_than_a_block_is_refused(tmp_path):
    write_walk(tmp_path, count=2, size=(66, 70))
    with pytest.raises(InputError, match=r"frames of 70x66 pixels are smaller than a block of 128"):
        next(patchmatch.predict_frames(tmp_path, block=128))


def test_a_matcher_and_its_options_exclude_each_other(tmp_path):
    write_walk(tmp_path, count=2)
    matcher = patchmatch.load_shift_matcher()
    with pytest.raises(ValueError, match="a matcher or its options, not both: block"):
        patchmatch.predict_frames(tmp_path, matcher=matcher, block=32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint"),
        (b"", "is no checkpoint, or a damaged one"),
        (b"some text", "is no checkpoint, or a damaged one"),
        ({"weights": 1}, "holds no matcher"),
        ({"state_dict": {}, "hyper_parameters": {}}, "holds a model of unknown class"),
        (
            {"state_dict": {}, "hyper_parameters": {"_class_path": "other.Classifier"}},
            "holds a Classifier, not a ShiftMatcher",
        ),
        (
            {"state_dict": {}, "hyper_parameters": {"_class_path": "patchmatch.ShiftMatcher"}},
            "is of another architecture: .* tensors do not fit, the first is net",
        ),
    ],
)
def test_a_wrong_checkpoint_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "some.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as refusal:
        patchmatch.load_shift_matcher(path)
    assert "some.ckpt" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    from patchmatch.checkpoints import shipped_checkpoint

    path = tmp_path / "cut.ckpt"
    path.write_bytes(shipped_checkpoint("shift_matcher.ckpt").read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"cut\.ckpt: is no checkpoint, or a damaged one"):
        patchmatch.load_shift_matcher(path)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"x": Evil()}}, path)
    with pytest.raises(InputError, match="is no checkpoint"):
        patchmatch.load_shift_matcher(path)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        _ = patchmatch.load_everything
    assert "predict_frames" in dir(patchmatch)
