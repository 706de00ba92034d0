import pytest
import torch
from torch.testing import assert_close

from patchmatch.nnf.search import exact_field
from patchmatch.nnf.voting import consistent, copy_centres, vote_patches


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def random_flow(batch: int, size0: tuple[int, int], size1: tuple[int, int]) -> torch.Tensor:
    """Return a flow whose targets lie anywhere inside image 1."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(size1[0], (batch, *size0), generator=generator)
    x = torch.randint(size1[1], (batch, *size0), generator=generator)
    return torch.stack([x - torch.arange(size0[1]), y - torch.arange(size0[0])[:, None]], dim=1)


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_voting_equals_loops(size, masked, device, dtype):
    image1, flow = random(2, 3, 9, 7).to(dtype), random_flow(2, (6, 8), (9, 7))
    valid = random(2, 6, 8, seed=2) > 0.7 if masked else None
    mask = None if valid is None else valid.to(device)
    found = vote_patches(image1.to(device), flow.to(device), size, mask)
    middle = size // 2
    total, count = image1.new_zeros(2, 3, 6, 8), image1.new_zeros(2, 1, 6, 8)
    for b in range(2):
        for y in range(6 - size + 1):
            for x in range(8 - size + 1):
                if valid is not None and not valid[b, y + middle, x + middle]:
                    continue
                dx, dy = flow[b, :, y + middle, x + middle].tolist()
                y1, x1 = min(max(y + dy, 0), 9 - size), min(max(x + dx, 0), 7 - size)
                total[b, :, y : y + size, x : x + size] += image1[
                    b, :, y1 : y1 + size, x1 : x1 + size
                ]
                count[b, :, y : y + size, x : x + size] += 1
    expected = torch.where(count > 0, total / count.clamp_min(1), copy_centres(image1, flow))
    assert_close(found, expected.to(device))
    assert masked == bool((count == 0).any())


def test_voting_with_the_field_of_an_image_to_itself_returns_the_image(device, dtype):
    image = random(2, 3, 12, 15).to(device, dtype)
    flow = exact_field(image, image, 4).flow[:, 0]
    assert_close(vote_patches(image, flow, 4), image)
    assert torch.equal(copy_centres(image, flow), image)


def test_centres_are_copied_from_the_targets_of_the_flow():
    image1, flow = random(2, 3, 9, 7), random_flow(2, (6, 8), (9, 7))
    found = copy_centres(image1, flow)
    for b in range(2):
        for y in range(6):
            for x in range(8):
                dx, dy = flow[b, :, y, x].tolist()
                assert torch.equal(found[b, :, y, x], image1[b, :, y + dy, x + dx])


def test_targets_outside_the_image_are_clamped_to_its_border():
    image1 = random(1, 2, 4, 5)
    flow = torch.full((1, 2, 3, 6), 100)
    assert torch.equal(copy_centres(image1, flow), image1[..., -1:, -1:].expand(-1, -1, 3, 6))


def test_flow_that_leads_back_within_the_tolerance_is_consistent():
    flow01 = torch.zeros(1, 2, 4, 6, dtype=torch.long)
    flow01[:, 0] = 2  # image 1 is 8 wide: everything stays inside
    flow10 = torch.zeros(1, 2, 5, 8, dtype=torch.long)
    flow10[:, 0] = -2
    assert consistent(flow01, flow10, 0.0).all()
    flow10[0, :, 1, 3] = torch.tensor([-1, 1])  # where pixel (1, 1) goes: sqrt(2) pixels off
    expected = torch.ones(1, 4, 6, dtype=torch.bool)
    expected[0, 1, 1] = False
    assert torch.equal(consistent(flow01, flow10, 1.4), expected)
    assert consistent(flow01, flow10, 1.42).all()
    valid10 = torch.ones(1, 5, 8, dtype=torch.bool)
    valid10[0, 2, 4] = False  # where pixel (2, 2) goes
    expected[0, 1, 1], expected[0, 2, 2] = True, False
    assert torch.equal(consistent(flow01, flow10, 1.42, valid10), expected)


def test_patch_size_below_1_raises():
    with pytest.raises(ValueError, match="patch_size must be at least 1, got 0"):
        vote_patches(random(1, 1, 9, 9), torch.zeros(1, 2, 9, 9, dtype=torch.long), 0)


def test_images_smaller_than_a_patch_raise():
    with pytest.raises(ValueError, match=r"hold a patch of 5x5 pixels, got flow on 4x9"):
        vote_patches(random(1, 1, 9, 9), torch.zeros(1, 2, 4, 9, dtype=torch.long), 5)
