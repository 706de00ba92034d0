import pytest
import torch

from patchmatch.pairs.descriptor.distances import FalsePositiveRate, false_positive_rate


def test_the_rate_counts_wrong_pairs_up_to_the_last_right_one_taken():
    right = torch.tensor([0.0, 6, 3, 1, 0])
    wrong = torch.tensor([1.0, 2, 5, 8, 4])
    assert false_positive_rate(right, wrong, 0.9).item() == pytest.approx(8 / 20)
    assert false_positive_rate(right, wrong, 0.95).item() == pytest.approx(16 / 20)
    assert false_positive_rate(right, wrong, 0.6).item() == pytest.approx(3 / 20)
    assert false_positive_rate(right, 0 * wrong, 0.6).isnan()
    assert false_positive_rate(0 * right, wrong, 0.6).isnan()


def test_batches_add_up_and_one_planted_mistake_counts_as_one():
    rate = FalsePositiveRate()
    belongs = torch.tensor([True] * 10 + [False] * 40)
    for i in range(2):
        distance = torch.where(belongs, 0.4, 1.2)
        if i:
            distance[20] = 0.1  # a wrong pair nearer than all the right ones
        rate.update(distance, belongs)
    assert rate.compute().item() == pytest.approx(1 / 80)
    rate.reset()
    assert rate.compute().isnan()


def test_chance_is_the_share_that_is_taken():
    generator = torch.Generator().manual_seed(0)
    rate = FalsePositiveRate()
    distance = 2 * torch.rand(40_000, generator=generator)
    rate.update(distance, torch.rand(40_000, generator=generator) < 0.5)
    assert rate.compute().item() == pytest.approx(0.95, abs=0.01)
