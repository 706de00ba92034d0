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


def best_by_loops(quality):
    """The maxima of a table (S, T) of numbers."""
    scene = [max(row) for row in quality]
    columns = list(zip(*quality, strict=True))
    template = [max(column) for column in columns]
    place = [column.index(max(column)) for column in columns]
    return torch.tensor(scene), torch.tensor(template), torch.tensor(place)


def qatm_by_loops(scene, template, alpha):
    cosines = [[float(s @ t) for t in template.double()] for s in scene.double()]
    exponentials = [[math.exp(alpha * c) for c in row] for row in cosines]
    over_scene = [sum(column) for column in zip(*exponentials, strict=True)]
    return [
        [math.log(math.sqrt((e / over_scene[t]) * (e / sum(row)))) for t, e in enumerate(row)]
        for row in exponentials
    ]


@pytest.mark.parametrize("alpha", [1.0, 25.0, 40.0, 90.0])
@pytest.mark.parametrize("memory", [0, 200, 2**29])
def test_qatm_agrees_with_a_loop_in_float64(alpha, memory, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr(
        "patchmatch.templates.qatm._CPU_BLOCK", 20
    )  # blocks of two rows, the last of one
    scene, template = features(11), features(7, seed=1)
    found = best_matches(qatm_scores(scene, template, alpha, memory))
    expected = best_by_loops(qatm_by_loops(scene, template, alpha))
    assert_close(found.scene, expected[0].float(), rtol=1e-4, atol=1e-4)
    assert_close(found.template, expected[1].float(), rtol=1e-4, atol=1e-4)
    assert_close(found.place, expected[2])


@pytest.mark.parametrize(("memory", "computed"), [(0, 12), (27, 12), (2 * 28, 11), (2**20, 6)])
def test_similarities_are_computed_twice_where_too_few_would_be_kept(memory, computed, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr("patchmatch.templates.qatm._CPU_BLOCK", 20)  # six blocks, rows of 28 bytes
    products, multiplied = qatm._matmul_with, []

    def counting(template):
        multiply = products(template)
        return lambda rows, some=None: multiplied.append(some is None) or multiply(rows, some)

    monkeypatch.setattr("patchmatch.templates.qatm._matmul_with", counting)
    best_matches(qatm_scores(features(11), features(7, seed=1), memory=memory))
    assert sum(multiplied) == computed


def test_a_pair_alone_is_certain_and_a_doubled_one_is_worth_half():
    (e0, e1, e2) = torch.eye(3)

    def match(scene, template):
        return best_matches(qatm_scores(torch.stack(scene), torch.stack(template), alpha=40.0))

    sure = match([e0, e1], [e1, e0])
    assert_close(sure.scene.exp(), torch.ones(2))
    assert sure.place.tolist() == [1, 0]
    doubled = match([e0, e0, e1], [e1, e0])
    assert_close(doubled.scene.exp(), torch.tensor([0.5**0.5, 0.5**0.5, 1]))
    both = match([e0, e0, e1], [e0, e0, e2])
    assert_close(both.scene.exp()[:2], torch.tensor([0.5, 0.5]))


def test_features_that_are_all_alike_give_no_nan():
    found = best_matches(qatm_scores(torch.zeros(6, 3), torch.zeros(4, 3), alpha=90.0))
    assert_close(found.scene.exp(), torch.full((6,), (1 / 24) ** 0.5))
    assert found.place.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
def test_what_is_not_free_competes_and_is_no_best_match(score):
    scene, template = features(11), features(7, seed=1)
    free = torch.arange(11) % 3 > 0
    every = best_matches(score(scene, template))
    some = best_matches(score(scene, template), free)
    assert_close(some.scene, every.scene)
    assert free[some.place].all()
    same = free[every.place]
    assert 0 < same.sum() < 7
    assert_close(some.template[same], every.template[same])
    assert (some.template[~same] < every.template[~same]).all()


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
def test_only_the_blocks_that_changed_are_looked_through_again(score, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr(
        "patchmatch.templates.qatm._CPU_BLOCK", 20
    )  # blocks of two rows, the last of one
    scores = score(features(11), features(7, seed=1))
    every = best_matches(scores)
    copies = [part.clone() for part in every]
    asked = []

    def watch(rows, some=None):
        if some is not None:
            return scores.table(rows, some)
        asked.append(rows.start)
        return scores.table(rows)

    watched = scores._replace(table=watch)
    free = torch.ones(11, dtype=torch.bool)
    free[[3, 4, 10]] = False
    some = best_matches(watched, free, every)
    assert asked == [2, 4, 10]
    again = best_matches(watched, None, some)
    for found, expected in ((some, best_matches(scores, free)), (again, every), (every, copies)):
        for part, other in zip(found, expected, strict=True):
            assert torch.equal(part, other)


class Made(LazyFeatures):
    """Features that exist only while they are asked for."""

    def __init__(self, features):
        self.hidden = features

    def __len__(self):
        return len(self.hidden)

    def __getitem__(self, rows):
        return self.hidden[rows].clone()


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
def test_features_may_be_made_when_they_are_asked_for(score, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr("patchmatch.templates.qatm._CPU_BLOCK", 20)
    scene, template = features(11), features(7, seed=1)
    for found, expected in zip(
        best_matches(score(Made(scene), template)),
        best_matches(score(scene, template)),
        strict=True,
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_blocks_that_are_looked_through_together_give_the_same(groups, monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr("patchmatch.templates.qatm._CPU_BLOCK", 20)  # six blocks, the last of one row
    scores = qatm_scores(features(11), features(7, seed=1), memory=0)
    free = torch.ones(11, dtype=torch.bool)
    free[[3, 4, 10]] = False
    every, some = best_matches(scores), best_matches(scores, free)
    monkeypatch.setattr("patchmatch.templates.qatm._MAX_GROUPS", groups)
    first = best_matches(scores)
    assert len(first.highest) == {1: 1, 2: 2, 4: 3}[groups] < len(every.highest)
    for found, expected in ((first, every), (best_matches(scores, free, first), some)):
        assert_close(found.scene, expected.scene)
        assert_close(found.template, expected.template)
        assert torch.equal(found.place, expected.place)


def test_its_arguments_are_left_as_they_are():
    scene, template = features(11), features(7, seed=1)
    copies = scene.clone(), template.clone()
    best_matches(qatm_scores(scene, template))
    assert torch.equal(scene, copies[0])
    assert torch.equal(template, copies[1])


def test_correlation_agrees_with_a_loop(monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr("patchmatch.templates.qatm._CPU_BLOCK", 20)
    scene, template = features(11), features(7, seed=1)
    cosines = [[float(s @ t) for t in template.double()] for s in scene.double()]
    expected = best_by_loops(cosines)
    found = best_matches(correlation_scores(scene, template))
    assert_close(found.scene, expected[0].float())
    assert_close(found.template, expected[1].float())
    assert_close(found.place, expected[2])


def logistic(x):
    return 1 / (1 + math.exp(-x))


def ranks_by_loops(row, temperature):
    return [
        1 + sum(logistic((b - a) / temperature) for j, b in enumerate(row) if j != i)
        for i, a in enumerate(row)
    ]


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_that_are_trained_are_matched_without_gradients(score, dtype):
    scene, template = features(11).to(dtype), features(7, seed=1).to(dtype)
    expected = best_matches(score(scene, template))
    scores = score(scene.requires_grad_(), template.requires_grad_())
    assert not scores.table(slice(2, 5)).requires_grad
    found = best_matches(scores)
    assert_close(found, expected, rtol=0, atol=0)
    assert not found.scene.requires_grad
    assert not found.template.requires_grad


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
def test_features_of_two_dtypes_are_refused(score):
    with pytest.raises(ValueError, match=r"one dtype, got torch\.float64 and torch\.float32; conv"):
        score(features(11).double(), features(7))


def test_soft_ranks_agree_with_a_loop_and_harden_with_the_temperature():
    values = torch.tensor([[0.3, -0.2, 0.9, 0.25], [0.1, 0.1, -0.5, 0.2]])
    expected = [ranks_by_loops(row, 0.1) for row in values.tolist()]
    assert_close(soft_rank(values, 0.1), torch.tensor(expected))
    hard = torch.tensor([[2.0, 4, 1, 3], [2.5, 2.5, 4, 1]])  # equals share their places
    assert_close(soft_rank(values, 1e-3), hard)


def test_soft_ranks_are_differentiable():
    values = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: soft_rank(v, 0.2), [values])


def test_rank_quality_agrees_with_a_loop(monkeypatch):
    monkeypatch.setattr("patchmatch.templates.qatm._MIN_ROWS", 2)
    monkeypatch.setattr("patchmatch.templates.qatm._CPU_BLOCK", 20)
    scene, template = features(11), features(7, seed=1)
    cosines = scene.double() @ template.double().T
    in_column = torch.tensor([ranks_by_loops(c, 0.05) for c in cosines.T.tolist()]).T
    in_row = torch.tensor([ranks_by_loops(r, 0.05) for r in cosines.tolist()])
    quality = -(in_column.log() + in_row.log()) / 2
    found = best_matches(rank_scores(scene, template, 0.05))
    assert_close(found.scene, quality.amax(dim=1).float(), rtol=0, atol=5e-3)
    assert_close(found.place, quality.argmax(dim=0))


@pytest.mark.parametrize("score", [qatm_scores, correlation_scores, rank_scores])
def test_no_features_are_refused(score):
    with pytest.raises(ValueError, match="at least one feature each, got 0 and 4"):
        score(torch.zeros(0, 3), torch.zeros(4, 3))
