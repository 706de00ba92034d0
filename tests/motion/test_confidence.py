import torch
from torch.testing import assert_close

from patchmatch.motion.confidence import match_evidence, position_evidence


def placed(answer, mean=None, block=16, margin=0):
    """Evidence of places in a frame that ends with the blocks, or so many pixels later."""
    rows, columns = answer.shape[1:3]
    residual = torch.zeros(1, rows, columns) if mean is None else mean
    subwindows = residual.unsqueeze(-1).expand(1, rows, columns, 16)
    return position_evidence(
        answer, subwindows, block, rows * block + margin, columns * block + margin
    )


def test_block_that_leaves_the_frame_is_partly_outside():
    answer = torch.zeros(1, 3, 4, 2)
    answer[0, 1, 0] = torch.tensor([-4.0, 0.0])
    answer[0, 2, 3] = torch.tensor([8.0, 12.0])
    answer[0, 0, 2] = torch.tensor([0.0, -40.0])
    inside = placed(answer)[..., 0]
    wanted = torch.ones(1, 3, 4)
    wanted[0, 1, 0], wanted[0, 2, 3], wanted[0, 0, 2] = 0.75, 0.5 * 0.25, 0
    assert_close(inside, wanted)
    assert_close(placed(answer, margin=16)[0, 2, 3, 0], torch.tensor(1.0))
    assert placed(answer.double(), torch.zeros(1, 3, 4).double()).dtype == torch.float64


def test_worse_of_two_overlapping_blocks_is_occluded():
    answer, mean = torch.zeros(1, 3, 3, 2), torch.full((1, 3, 3), 0.1)
    answer[0, 1, 0] = torch.tensor([12.0, 0.0])  # covers three quarters of the one in the middle
    mean[0, 1, 1] = 0.5
    found = placed(answer, mean)
    assert_close(found[0, 1, :2, 1], torch.tensor([0.75, 0.75]))
    assert_close(found[0, 1, :2, 2], torch.tensor([0.0, 0.75 * 0.4]))


def test_blocks_of_equal_motion_do_not_overlap():
    for shape in ((1, 4, 3, 2), (1, 1, 1, 2)):
        answer = torch.tensor([0.3, -0.2]).expand(shape)
        assert_close(placed(answer)[..., 1:], torch.zeros(*shape[:3], 2), rtol=0, atol=1e-5)


def test_features_of_an_estimate_have_a_fixed_order():
    torch.manual_seed(0)
    residual, texture, noise = torch.rand(3, 1, 1, 1, 16)
    answer = torch.zeros(1, 1, 1, 2)
    candidates = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).view(1, 1, 1, 2, 2)
    probability = torch.tensor([0.75, 0.25]).view(1, 1, 1, 2)
    zero_residual = residual + 0.2
    given = residual, zero_residual, texture, noise, candidates, probability
    found = match_evidence(answer, *given)[0, 0, 0]
    ends = [residual.mean(), residual.max(), residual.min(), torch.tensor(0.2)]
    wanted = [*ends, noise.mean(), texture.mean(), texture.max(), torch.tensor(1.25).log1p()]
    assert_close(found, torch.stack([*wanted, torch.tensor(0.75), torch.tensor(0.0)]))
