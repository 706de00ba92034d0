import torch
from torch.testing import assert_close

from patchmatch.motion.candidates import (
    RUNNER_UP_MARGIN,
    dominant_motion,
    duplicates,
    most_probable,
    propose,
    top2,
    unique_first,
)


def test_candidates_are_zero_the_dominant_motion_the_own_and_the_neighbours():
    candidates = 9 * torch.rand(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    best = candidates[..., 0, :]
    found, unique, middle = propose(candidates, 1)
    assert found.shape == (2, 3, 4, 2 + 2 + 8, 2)
    assert unique[:, 1, 2].all()
    assert torch.equal(found[:, 1, 2, 0], torch.zeros(2, 2))
    assert torch.equal(middle, best.flatten(1, 2).median(dim=1).values)
    assert torch.equal(found[:, 1, 2, 1], middle)
    assert torch.equal(found[:, 1, 2, 2:4], candidates[:, 1, 2])
    around = [best[:, r, c] for r in range(3) for c in (1, 2, 3) if (r, c) != (1, 2)]
    assert torch.equal(found[:, 1, 2, 4:], torch.stack(around, dim=1))
    assert propose(candidates, 0).candidates.shape == (2, 3, 4, 2 + 1 + 4, 2)
    assert propose(candidates, 1, 5).candidates.shape == (2, 3, 4, 5, 2)


def test_zero_motion_is_kept_beside_a_near_candidate():
    near, nearer = torch.tensor([0.12, 0.0]), torch.tensor([0.08, 0.0])
    for own, count in ((near, 2), (nearer, 1)):
        found, unique, _ = propose(own.expand(1, 3, 3, 1, 2), 0)
        assert (unique.sum(dim=-1) == count).all()
        assert not found[..., 0, :].any()


def test_duplicates_come_last():
    ranked = torch.tensor([[4.0, 1], [4.2, 1], [0, 0], [4, 1.3], [7, 0]])
    found, unique = unique_first(ranked, duplicates(ranked, 0.5), 4)
    assert_close(found, torch.tensor([[4.0, 1], [0, 0], [7, 0], [4.2, 1]]))
    assert unique.tolist() == [True, True, True, False]


def test_likeliest_candidate_has_the_highest_logit():
    candidates = torch.tensor([[0.0, 0], [5, 1], [9, 9]]).expand(2, 1, 1, 3, 2)
    logits = torch.tensor([[1.0, 3, 2], [0, 0.5, 1]]).view(2, 1, 1, 3)
    assert most_probable(candidates, logits).tolist() == [[[[[5, 1]]]], [[[[9, 9]]]]]


def test_runner_up_is_apart_and_likely():
    candidates = torch.tensor([[0.0, 0], [0.7, 0], [5, 1], [-9, 9]]).expand(4, 1, 1, 4, 2)
    logits = torch.tensor(
        [
            [3.0, 2, 1, 0],  # the second one is too near to the best
            [0, 1, 3, 2],
            [RUNNER_UP_MARGIN, RUNNER_UP_MARGIN, -0.1, -9],
            [RUNNER_UP_MARGIN, RUNNER_UP_MARGIN - 1, 0.1, -9],
        ]
    ).view(4, 1, 1, 4)
    found = top2(candidates, logits).flatten(0, 2).tolist()
    assert found == [[[0, 0], [5, 1]], [[5, 1], [-9, 9]], [[0, 0], [0, 0]], [[0, 0], [5, 1]]]
    single = top2(candidates[..., :2, :], logits[..., :2])
    assert torch.equal(single[..., 0, :], single[..., 1, :])


def test_dominant_motion_is_zero_if_few_blocks_share_it():
    torch.manual_seed(0)
    apart = 24 * torch.rand(2, 8, 10, 3, 2) - 12
    apart[1, :, :2, 0] = torch.tensor([3.0, -1.0])  # a fifth of the blocks
    apart[1, :, 2:6, 0, 0], apart[1, :, 6:, 0, 0] = -9, 9
    apart[1, :, 2:6, 0, 1], apart[1, :, 6:, 0, 1] = 9, -9
    assert_close(dominant_motion(apart), torch.tensor([[0.0, 0], [3, -1]]))
    assert torch.equal(dominant_motion(apart[:1, :1, :1])[0], apart[0, 0, 0, 0])


def test_repeated_accepts_an_empty_batch():
    assert duplicates(torch.zeros(0, 3, 9, 2), 0.5).shape == (0, 3, 9)
    ranked = torch.tensor([[0.0, 0], [1, 0], [0.4, 0.4]])
    assert duplicates(ranked, 0.5).tolist() == [False, False, True]
    assert duplicates(ranked, 0.3).tolist() == [False, False, False]
