import pytest
import torch
from torch.testing import assert_close

from patchmatch.shift.decision import (
    FLAT_QUANTILE,
    LARGER_EVIDENCE,
    NOISE_CEILING,
    NOISE_FLOOR,
    SHIFT_EVIDENCE,
    Evidence,
    discount_noise,
    noise_variance,
    ranking_length,
)
from patchmatch.shift.ops import LARGER, STILL

BLOCKS = 40


def probability_of(index, value=0.9):
    """Return (1, 10) with one likely class."""
    probability = torch.full((1, 10), (1 - value) / 9)
    probability[0, index] = value
    return probability


def residual_of(still, *others):
    """Return (9, 1, 1): without a shift ``still``, elsewhere the others, repeated."""
    residual = torch.tensor([*others] * 9)[:9]
    residual[STILL] = still
    return residual.reshape(9, 1, 1)


def test_noise_is_the_residual_of_the_blocks_that_a_shift_explains():
    residual = torch.full((9, 1, BLOCKS), 4e-3)
    residual[2, 0, :10] = 1e-4  # a quarter of the blocks moves
    assert_close(noise_variance(residual, torch.full_like(residual, 8e-3)), torch.tensor([1e-4]))


def test_noise_is_that_of_flat_blocks_if_no_shift_explains_the_scene():
    residual = torch.full((9, 1, BLOCKS), 4e-3)
    residual[:, 0, :4] = 1e-4
    total = 2 * residual
    assert 4 / BLOCKS > FLAT_QUANTILE
    assert_close(noise_variance(residual, total), torch.tensor([1e-4]))


def test_noise_has_a_floor_and_a_ceiling():
    zeros = torch.zeros(9, 2, BLOCKS)
    assert_close(noise_variance(zeros, zeros), torch.full((2,), NOISE_FLOOR))
    assert_close(noise_variance(zeros + 1, zeros + 1), torch.full((2,), NOISE_CEILING))


def test_evidence_is_a_share_that_rises_with_the_ratio():
    share = Evidence(ratio=4.0, steepness=3.0, low=0.2, high=0.8)(torch.tensor([0, 1, 4, 1e6]))
    assert_close(share, torch.tensor([0.2, 0.2 + 0.6 / (1 + 4**3), 0.5, 0.8]), atol=1e-4, rtol=0)


def share_at(ratio, evidence):
    return evidence(torch.tensor(float(ratio))).item()


@pytest.mark.parametrize("times_noise", [1, LARGER_EVIDENCE.ratio, 100])
def test_larger_needs_a_residual_above_the_noise(times_noise):
    noise = torch.tensor([1e-4])
    residual = residual_of(times_noise * 1e-4, times_noise * 1e-4)
    found = discount_noise(probability_of(LARGER, 1.0), residual, noise)
    assert found[0, LARGER].item() == pytest.approx(
        share_at(times_noise, LARGER_EVIDENCE), abs=1e-3
    )
    assert_close(found.sum(dim=1), torch.ones(1))


@pytest.mark.parametrize("explained", [0.01, SHIFT_EVIDENCE.ratio, 100])
def test_a_shift_needs_a_residual_that_it_explains(explained):
    noise, kept = torch.tensor([1e-4]), share_at(explained, SHIFT_EVIDENCE)
    residual = residual_of((1 + explained) * 1e-4, 1e-4)
    found = discount_noise(probability_of(0, 1.0), residual, noise)
    assert found[0, 0].item() == pytest.approx(kept, abs=1e-3)
    assert found[0, STILL].item() == pytest.approx(1 - kept, abs=1e-3)


def test_the_noise_level_alone_calls_a_block_still():
    assert share_at(1, LARGER_EVIDENCE) < 0.5
    assert share_at(0.05, SHIFT_EVIDENCE) < 0.5


def test_what_larger_loses_goes_to_the_shifts_in_proportion():
    noise = torch.tensor([1e-4])
    probability = torch.zeros(1, 10)
    probability[0, LARGER], probability[0, 2], probability[0, 3] = 0.91, 0.06, 0.03
    residual = residual_of(1e-2, 1e-4)
    found = discount_noise(probability, residual, noise)
    assert found[0, 2] > 0.5
    assert_close(found[0, 2], 2 * found[0, 3])


def test_length_grows_with_the_residual():
    noise = torch.tensor([1e-4])
    lengths = [
        ranking_length(probability_of(LARGER, 1.0), residual_of(value, value), noise).item()
        for value in (1e-4, 1e-3, 1e-2)
    ]
    assert lengths == pytest.approx([2.0, 2.5, 3.0])
