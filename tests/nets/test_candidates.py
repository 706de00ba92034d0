import torch
from torch.testing import assert_close

from patchmatch.nets.candidates import common, distinct, distinct_best, offer, repeated


def test_what_is_offered_is_the_own_nothing_the_common_and_the_neighbours():
    candidates = torch.rand(2, 3, 4, 2, 2)
    best = candidates[..., 0, :]
    found = offer(candidates, 1)
    assert found.shape == (2, 3, 4, 2 + 2 + 8, 2)
    assert torch.equal(found[:, 1, 2, :2], candidates[:, 1, 2])
    assert torch.equal(found[:, 1, 2, 2], torch.zeros(2, 2))
    assert torch.equal(found[:, 1, 2, 3], best.flatten(1, 2).median(dim=1).values)
    around = [best[:, r, c] for r in range(3) for c in (1, 2, 3) if (r, c) != (1, 2)]
    assert torch.equal(found[:, 1, 2, 4:], torch.stack(around, dim=1))
    assert offer(candidates, 0).shape == (2, 3, 4, 2 + 1 + 4, 2)


def test_a_repeated_candidate_makes_room_for_another():
    ranked = torch.tensor([[4.0, 1], [4.2, 1], [0, 0], [4, 1.3], [7, 0]]).expand(1, 1, 1, 5, 2)
    assert_close(distinct(ranked, 3)[0, 0, 0], torch.tensor([[4.0, 1], [0, 0], [7, 0]]))


def test_what_is_kept_is_likely_and_not_twice_the_same():
    candidates = torch.tensor([[0.0, 0], [5, 1], [0.3, -0.4], [5, 1.6], [9, 9]])
    logits = torch.tensor([[1.0, 3, 2, 2.5, 0], [0, 0.5, 1, 2, 3]]).view(2, 1, 1, 5)
    found = distinct_best(candidates.expand(2, 1, 1, 5, 2), logits, 3)[:, 0, 0]
    # the first: 5, 1 then 5, 1.6 and 0.3, -0.4; the second: 9, 9 then 5, 1.6 and 0.3, -0.4 ...
    assert_close(found[0], torch.tensor([[5, 1], [5, 1.6], [0.3, -0.4]]))
    assert_close(found[1], torch.tensor([[9, 9], [5, 1.6], [0.3, -0.4]]))


def test_too_few_distinct_candidates_are_filled_up_with_repeated_ones():
    candidates = torch.tensor([[1.0, 1], [1.1, 1], [1, 0.9], [7, 0]]).expand(2, 1, 1, 4, 2)
    logits = torch.tensor([4.0, 3, 2, 1]).expand(2, 1, 1, 4)
    found = distinct_best(candidates, logits, 4)[1, 0, 0]
    assert_close(found, torch.tensor([[1.0, 1], [7, 0], [1.1, 1], [1, 0.9]]))


def test_what_hardly_a_block_does_is_common_to_none():
    torch.manual_seed(0)
    apart = 24 * torch.rand(2, 8, 10, 3, 2) - 12
    apart[1, :, :2, 0] = torch.tensor([3.0, -1.0])  # a fifth of the blocks
    apart[1, :, 2:6, 0, 0], apart[1, :, 6:, 0, 0] = -9, 9
    apart[1, :, 2:6, 0, 1], apart[1, :, 6:, 0, 1] = 9, -9
    assert_close(common(apart)[:, 0, 0, 0], torch.tensor([[0.0, 0], [3, -1]]))
    assert torch.equal(common(apart[:1, :1, :1])[0, 0, 0, 0], apart[0, 0, 0, 0])


def test_nothing_is_repeated_among_nothing():
    assert repeated(torch.zeros(0, 3, 9, 2)).shape == (0, 3, 9)
    assert repeated(torch.tensor([[0.0, 0], [1, 0], [0.4, 0.4]])).tolist() == [False, False, True]
