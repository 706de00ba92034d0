import torch

from patchmatch.shift.metrics import Share, exact_shift_sums


def logits_for(*answers):
    return torch.nn.functional.one_hot(torch.tensor(answers), 10).float()


def test_one_planted_mistake_in_four_is_three_quarters():
    share = Share(exact_shift_sums)
    share.update(logits_for(0, 1), torch.tensor([0, 1]))
    share.update(logits_for(4, 5), torch.tensor([4, 8]))
    assert share.compute() == 0.75


def test_pairs_beyond_one_pixel_do_not_count_for_exactness():
    assert [int(x) for x in exact_shift_sums(logits_for(3, 9), torch.tensor([3, 9]))] == [1, 1]


def test_the_shift_beneath_a_wrong_larger_is_judged():
    logits = logits_for(9)
    logits[0, 2] = 0.5
    assert [int(x) for x in exact_shift_sums(logits, torch.tensor([2]))] == [1, 1]


def test_sums_over_batches_are_divided_once():
    share = Share(exact_shift_sums)
    share.update(logits_for(1), torch.tensor([1]))
    share.update(logits_for(1, 0, 0), torch.tensor([0, 5, 5]))
    assert share.compute() == 0.25  # not the mean of 1 and 0
