import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from patchmatch.templates import qatm
from patchmatch.templates.qatm import (
    LazyFeatures,
    best_matches,
    correlation_scores,
    qatm_scores,
    rank_scores,
)
from patchmatch.templates.soft_rank import soft_rank


def features(count, dimension=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dimension, generator=generator), dim=1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of two scene features, for seven template features."""
    monkeypatch.setattr(qatm, "_MIN_ROWS", 2)
    monkeypatch.setattr(qatm, "_CPU_BLOCK", 20)
    monkeypatch.setattr(qatm, "_GPU_BLOCK", 20)


def best_by_loops(quality):
    """Return scene scores, template scores and scene indices of a table (S, T)."""
    scene = [max(row) for row in quality]
    columns = list(zip(*quality, strict=True))
    template = [max(column) for column in columns]
    index = [column.index(max(column)) for column in columns]
    return torch.tensor(scene), torch.tensor(template), torch.tensor(index)


def qatm_by_loops(scene, template, alpha):
    cosines = [[float(s @ t) for t in template.double()] for s in scene.double()]
    exponentials = [[math.exp(alpha * c) for c in row] for row in cosines]
    over_scene = [sum(column) for column in zip(*exponentials, strict=True)]
    return [
        [math.log(math.sqrt((e / over_scene[t]) * (e / sum(row)))) for t, e in enumerate(row)]
        for row in exponentials
    ]


def both(device, dtype=torch.float32):
    """Return the features of a scene and of a template."""
    return features(11).to(device, dtype), features(7, seed=1).to(device, dtype)


SCORES = pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])


@pytest.mark.parametrize("alpha", [1.0, 25.0, 40.0, 90.0])
@pytest.mark.parametrize("cache_bytes", [0, 200, 2**29])
def test_qatm_agrees_with_loops_in_float64(alpha, cache_bytes, small_blocks, device, dtype):
    scene, template = both(device, dtype)
    found = best_matches(qatm_scores(scene, template, alpha, cache_bytes))
    expected = best_by_loops(qatm_by_loops(scene, template, alpha))
    assert_close(found.scene_score.cpu().float(), expected[0].float(), rtol=1e-4, atol=1e-4)
    assert_close(found.template_score.cpu().float(), expected[1].float(), rtol=1e-4, atol=1e-4)
    assert_close(found.scene_index.cpu(), expected[2])


@pytest.mark.parametrize(("cache_bytes", "computed"), [(0, 12), (27, 12), (2 * 28, 11), (2**20, 6)])
def test_similarities_outside_the_cache_are_computed_twice(
    cache_bytes, computed, small_blocks, monkeypatch
):
    matmul_with, multiplied = qatm._matmul_with, []  # six blocks, rows of 28 bytes

    def counting(template):
        multiply = matmul_with(template)
        return lambda rows, columns=None: (
            multiplied.append(columns is None) or multiply(rows, columns)
        )

    monkeypatch.setattr(qatm, "_matmul_with", counting)
    best_matches(qatm_scores(features(11), features(7, seed=1), cache_bytes=cache_bytes))
    assert sum(multiplied) == computed


def test_unique_match_has_quality_one_and_duplicates_share_it():
    (e0, e1, e2) = torch.eye(3)

    def match(scene, template):
        return best_matches(qatm_scores(torch.stack(scene), torch.stack(template), alpha=40.0))

    unique = match([e0, e1], [e1, e0])
    assert_close(unique.scene_score.exp(), torch.ones(2))
    assert unique.scene_index.tolist() == [1, 0]
    duplicate = match([e0, e0, e1], [e1, e0])
    assert_close(duplicate.scene_score.exp(), torch.tensor([0.5**0.5, 0.5**0.5, 1]))
    in_both = match([e0, e0, e1], [e0, e0, e2])
    assert_close(in_both.scene_score.exp()[:2], torch.tensor([0.5, 0.5]))


def test_identical_features_give_no_nan():
    found = best_matches(qatm_scores(torch.zeros(6, 3), torch.zeros(4, 3), alpha=90.0))
    assert_close(found.scene_score.exp(), torch.full((6,), (1 / 24) ** 0.5))
    assert found.scene_index.tolist() == [0, 0, 0, 0]


@SCORES
def test_suppressed_features_compete_but_are_not_best_matches(score, device, dtype):
    scene, template = both(device, dtype)
    unsuppressed = torch.arange(11, device=device) % 3 > 0
    every = best_matches(score(scene, template))
    some = best_matches(score(scene, template), unsuppressed)
    assert_close(some.scene_score, every.scene_score)
    assert unsuppressed[some.scene_index].all()
    same = unsuppressed[every.scene_index]
    assert 0 < same.sum() < 7
    assert_close(some.template_score[same], every.template_score[same])
    assert (some.template_score[~same] < every.template_score[~same]).all()


@SCORES
def test_only_groups_with_changed_suppression_are_searched_again(score, small_blocks):
    scores = score(features(11), features(7, seed=1))
    every = best_matches(scores)
    copies = [part.clone() for part in every]
    searched = []

    def watch(rows, columns=None):
        if columns is not None:
            return scores.block(rows, columns)
        searched.append(rows.start)
        return scores.block(rows)

    watched = scores._replace(block=watch)
    unsuppressed = torch.ones(11, dtype=torch.bool)
    unsuppressed[[3, 4, 10]] = False
    some = best_matches(watched, unsuppressed, every)
    assert searched == [2, 4, 10]
    again = best_matches(watched, None, some)
    expected = best_matches(scores, unsuppressed)
    for found, other in ((some, expected), (again, every), (every, copies)):
        for part, other_part in zip(found, other, strict=True):
            assert torch.equal(part, other_part)


@SCORES
def test_suppression_that_is_changed_in_place_is_noticed(score, small_blocks):
    scores = score(features(11), features(7, seed=1))
    unsuppressed = torch.ones(11, dtype=torch.bool)
    every = best_matches(scores, unsuppressed)
    unsuppressed[every.scene_index[0]] = False
    some = best_matches(scores, unsuppressed, every)
    for part, other in zip(some, best_matches(scores, unsuppressed), strict=True):
        assert torch.equal(part, other)


class ClonedRows(LazyFeatures):
    """Features that are copied on demand."""

    def __init__(self, features):
        self.features = features

    def __len__(self):
        return len(self.features)

    def __getitem__(self, rows):
        return self.features[rows].clone()


@SCORES
def test_lazy_features_give_the_same_matches(score, small_blocks):
    scene, template = features(11), features(7, seed=1)
    for found, expected in zip(
        best_matches(score(ClonedRows(scene), template)),
        best_matches(score(scene, template)),
        strict=True,
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_number_of_groups_does_not_change_matches(groups, small_blocks, monkeypatch):
    scores = qatm_scores(features(11), features(7, seed=1), cache_bytes=0)  # six blocks
    unsuppressed = torch.ones(11, dtype=torch.bool)
    unsuppressed[[3, 4, 10]] = False
    every, some = best_matches(scores), best_matches(scores, unsuppressed)
    monkeypatch.setattr(qatm, "_MAX_GROUPS", groups)
    first = best_matches(scores)
    assert len(first.group_maxima) == {1: 1, 2: 2, 4: 3}[groups] < len(every.group_maxima)
    for found, expected in ((first, every), (best_matches(scores, unsuppressed, first), some)):
        assert_close(found.scene_score, expected.scene_score)
        assert_close(found.template_score, expected.template_score)
        assert torch.equal(found.scene_index, expected.scene_index)


def test_block_fits_the_cache_on_a_cpu_and_memory_elsewhere():
    for count in (7, 300, 5000):
        rows = qatm._block_rows(torch.zeros(count, 1))
        assert rows % 128 == 0
        assert 128 <= rows <= 1024
        assert rows == 128 or rows * count <= 2**18
    on_gpu = qatm._block_rows(torch.zeros(300, 1, device="meta"))
    assert 2**25 < on_gpu * 300 <= 2**26


def test_arguments_are_not_modified():
    scene, template = features(11), features(7, seed=1)
    copies = scene.clone(), template.clone()
    best_matches(qatm_scores(scene, template))
    assert torch.equal(scene, copies[0])
    assert torch.equal(template, copies[1])


def test_correlation_agrees_with_loops(small_blocks, device, dtype):
    scene, template = both(device, dtype)
    cosines = [[float(s @ t) for t in template.double()] for s in scene.double()]
    expected = best_by_loops(cosines)
    found = best_matches(correlation_scores(scene, template))
    assert_close(found.scene_score.cpu().float(), expected[0].float())
    assert_close(found.template_score.cpu().float(), expected[1].float())
    assert_close(found.scene_index.cpu(), expected[2])


def logistic(x):
    return 1 / (1 + math.exp(-x))


def ranks_by_loops(row, temperature):
    return [
        1 + sum(logistic((b - a) / temperature) for j, b in enumerate(row) if j != i)
        for i, a in enumerate(row)
    ]


@SCORES
def test_no_gradients_flow_to_the_features(score, device, dtype):
    scene, template = both(device, dtype)
    expected = best_matches(score(scene, template))
    scores = score(scene.requires_grad_(), template.requires_grad_())
    assert not scores.block(slice(2, 5)).requires_grad
    found = best_matches(scores)
    assert_close(found, expected, rtol=0, atol=0)
    assert not found.scene_score.requires_grad
    assert not found.template_score.requires_grad


@SCORES
def test_features_of_different_dtypes_raise(score):
    with pytest.raises(
        ValueError, match=r"same dtype, got torch\.float64 and torch\.float32; conv"
    ):
        score(features(11).double(), features(7))


def test_soft_ranks_agree_with_loops_and_harden_with_the_temperature(device, dtype):
    kind = {"device": device, "dtype": dtype}
    values = torch.tensor([[0.3, -0.2, 0.9, 0.25], [0.1, 0.1, -0.5, 0.2]], **kind)
    expected = [ranks_by_loops(row, 0.1) for row in values.tolist()]
    assert_close(soft_rank(values, 0.1), torch.tensor(expected, **kind))
    hard = torch.tensor([[2.0, 4, 1, 3], [2.5, 2.5, 4, 1]], **kind)  # equal values share a rank
    assert_close(soft_rank(values, 1e-3), hard)


def test_soft_ranks_are_differentiable():
    values = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: soft_rank(v, 0.2), [values])


def test_rank_quality_agrees_with_loops(small_blocks, device, dtype):
    scene, template = both(device, dtype)
    cosines = scene.double() @ template.double().T
    in_column = torch.tensor([ranks_by_loops(c, 0.05) for c in cosines.T.tolist()]).T
    in_row = torch.tensor([ranks_by_loops(r, 0.05) for r in cosines.tolist()])
    quality = -(in_column.log() + in_row.log()) / 2
    found = best_matches(rank_scores(scene, template, 0.05))
    assert_close(found.scene_score.cpu().float(), quality.amax(dim=1).float(), rtol=0, atol=5e-3)
    assert_close(found.scene_index.cpu(), quality.argmax(dim=0))


@SCORES
def test_empty_features_raise(score):
    with pytest.raises(ValueError, match="at least one feature each, got 0 and 4"):
        score(torch.zeros(0, 3), torch.zeros(4, 3))
