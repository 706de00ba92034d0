from functools import partial

import numpy as np
import pytest

from patchmatch import load_shift_matcher
from patchmatch.shift.ops import SHIFTS
from patchmatch.shift.transfer import (
    PatchPairs,
    add_noise_and_gain,
    match_ncc,
    match_ssd,
    percent_exact,
    sample_digit_pairs,
    sample_pairs,
)
from patchmatch.synthetic.digits import load_digits, split_indices


def noise_images(count=2, height=60, width=75):
    return list(np.random.default_rng(0).uniform(0, 255, (count, height, width)))


def test_pairs_follow_the_convention_of_displacement():
    pairs = sample_pairs(noise_images(), 50, seed=0)
    assert {tuple(d) for d in pairs.displacement.tolist()} == set(SHIFTS)
    for patch0, patch1, (dx, dy) in zip(*vars(pairs).values(), strict=True):
        assert patch0[10, 12] == patch1[10 + dy, 12 + dx]


def test_flat_images_raise():
    with pytest.raises(ValueError, match="too few textured patches for 10 pairs"):
        sample_pairs([np.full((60, 60), 7.0)], 10, seed=0)
    with pytest.raises(ValueError, match="too few textured patches"):
        sample_pairs([], 10, seed=0)


@pytest.mark.parametrize("match", [match_ssd, match_ncc, partial(match_ncc, symmetric=True)])
def test_hand_crafted_baselines_are_exact_on_clean_pairs(match):
    assert percent_exact(match, sample_pairs(noise_images(), 50, seed=1)) == 100


def test_percent_exact_counts_one_planted_mistake():
    pairs = sample_pairs(noise_images(), 4, seed=2)
    wrong = pairs.displacement.copy()
    wrong[1, 0] = 7
    assert percent_exact(lambda a, b: wrong, pairs) == 75


def test_noise_and_gain_have_the_given_strength():
    flat = np.full((400, 26, 26), 100, np.float32)
    pairs = PatchPairs(patches0=flat, patches1=flat, displacement=np.zeros((400, 2), int))
    disturbed = add_noise_and_gain(pairs, noise=8, gain=0.1, seed=0)
    assert np.std(disturbed.patches0) == pytest.approx(8, rel=0.02)
    means = disturbed.patches1.mean((1, 2))
    assert means.min() > 89
    assert means.max() < 111
    assert np.std(means) == pytest.approx(100 * 0.1 / 3**0.5, rel=0.1)
    assert np.all(flat == 100)


# -- accuracy of the shipped weights, a reduced form of the table in docs/shift.md


@pytest.fixture(scope="module")
def learned():
    matcher = load_shift_matcher(device="cpu")

    def match(patches0, patches1):
        found = matcher.match_patches(patches0[:, None] / 255, patches1[:, None] / 255)
        return found.displacement.numpy()

    return match


@pytest.fixture(scope="module")
def photographs():
    datasets = pytest.importorskip("sklearn.datasets", reason="the photographs are in scikit-learn")
    weights = np.array([0.299, 0.587, 0.114])
    return [np.round(image @ weights) for image in datasets.load_sample_images().images]


@pytest.fixture(scope="module")
def held_out():
    digits = load_digits("embedded", "data")
    return sample_digit_pairs(digits[split_indices(len(digits), "test")], 2000, seed=0)


def test_shipped_weights_match_held_out_digits(learned, held_out):
    assert percent_exact(learned, held_out) >= 99.9


@pytest.mark.parametrize("blank", ["patches0", "patches1"])
def test_shipped_weights_are_at_chance_when_a_frame_is_blank(learned, held_out, blank):
    fields = vars(held_out) | {blank: np.zeros_like(held_out.patches0)}
    assert 9 <= percent_exact(learned, PatchPairs(**fields)) <= 13


def test_shipped_weights_transfer_to_clean_photographs(learned, photographs):
    assert percent_exact(learned, sample_pairs(photographs, 2000, seed=7)) >= 99.9


@pytest.mark.parametrize(("noise", "gain"), [(3.0, 0.0), (8.0, 0.1)])
def test_shipped_weights_are_at_least_as_good_as_blurred_ncc_under_noise(
    learned, photographs, noise, gain
):
    pairs = add_noise_and_gain(sample_pairs(photographs, 2000, seed=8), noise, gain, seed=8)
    baseline = percent_exact(lambda a, b: match_ncc(a, b, blur=0.8), pairs)
    assert percent_exact(learned, pairs) >= baseline
