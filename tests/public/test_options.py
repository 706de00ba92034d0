"""Wrong arguments of public functions: a ValueError that names the argument and what is allowed."""

import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.public.options import check_options, require_options, resolve_device

IMAGE = np.zeros((80, 100), np.uint8)
TEMPLATE = {"template": IMAGE[:30, :30], "features": "handcrafted"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "match_images",
            {"matcher": "motion"},
            "matcher must be one of auto, sift, asift, .*'motion'",
        ),
        ("match_images", {"matcher": None}, "matcher must be text or a PairMatcher, got None"),
        ("match_images", {"device": "cudaa"}, "device must be cpu.*, got 'cudaa'"),
        ("match_images", {"max_size": "big"}, "max_size must be an integer or None, got 'big'"),
        ("match_images", {"matcher": "sift", "root": 1}, "root must be True or False, got 1"),
        ("match_images", {"maxsize": 9}, "auto has no option maxsize; it has matchers, max_size"),
        ("match_template", {"scales": 1.0}, "scales must be a sequence of numbers, got 1.0"),
        ("match_template", {"scales": ["1"]}, r"scales must be a sequence of numbers, got \['1'\]"),
        ("match_template", {"size": 1}, "match_template has no option size; it has features"),
        ("match_template", {"threshold": "x"}, "threshold must be a number, got 'x'"),
        ("match_template", {"features": 3}, "features must be text or a path, got 3"),
        ("measure_motion", {"matcher": "motion"}, "matcher must be a LoadedMotionMatcher or"),
        ("measure_motion", {"block": 32.0}, "block must be an integer, got 32.0"),
        ("nearest_neighbour_field", {"seed": "x"}, "seed must be an integer, got 'x'"),
        ("nearest_neighbour_field", {"valid0": [1]}, r"valid0 must be a tensor or an array or Non"),
        ("load_motion_matcher", {"camera": "yes"}, "camera must be True or False, got 'yes'"),
        ("load_shift_matcher", {"path": 3}, "path must be text or a path or None, got 3"),
        ("load_shift_matcher", {"device": "cuda:99"}, "device must be cpu.*, got 'cuda:99'"),
        ("predict_frames", {"blok": 3}, "predict_frames has no option blok; it has path, block"),
        ("predict_frames", {"block": "3"}, "block must be an integer, got '3'"),
        ("predict_frames", {"gaps": 1}, "gaps must be a sequence of integers, got 1"),
        ("predict_frames", {"matcher": "motion"}, "matcher must be a LoadedShiftMatcher or a Load"),
        ("predict_frames", {"source": None}, "source must be text or a path, got None"),
        ("vote", {"field": "x"}, "field must be a NearestNeighbourField or a tensor or an array"),
    ],
)
def test_a_wrong_argument_raises(name, arguments, message):
    required = {
        "match_images": {"image0": IMAGE, "image1": IMAGE},
        "match_template": {"scene": IMAGE, **TEMPLATE},
        "measure_motion": {"frame0": IMAGE, "frame1": IMAGE},
        "nearest_neighbour_field": {"image0": IMAGE, "image1": IMAGE},
        "predict_frames": {"source": "frames"},
        "vote": {"image1": IMAGE},
    }
    with pytest.raises(ValueError, match=f"^{message}"):
        getattr(patchmatch, name)(**required.get(name, {}) | arguments)


@pytest.mark.parametrize(
    "values",
    [
        {"count": np.int64(3), "share": np.float32(0.5), "sizes": np.array([1, 2])},
        {"count": torch.tensor(3), "share": 1, "sizes": (1, np.uint8(2)), "flag": np.bool_(True)},
        {"count": 3, "share": 0.5, "sizes": [1, 2], "flag": False},
    ],
)
def test_numbers_of_any_library_are_accepted(values):
    @check_options
    def function(count: int, share: float, sizes: tuple[int, ...], flag: bool = True):
        return count, share, sizes, flag

    count, share, sizes, _ = function(**values)
    assert type(count) is int
    assert (count, list(sizes)) == (3, [1, 2])
    assert share > 0


def test_a_bool_is_not_an_integer():
    def function(number: int):
        return number

    with pytest.raises(ValueError, match="number must be an integer, got True"):
        check_options(function)(True)
    with pytest.raises(ValueError, match="number must be an integer, got True"):
        require_options("function", {"number": True}, [function])


def test_the_default_device_is_available():
    assert resolve_device(None).type in ("cpu", "cuda")
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


def test_what_is_loaded_takes_images_in_any_form(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 96), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    from patchmatch.io import write_image

    for path, frame in zip(paths, (image, np.roll(image, 3, axis=1)), strict=True):
        write_image(path, frame)
    for matcher in (patchmatch.load_motion_matcher(), patchmatch.load_shift_matcher()):
        found = matcher.measure_motion(str(paths[0]), paths[1])
        assert torch.equal(found, patchmatch.measure_motion(*paths, matcher=matcher))
        with pytest.raises(ValueError, match="block must be an integer, got 'x'"):
            matcher.measure_motion(*paths, "x")
