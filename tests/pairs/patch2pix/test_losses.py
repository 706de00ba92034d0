"""Sampson distance and the losses of Patch2Pix."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from patchmatch.pairs.patch2pix.losses import geometric_loss, inlier_loss, sampson_distance

X_SHIFT = torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)


def points(seed, count=20):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0, 100, (2, count, 2))).unbind()


def test_distance_follows_its_definition():
    matrix = torch.from_numpy(np.random.default_rng(3).normal(size=(3, 3)))
    points0, points1 = points(0)
    for x0, x1, distance in zip(
        points0, points1, sampson_distance(matrix, points0, points1), strict=True
    ):
        ray0, ray1 = np.r_[x0, 1], np.r_[x1, 1]
        line1, line0 = matrix.numpy() @ ray0, matrix.numpy().T @ ray1
        expected = (ray1 @ line1) ** 2 / (np.sum(line1[:2] ** 2) + np.sum(line0[:2] ** 2))
        assert float(distance) == pytest.approx(expected)
    assert_close(sampson_distance(5 * matrix, points0, points1)[-1], distance)


def test_distance_of_a_shift_is_half_of_the_squared_offset():
    points0, _ = points(0)
    offset = torch.tensor([7.0, 3.0], dtype=torch.float64)  # only y leaves the epipolar line
    distance = sampson_distance(X_SHIFT, points0, points0 + offset)
    assert_close(distance, torch.full_like(distance, 4.5))


def test_a_matrix_without_lines_has_a_finite_distance():
    distance = sampson_distance(torch.zeros(3, 3).double(), *points(1))
    assert (distance == 0).all()


def test_gradients_of_the_distance():
    points0, points1 = (p.requires_grad_() for p in points(2, 5))
    matrix = torch.from_numpy(np.random.default_rng(4).normal(size=(3, 3)))
    assert torch.autograd.gradcheck(lambda a, b: sampson_distance(matrix, a, b), (points0, points1))


def test_only_matches_near_their_lines_train_the_displacement():
    distance = torch.tensor([8.0, 3.0, 99.0], requires_grad=True)
    loss = geometric_loss(distance, torch.tensor([49.0, 1.0, 51.0]), 50.0)
    expected = [(0.25**2 + square) ** 0.5 - 0.25 for square in (8, 3)]
    assert float(loss.detach()) == pytest.approx(sum(expected) / 2)
    loss.backward()
    assert distance.grad[2] == 0
    assert float(geometric_loss(distance, torch.full((3,), 60.0), 50.0)) == 0


def test_both_classes_weigh_the_same():
    inlier = torch.tensor([True, False, False, False])
    right = inlier_loss(torch.tensor([9.0, -9, -9, -9]), inlier)
    missed = inlier_loss(torch.tensor([-9.0, -9, -9, -9]), inlier)
    wrong = inlier_loss(torch.tensor([9.0, 9, 9, 9]), inlier)
    assert right < 1e-3
    assert_close(missed, wrong)
