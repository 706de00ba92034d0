"""The evidence of a detection, and its probability."""

import pytest
import torch
from textures import detailed
from torch.nn import functional as F

from patchmatch.templates.backbones import load_backbone
from patchmatch.templates.confidence import (
    REGRESSIONS,
    Evidence,
    aligned_similarity,
    gather_evidence,
    probability,
    regression_of,
)
from patchmatch.templates.features import (
    FeatureNormalization,
    NormalizedSceneFeatures,
    SceneFeatures,
)

NONE = Evidence(
    votes=-3.5, size=5.0, similarity=0.4, quality=-3.0, top_quality=-1.5, box_quality=-1.5
)


@pytest.fixture(scope="module")
def scene():
    image = torch.from_numpy(detailed(64, 96, 3)).movedim(-1, 0)
    features = SceneFeatures(load_backbone("handcrafted"), image, 2**30)
    return NormalizedSceneFeatures(features, features.moments.normalization())


def cells_of(scene, left, top, right, bottom):
    """Return the features of a rectangle of cells, and the positions of these cells."""
    y, x = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
    positions = torch.stack([x, y], dim=-1).flatten(0, 1).float()
    return scene[slice(0, len(scene))][(y * 24 + x).flatten()], positions


def test_window_holds_the_cells_of_a_rectangle(scene):
    window = scene.window(3, 2, 10, 7)
    expected, _ = cells_of(scene, 3, 2, 10, 7)
    torch.testing.assert_close(window.flatten(0, 1), expected)


def test_similarity_is_one_where_the_object_is_and_lower_elsewhere(scene):
    template, positions = cells_of(scene, 5, 4, 12, 10)
    assert aligned_similarity(template, positions, scene) == pytest.approx(1, abs=1e-5)
    one_cell = torch.tensor([0.9, -1.1])  # within the 3x3 cells around each
    assert aligned_similarity(template, positions + one_cell, scene) == pytest.approx(1, abs=1e-5)
    away = aligned_similarity(template, positions + torch.tensor([9.0, 2]), scene)
    assert away < 0.6


def test_similarity_agrees_with_the_formula_of_one_feature(scene):
    template = F.normalize(torch.randn(1, scene[slice(0, 1)].shape[1]), dim=1)
    expected = (scene.window(6, 4, 9, 7).flatten(0, 1) @ template[0]).max()
    found = aligned_similarity(template, torch.tensor([[7.3, 4.8]]), scene)
    assert found == pytest.approx(expected.item(), abs=1e-5)


def test_positions_outside_the_scene_take_its_border(scene):
    template, _ = cells_of(scene, 23, 15, 24, 16)
    far = torch.tensor([[500.0, 400.0]])
    assert aligned_similarity(template, far, scene) == pytest.approx(1, abs=1e-5)


def test_evidence_of_matches():
    quality = torch.linspace(-10, 0, 101)
    found = gather_evidence(0.24, 0.5, quality, -2.0)
    assert found.votes == pytest.approx(-1.3863, abs=1e-3)  # of 0.25
    assert found.size == pytest.approx(4.6151, abs=1e-3)
    assert found.quality == pytest.approx(-5, abs=1e-4)
    assert found.top_quality == pytest.approx(-1, abs=1e-4)
    assert (found.similarity, found.box_quality) == (0.5, -2)


@pytest.mark.parametrize("regression", list(REGRESSIONS))
def test_probability_rises_with_votes_and_falls_with_poses(regression):
    more = NONE._replace(votes=-0.3)
    assert probability(NONE, regression) < 0.3
    assert probability(more, regression) > 0.6
    odds = [p / (1 - p) for p in (probability(more, regression, n) for n in (1, 4))]
    assert odds[0] == pytest.approx(4 * odds[1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("network", True, False), "network"),
        (("network", True, True), "network"),
        (("handcrafted", True, False), "crop"),
        (("handcrafted", True, True), "surrounded"),
        (("network", False, True), "votes"),
    ],
)
def test_regression_depends_on_features_and_score(given, expected):
    assert regression_of(*given) == expected


def test_normalization_of_the_scene_is_used():
    image = torch.from_numpy(detailed(32, 32, 1)).movedim(-1, 0)
    features = SceneFeatures(load_backbone("handcrafted"), image, 2**30)
    moments = features.moments.normalization()
    doubled = FeatureNormalization(moments.mean, [2 * std for std in moments.std])
    torch.testing.assert_close(
        NormalizedSceneFeatures(features, doubled).window(0, 0, 4, 4),
        NormalizedSceneFeatures(features, moments).window(0, 0, 4, 4),
    )
