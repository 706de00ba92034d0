import cv2
import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.frames.results import Kind


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
    assert len(changes) == 5 * 7  # of 80x110 pixels; the last column ends at the border
    assert (changes.boxes[0] == torch.tensor([0, 0, 16, 16])).all()


def test_a_broken_frame_is_left_out_with_a_warning(tmp_path):
    write_walk(tmp_path, count=5)
    (tmp_path / "frame_2.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match=r"frame skipped: .*frame_2\.png"):
        pairs = [(c.frame0, c.frame1) for c in patchmatch.predict_frames(tmp_path)]
    assert pairs == [("frame_0", "frame_1"), ("frame_3", "frame_4")]


@pytest.mark.parametrize("load", [patchmatch.load_shift_matcher, patchmatch.load_motion_matcher])
def test_pairs_before_and_after_a_change_of_size_are_predicted(tmp_path, load):
    write_walk(tmp_path, count=5)
    for i in (3, 4):
        cv2.imwrite(str(tmp_path / f"frame_{i}.png"), np.zeros((64, 96), np.uint8))
    with pytest.warns(UserWarning, match="the frame size changes to 96x64 at frame frame_3"):
        found = list(patchmatch.predict_frames(tmp_path, matcher=load(device="cpu")))
    assert [c.frame1 for c in found] == ["frame_1", "frame_2", "frame_4"]
    assert (found[2].boxes[:, 3] <= 64).all()


def test_a_wrong_source_raises_when_it_is_given_not_when_it_is_read(tmp_path):
    with pytest.raises(InputError):
        patchmatch.predict_frames(tmp_path / "nothing")


def test_a_frame_smaller_than_a_block_raises(tmp_path):
    write_walk(tmp_path, count=2, size=(66, 70))
    with pytest.raises(InputError, match=r"frames of 70x66 pixels are smaller than a block of 128"):
        next(patchmatch.predict_frames(tmp_path, block=128))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3"),
        ({"gaps": ()}, r"gaps must be integers of at least 1, got \[\]"),
        ({"gaps": (0, 1)}, r"gaps must be integers of at least 1, got \[0, 1\]"),
        ({"block": 26.5}, "block must be an integer, got 26.5"),
        ({"stride": 13.0}, "stride must be an integer, got 13.0"),
    ],
)
def test_invalid_numbers_raise(tmp_path, options, message):
    write_walk(tmp_path, count=2)
    with pytest.raises(ValueError, match=message):
        patchmatch.predict_frames(tmp_path, **options)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_integers_of_numpy_and_torch_are_converted(tmp_path, kind):
    write_walk(tmp_path, count=4)
    frame0, frame1 = (cv2.imread(str(tmp_path / f"frame_{i}.png"), 0) for i in (0, 3))
    moved = patchmatch.measure_motion(frame0, frame1, kind(24))
    assert torch.equal(moved, patchmatch.measure_motion(frame0, frame1, 24))
    assert moved.shape == (3, 4, 2)
    motion = patchmatch.load_motion_matcher(block=kind(40), radius=kind(4))
    (found, *_) = patchmatch.predict_frames(tmp_path, matcher=motion)
    corners = [(x, y) for y in (0, 40) for x in (0, 40, 70)]  # the last column is at the border
    assert found.boxes.tolist() == [[x, y, x + 40, y + 40] for x, y in corners]
    options = {"block": kind(20), "stride": kind(15), "batch_size": kind(2), "max_frames": kind(3)}
    found = list(patchmatch.predict_frames(tmp_path, gaps=[kind(1), kind(2)], **options))
    assert [(c.frame0[-1], c.frame1[-1]) for c in found] == [("0", "1"), ("1", "2"), ("0", "2")]
    assert found[0].boxes[-1].tolist() == [90, 60, 110, 80]


def test_gaps_may_be_an_array(tmp_path):
    write_walk(tmp_path, count=3)
    found = patchmatch.predict_frames(tmp_path, gaps=np.array([1, 2]))
    assert sorted((c.frame0[-1], c.frame1[-1]) for c in found) == [
        ("0", "1"), ("0", "2"), ("1", "2"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"gaps must be integers of at least 1, got \[\]"):
        patchmatch.predict_frames(tmp_path, gaps=np.array([], int))


def test_a_matcher_and_its_options_exclude_each_other(tmp_path):
    write_walk(tmp_path, count=2)
    matcher = patchmatch.load_shift_matcher()
    with pytest.raises(ValueError, match="expected a matcher or its options, got both: block"):
        patchmatch.predict_frames(tmp_path, matcher=matcher, block=32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint"),
        (b"", "not a checkpoint, or a damaged one"),
        (b"some text", "not a checkpoint, or a damaged one"),
        ({"weights": 1}, "not a checkpoint of a matcher"),
        ({"state_dict": {}, "hyper_parameters": {}}, "got one of an unknown class"),
        (
            {"state_dict": {}, "hyper_parameters": {"_class_path": "other.Classifier"}},
            "expected a checkpoint of ShiftMatcher, got one of Classifier",
        ),
        (
            {"state_dict": {}, "hyper_parameters": {"_class_path": "patchmatch.ShiftMatcher"}},
            "tensors do not fit the model; net.*: missing; train again",
        ),
    ],
)
def test_a_wrong_checkpoint_is_one_line(tmp_path, content, message):
    path = tmp_path / "some.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as refusal:
        patchmatch.load_shift_matcher(path)
    assert "some.ckpt" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_checkpoint_raises(tmp_path):
    from patchmatch.core.checkpoints import shipped_checkpoint

    path = tmp_path / "cut.ckpt"
    path.write_bytes(shipped_checkpoint("shift_matcher.ckpt").read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"cut\.ckpt: not a checkpoint, or a damaged one"):
        patchmatch.load_shift_matcher(path)


