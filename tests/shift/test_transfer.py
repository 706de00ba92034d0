from functools import partial

import numpy as np
import pytest

from patchmatch import load_shift_matcher
from patchmatch.shift import transfer
from patchmatch.shift.transfer import (
    Pairs,
    cut_digit_pairs,
    cut_pairs,
    disturb,
    exact_share,
    match_by_ncc,
    match_by_ssd,
)
from patchmatch.synthetic.digits import load_digits, split_indices


def noise_images(count=2, height=60, width=75):
    return list(np.random.default_rng(0).uniform(0, 255, (count, height, width)))


def test_pairs_follow_the_convention_of_displacement():
    pairs = cut_pairs(noise_images(), 50, seed=0)
    assert {tuple(d) for d in pairs.displacement.tolist()} == set(transfer.SHIFTS)
    for patch0, patch1, (dx, dy) in zip(*vars(pairs).values(), strict=True):
        assert patch0[10, 12] == patch1[10 + dy, 12 + dx]


def test_flat_images_are_refused():
    with pytest.raises(ValueError, match="too few patches with texture to cut 10 pairs"):
        cut_pairs([np.full((60, 60), 7.0)], 10, seed=0)
    with pytest.raises(ValueError, match="too few patches"):
        cut_pairs([], 10, seed=0)


@pytest.mark.parametrize(
    "match", [match_by_ssd, match_by_ncc, partial(match_by_ncc, symmetric=True)]
)
def test_matching_by_hand_is_exact_on_clean_pairs(match):
    assert exact_share(match, cut_pairs(noise_images(), 50, seed=1)) == 100


def test_exact_share_counts_one_planted_mistake():
    pairs = cut_pairs(noise_images(), 4, seed=2)
    wrong = pairs.displacement.copy()
    wrong[1, 0] = 7
    assert exact_share(lambda a, b: wrong, pairs) == 75


def test_noise_and_gain_are_what_they_are_called():
    flat = np.full((400, 26, 26), 100, np.float32)
    disturbed = disturb(Pairs(flat, flat, np.zeros((400, 2), int)), noise=8, gain=0.1, seed=0)
    assert np.std(disturbed.patches0) == pytest.approx(8, rel=0.02)
    means = disturbed.patches1.mean((1, 2))
    assert means.min() > 89
    assert means.max() < 111
    assert np.std(means) == pytest.approx(100 * 0.1 / 3**0.5, rel=0.1)
    assert np.all(flat == 100)


# -- what the shipped weights must reach: docs/benchmarks.md, reduced to a minute's work


@pytest.fixture(scope="module")
def learned():
    matcher = load_shift_matcher(device="cpu")

    def match(patches0, patches1):
        found = matcher.match_patches(patches0[:, None] / 255, patches1[:, None] / 255)
        return found.displacement.numpy()

    return match


@pytest.fixture(scope="module")
def photographs():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the photographs")
    weights = np.array([0.299, 0.587, 0.114])
    return [np.round(image @ weights) for image in datasets.load_sample_images().images]


@pytest.fixture(scope="module")
def held_out():
    digits = load_digits("embedded", "data")
    return cut_digit_pairs(digits[split_indices(len(digits), "test")], 2000, seed=0)


def test_shipped_weights_read_held_out_digits(learned, held_out):
    assert exact_share(learned, held_out) >= 99.9


@pytest.mark.parametrize("blank", ["patches0", "patches1"])
def test_shipped_weights_are_at_chance_when_a_frame_is_blank(learned, held_out, blank):
    fields = vars(held_out) | {blank: np.zeros_like(held_out.patches0)}
    assert 9 <= exact_share(learned, Pairs(**fields)) <= 13


def test_shipped_weights_transfer_to_clean_photographs(learned, photographs):
    assert exact_share(learned, cut_pairs(photographs, 2000, seed=7)) >= 99.9


@pytest.mark.parametrize(("noise", "gain"), [(3.0, 0.0), (8.0, 0.1)])
def test_shipped_weights_pass_blurred_correlation_under_noise(learned, photographs, noise, gain):
    pairs = disturb(cut_pairs(photographs, 2000, seed=8), noise, gain, seed=8)
    by_hand = exact_share(lambda a, b: match_by_ncc(a, b, blur=0.8), pairs)
    assert exact_share(learned, pairs) >= by_hand
