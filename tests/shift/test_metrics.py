import torch

from patchmatch.shift.metrics import ExactShiftAccuracy, count_exact_shifts


def logits_for(*classes):
    return torch.nn.functional.one_hot(torch.tensor(classes), 10).float()


def test_one_planted_mistake_in_four_gives_three_quarters():
    accuracy = ExactShiftAccuracy()
    accuracy.update(logits_for(0, 1), torch.tensor([0, 1]))
    accuracy.update(logits_for(4, 5), torch.tensor([4, 8]))
    assert accuracy.compute() == 0.75


def test_pairs_beyond_one_pixel_are_not_counted():
    assert [int(x) for x in count_exact_shifts(logits_for(3, 9), torch.tensor([3, 9]))] == [1, 1]


def test_the_likeliest_shift_counts_when_larger_is_likelier():
    logits = logits_for(9)
    logits[0, 2] = 0.5
    assert [int(x) for x in count_exact_shifts(logits, torch.tensor([2]))] == [1, 1]


def test_sums_over_batches_are_divided_once():
    accuracy = ExactShiftAccuracy()
    accuracy.update(logits_for(1), torch.tensor([1]))
    accuracy.update(logits_for(1, 0, 0), torch.tensor([0, 5, 5]))
    assert accuracy.compute() == 0.25  # not the mean of 1 and 0