def test_a_pickle_with_code_raises_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"x": Evil()}}, path)
    with pytest.raises(InputError, match="not a checkpoint"):
        patchmatch.load_shift_matcher(path)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        _ = patchmatch.load_everything
    assert "predict_frames" in dir(patchmatch)


def panned(dx, dy, size=(72, 104)):
    """Two frames of uint8 between which everything moves by whole pixels."""
    rng = np.random.default_rng(0)
    canvas = sum(
        cv2.GaussianBlur(rng.standard_normal((180, 220)).astype(np.float32), (0, 0), scale) * scale
        for scale in (1.5, 4, 9)
    )
    canvas = cv2.normalize(canvas, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    height, width = size
    return [
        canvas[50 - y : 50 - y + height, 50 - x : 50 - x + width] for x, y in ((0, 0), (dx, dy))
    ]


def test_motion_is_measured_between_arrays_and_between_files_alike(tmp_path):
    frames = panned(9, -4)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    found = patchmatch.measure_motion(*frames, device="cpu")
    assert found.shape == (2, 3, 2)
    assert (found.flatten(0, 1).median(dim=0).values - torch.tensor([9.0, -4])).norm() < 0.1
    assert torch.allclose(patchmatch.measure_motion(*paths, device="cpu"), found, atol=1e-3)
    mixed = patchmatch.measure_motion(str(paths[0]), torch.from_numpy(frames[1]), device="cpu")
    assert torch.allclose(mixed, found, atol=1e-3)


def test_a_given_matcher_measures_the_motion():
    frames = panned(2, 3)
    matcher = patchmatch.load_motion_matcher(device="cpu")
    found = patchmatch.measure_motion(*frames, 16, matcher=matcher)
    assert found.shape == (4, 6, 2)
    assert torch.equal(found, matcher.measure_motion(*frames, 16))


def test_a_shift_matcher_that_was_loaded_measures_motion_too():
    frames = panned(-7, 5)
    found = patchmatch.load_shift_matcher(device="cpu").measure_motion(*frames)
    assert torch.equal(found, patchmatch.measure_motion(*frames, device="cpu"))


def test_frames_of_two_sizes_raise():
    one, other = panned(0, 0)
    with pytest.raises(ValueError, match="must have the same size, got 104x72 and 90x72"):
        patchmatch.measure_motion(one, other[:, :90], device="cpu")


def test_the_settings_of_a_motion_matcher_reach_it():
    matcher = patchmatch.load_motion_matcher(
        block=64, radius=3, camera=True, min_matched=0.2, device="cpu"
    ).matcher
    assert (matcher.block, matcher.radius, matcher.camera) == (64, 3, True)
    assert matcher.min_matched == 0.2
    assert not matcher.training


def test_a_matcher_of_the_other_kind_raises():
    from patchmatch.core.checkpoints import shipped_checkpoint

    with pytest.raises(InputError, match="of MotionMatcher, got one of ShiftMatcher"):
        patchmatch.load_motion_matcher(shipped_checkpoint("shift_matcher.ckpt"))
    with pytest.raises(InputError, match="of ShiftMatcher, got one of MotionMatcher"):
        patchmatch.load_shift_matcher(shipped_checkpoint("motion_matcher.ckpt"))


def test_frames_are_predicted_by_a_motion_matcher_too(tmp_path):
    write_walk(tmp_path, count=3, step=5)
    matcher = patchmatch.load_motion_matcher(block=16, device="cpu")
    changes = list(patchmatch.predict_frames(tmp_path, matcher=matcher))
    assert [c.frame1 for c in changes] == ["frame_1", "frame_2"]
    top = changes[0].top(4)
    assert len(top) > 0
    assert (top.kind == Kind.LARGER).all()


def test_flow_is_measured_for_every_pixel_of_any_image(tmp_path):
    frames = panned(9, -4)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    found = patchmatch.measure_flow(*frames, device="cpu")
    assert (found.flow.shape, found.confidence.shape) == ((2, 72, 104), (72, 104))
    assert found.flow.dtype == found.confidence.dtype == torch.float32
    error = (found.flow - torch.tensor([9.0, -4])[:, None, None]).norm(dim=0)
    inner = error[8:-8, :-16]
    assert inner.mean() < 0.1
    assert found.confidence[8:-8, 8:-16].mean() > 0.8
    assert not found.confidence[:, 96:].any()  # these pixels leave the frame
    matcher = patchmatch.load_motion_matcher(device="cpu")
    for other in (paths, [cv2.cvtColor(f, cv2.COLOR_GRAY2RGB) for f in frames]):
        again = matcher.measure_flow(*other)
        assert (again.flow - found.flow).norm(dim=0).mean() < 0.01
    assert torch.equal(patchmatch.measure_flow(*frames, matcher=matcher.matcher).flow, found.flow)
    shift = patchmatch.load_shift_matcher(device="cpu")
    assert torch.equal(shift.measure_flow(*frames).flow, found.flow)


def test_flow_of_frames_that_do_not_fit_raises():
    one, other = panned(0, 0)
    with pytest.raises(ValueError, match="must have the same size, got 104x72 and 90x72"):
        patchmatch.measure_flow(one, other[:, :90], device="cpu")
    with pytest.raises(ValueError, match="at least as large as one block of 16x16 pixels, got 9x"):
        patchmatch.measure_flow(one[:9], other[:9], device="cpu")
    missing = one.astype(np.float32) / 255
    missing[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"frame1.*NaN"):
        patchmatch.measure_flow(one, missing, device="cpu")
