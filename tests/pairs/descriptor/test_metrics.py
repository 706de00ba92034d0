import pytest
import torch

from patchmatch.pairs.descriptor.metrics import (
    FalsePositiveRate,
    false_positive_rate,
    nearest_neighbour_accuracy,
)


def test_accuracy_counts_matches_nearer_than_any_negative(device, dtype):
    distance = torch.tensor([[0.2, 0.1, 1.4], [0.9, 0.5, 0.6], [1.1, 1.0, 0.6]])
    distance = distance.to(device, dtype)
    same_blob = torch.eye(3, dtype=torch.bool, device=device)
    assert nearest_neighbour_accuracy(distance, same_blob).item() == pytest.approx(2 / 3)
    same_blob[0, 1] = True
    assert nearest_neighbour_accuracy(distance, same_blob).item() == 1


def test_the_rate_counts_negatives_up_to_the_bin_that_reaches_the_recall(device, dtype):
    positives = torch.tensor([0.0, 6, 3, 1, 0], device=device, dtype=dtype)
    negatives = torch.tensor([1.0, 2, 5, 8, 4], device=device, dtype=dtype)
    assert false_positive_rate(positives, negatives, 0.9).item() == pytest.approx(8 / 20)
    assert false_positive_rate(positives, negatives, 0.95).item() == pytest.approx(16 / 20)
    assert false_positive_rate(positives, negatives, 0.6).item() == pytest.approx(3 / 20)
    assert false_positive_rate(positives, 0 * negatives, 0.6).isnan()
    assert false_positive_rate(0 * positives, negatives, 0.6).isnan()


def test_batches_accumulate_and_one_false_positive_counts_once(device):
    rate = FalsePositiveRate().to(device)
    is_match = torch.tensor([True] * 10 + [False] * 40, device=device)
    for i in range(2):
        distance = torch.where(is_match, 0.4, 1.2)
        if i:
            distance[20] = 0.1  # a negative below all positives
        rate.update(distance, is_match)
    assert rate.compute().item() == pytest.approx(1 / 80)
    rate.reset()
    assert rate.compute().isnan()


def test_the_rate_of_random_distances_is_the_recall():
    generator = torch.Generator().manual_seed(0)
    rate = FalsePositiveRate()
    distance = 2 * torch.rand(40_000, generator=generator)
    rate.update(distance, torch.rand(40_000, generator=generator) < 0.5)
    assert rate.compute().item() == pytest.approx(0.95, abs=0.01)
