import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.nnf.results import NearestNeighbourField


@pytest.fixture
def photo() -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (30, 36, 3), np.uint8), (0, 0), 1)


def test_a_path_an_array_and_a_tensor_give_the_same_field(photo, tmp_path):
    later = np.roll(photo, (2, 3), (0, 1))
    cv2.imwrite(str(tmp_path / "0.png"), photo[..., ::-1])
    cv2.imwrite(str(tmp_path / "1.png"), later[..., ::-1])
    expected = patchmatch.nearest_neighbour_field(photo, later)
    assert expected.flow.shape == (2, 30, 36)
    assert expected.cost.shape == (30, 36)
    inside = expected.flow[:, 3:-5, 3:-6]
    assert (inside == torch.tensor([3, 2])[:, None, None]).all()
    assert (expected.cost[3:-5, 3:-6] == 0).all()
    paths = patchmatch.nearest_neighbour_field(tmp_path / "0.png", str(tmp_path / "1.png"))
    tensors = [torch.from_numpy(p).movedim(-1, 0).float() / 255 for p in (photo, later)]
    floats = [p.astype(np.float64) / 255 for p in (photo, later)]
    channels_last = [tensor.movedim(0, -1) for tensor in tensors]
    pillow = [Image.fromarray(p) for p in (photo, later)]
    forms = (tensors, floats, channels_last, pillow)
    for found in (paths, *(patchmatch.nearest_neighbour_field(*given) for given in forms)):
        assert torch.equal(found.flow, expected.flow)
        assert_close(found.cost, expected.cost)


def test_voting_by_the_field_of_an_image_in_itself_rebuilds_it(photo):
    field = patchmatch.nearest_neighbour_field(photo, photo, 5)
    rebuilt = patchmatch.vote(photo, field, 5)
    assert_close(rebuilt, torch.from_numpy(photo).movedim(-1, 0) / 255)
    assert torch.equal(patchmatch.vote(photo, field.flow, 5), rebuilt)


def test_numpy_integers_are_converted(photo):
    other = photo[:28, ::-1]
    # 17 * 17 is more than 255
    options = {"patch_size": 17, "seed": 3, "k": 2, "max_displacement": 9}
    numpys = {name: np.uint8(value) for name, value in options.items()}
    expected = patchmatch.nearest_neighbour_field(photo, other, **options)
    found = patchmatch.nearest_neighbour_field(photo, other, **numpys)
    assert torch.equal(found.flow, expected.flow)
    rebuilt = patchmatch.vote(other, found, np.uint8(17))
    assert torch.equal(rebuilt, patchmatch.vote(other, expected, 17))


def test_options_reach_the_search(photo):
    gray, other = photo[..., 0], photo[:20, ::-1, 1]
    mask = np.ones(gray.shape, bool)
    mask[10:15] = False
    field = patchmatch.nearest_neighbour_field(
        gray, other, 4, "fast", 1, k=3, norm="l1", max_displacement=9, valid0=mask
    )
    assert field.flow.shape == (3, 2, 30, 36)
    assert field.cost.shape == (3, 30, 36)
    assert field.flow[:, 0][field.cost.isfinite()].abs().max() == 9
    assert torch.equal(field.cost.isfinite().all(dim=0), torch.from_numpy(mask))
    assert patchmatch.vote(other, field, 4).shape == (1, 30, 36)


def test_patches_that_found_nothing_have_no_vote(photo):
    mask = np.zeros(photo.shape[:2], bool)
    mask[:, :20] = True
    field = patchmatch.nearest_neighbour_field(photo, 255 - photo, 5, valid0=mask)
    rebuilt = patchmatch.vote(255 - photo, field, 5)
    field.flow[:, :, 20:] = 3  # whatever it says there
    assert torch.equal(patchmatch.vote(255 - photo, field, 5)[..., :20], rebuilt[..., :20])


def test_feature_maps_may_have_any_number_of_channels_and_any_range():
    features = 100 * torch.randn(5, 12, 14, generator=torch.Generator().manual_seed(0))
    field = patchmatch.nearest_neighbour_field(features, features, 3)
    assert isinstance(field, NearestNeighbourField)
    assert (field.flow == 0).all()


@pytest.mark.parametrize(
    ("image0", "image1", "options", "message"),
    [
        (np.zeros((6, 20), np.uint8), np.zeros((9, 9), np.uint8), {}, r"image0 .* 7x7 .* 6x20"),
        (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.uint8), {}, r"number of channels"),
        (np.zeros((9, 9, 5)), np.zeros((9, 9, 4)), {}, r"image0 must be .* got \(9, 9, 5\)"),
        (np.zeros((9, 9), np.int32), np.zeros((9, 9)), {}, r"image0 must be uint8, uint16 or"),
        (np.zeros((9, 9)), np.full((9, 9), np.nan), {}, r"image1 contains NaN or infinite"),
        ([[0.5]], np.zeros((9, 9)), {}, r"image0 must be a path, .* got a list"),
        (np.zeros((9, 9)), None, {}, r"image1 must be a path, .* got a None"),
        (np.zeros((9, 9)), np.zeros((9, 9)), {"preset": "best"}, r"preset must be one of fast"),
        (np.zeros((9, 9)), np.zeros((9, 9)), {"norm": "l3"}, r"norm must be one of l1, l2"),
        (np.zeros((9, 9)), np.zeros((9, 9)), {"k": 10}, r"k must be at most the 9 patches"),
        (
            np.zeros((9, 9)),
            np.zeros((9, 9)),
            {"max_displacement": -1},
            r"max_displacement must be at least 0",
        ),
        (np.zeros((9, 9)), np.zeros((9, 9)), {"patch_size": 0}, r"patch_size and k must be"),
        (np.zeros((9, 9)), np.zeros((9, 9)), {"valid1": np.ones((9, 8))}, r"valid1 must have the"),
    ],
)
def test_what_cannot_be_matched_raises(image0, image1, options, message):
    with pytest.raises(ValueError, match=message):
        patchmatch.nearest_neighbour_field(image0, image1, **options)


def test_photographs_too_large_for_memory_raise_with_what_would_fit(monkeypatch, photo):
    monkeypatch.setattr("patchmatch.public.fields.PATCH_BYTES", 2**20)
    with pytest.raises(
        InputError, match=r"36x30 and 36x30 .* resize them to 32x27 and 32x27 or"
    ) as said:
        patchmatch.nearest_neighbour_field(photo, photo)
    assert "\n" not in str(said.value)
    photo = photo[:27, :32]
    assert (patchmatch.nearest_neighbour_field(photo, photo).flow == 0).all()


def test_a_missing_image_raises(tmp_path, photo):
    with pytest.raises(InputError, match="nowhere"):
        patchmatch.nearest_neighbour_field(tmp_path / "nowhere.png", photo)


def test_a_field_that_is_not_an_integer_flow_raises(photo):
    with pytest.raises(ValueError, match="integer flow"):
        patchmatch.vote(photo, torch.zeros(2, 30, 36))
