import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.descriptor.loss import (
    descriptor_distances,
    hardest_in_batch_loss,
    same_blob_mask,
)


def test_the_loss_takes_the_hardest_negative_of_row_and_column(device, dtype):
    distance = torch.tensor([[0.2, 0.9, 1.4], [0.3, 0.5, 0.1], [1.1, 1.0, 0.6]])
    distance = distance.to(device, dtype)
    same_blob = torch.eye(3, dtype=torch.bool, device=device)
    # negatives 0.3 (column 0), 0.1 (row 1), 0.1 (column 2)
    expected = ((1 + 0.2 - 0.3) + (1 + 0.5 - 0.1) + (1 + 0.6 - 0.1)) / 3
    assert hardest_in_batch_loss(distance, same_blob, 1.0).item() == pytest.approx(expected)
    same_blob[1, 2] = same_blob[2, 1] = True
    # negatives 0.3, 0.3 (row 1), 1.1 (row 2)
    expected = (max(0, 0.5 + 0.2 - 0.3) + (0.5 + 0.5 - 0.3) + 0) / 3
    assert hardest_in_batch_loss(distance, same_blob, 0.5).item() == pytest.approx(expected)
    assert hardest_in_batch_loss(distance, torch.ones_like(same_blob), 1.0).item() == 0


def test_keypoints_within_one_diameter_in_one_image_are_of_the_same_blob(device, dtype):
    blobs = torch.tensor(
        [[0, 10.0, 10, 4], [0, 13.0, 10, 2], [0, 10.0, 15, 4], [1, 10.0, 10, 4], [1, 90, 90, 1]]
    )
    expected = torch.eye(5, dtype=torch.bool, device=device)
    expected[0, 1] = expected[1, 0] = True
    assert torch.equal(same_blob_mask(blobs.to(device, dtype)), expected)


def test_distances_are_euclidean_for_unit_vectors(device, dtype):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 7, generator=generator).to(device, dtype) for n in (3, 5))
    first, second = first / first.norm(dim=1, keepdim=True), second / second.norm(dim=1)[:, None]
    expected = torch.cdist(first, second)
    assert_close(descriptor_distances(first, second), expected, atol=1e-4, rtol=0)
