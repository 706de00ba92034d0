"""Matching by several matchers: who answers, and what happens without weights."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from program_runs import one_line, rows, write
from textures import blobs

import patchmatch
from patchmatch.cli import main
from patchmatch.core.errors import InputError
from patchmatch.ops.homography import corner_error
from patchmatch.pairs import auto
from patchmatch.pairs.auto import STAGES, AutoMatcher, Stage
from patchmatch.pairs.correspondences import CorrespondenceMatcher
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.verdict import overlap_kind

SCENE = blobs(200, 260, 3, spacing=9)


class Shifted(CorrespondenceMatcher):
    """Claims that image 1 is image 0 shifted by a fixed number of pixels, with a grid of points."""

    finds_homographies = True
    shift = 60.0

    def find_correspondences(self, image0, image1, valid0, valid1):
        points = torch.cartesian_prod(torch.arange(10.0, 130, 8), torch.arange(10.0, 180, 8))
        moved = points + torch.tensor([self.shift, 0.0])
        return Correspondences(points0=points, points1=moved, score=torch.ones(len(points)))


class Unavailable(SIFTMatcher):
    """A matcher whose weights are not there."""

    def prepare(self):
        raise InputError("the weights of Unavailable are missing")


class NotInstalled(SIFTMatcher):
    """A matcher that would have to download its weights."""

    @classmethod
    def is_installed(cls):
        return False

    def prepare(self):
        raise AssertionError("must not be loaded")


@pytest.fixture
def stages(monkeypatch):
    """Stages of which the first one is wrong, and its homography contradicted by the images."""

    def use(**kinds):
        table = {name: Stage(kind) for name, kind in kinds.items()}
        monkeypatch.setattr(auto, "STAGES", table)
        return AutoMatcher().eval()

    return use


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image, np.float32) / 255).movedim(-1, 0)[None]


def test_the_first_answer_that_the_images_agree_with_is_given():
    found = patchmatch.match_images(SCENE[:, :240], SCENE[:, 10:250])
    assert found.matcher == next(iter(STAGES)) == "homography_net"
    assert found.homography[0, 2] == pytest.approx(-10, abs=0.1)


def test_another_matcher_is_tried_where_the_images_contradict(stages):
    """All matches of the first matcher agree on its homography, and it is wrong."""
    images = as_tensor(SCENE[:, :240]), as_tensor(SCENE[:, 10:250])
    wrong = Shifted(align=False).match(*images)
    assert wrong.inliers.all()
    found = stages(wrong=Shifted, sift=SIFTMatcher).match(*images)
    assert found.matcher == "sift"
    assert found.homography[0, 2] == pytest.approx(-10, abs=0.1)
    assert found.seconds > 0


def test_a_turned_and_enlarged_image_is_found():
    turn = np.vstack([cv2.getRotationMatrix2D((129.5, 99.5), 110, 1.4), [0, 0, 1]])
    image1 = cv2.warpPerspective(SCENE, turn, (260, 200), flags=cv2.INTER_CUBIC)
    found = patchmatch.match_images(SCENE, image1)
    assert found.matcher in ("sift", "homography_search")
    assert corner_error(found.homography, torch.from_numpy(turn), 200, 260) < 1.5


def test_unrelated_images_get_an_answer_that_is_not_accepted(stages):
    matcher = stages(wrong=Shifted, sift=SIFTMatcher)
    found = matcher.match(as_tensor(SCENE), as_tensor(blobs(200, 260, 8, spacing=9)))
    assert overlap_kind(found) != "overlapping"
    assert found.matcher in ("wrong", "sift")


def test_of_answers_that_are_not_accepted_the_one_that_aligns_most_is_given(stages):
    """Half of the images are unrelated, and the first matcher is wrong about the other half."""
    image1 = SCENE[:, 10:250].copy()
    image1[60:] = blobs(140, 240, 9, spacing=9)
    found = stages(wrong=Shifted, sift=SIFTMatcher).match(
        as_tensor(SCENE[:, :240]), as_tensor(image1)
    )
    assert found.matcher == "sift"
    assert found.homography[0, 2] == pytest.approx(-10, abs=0.5)


def test_missing_weights_leave_a_matcher_out(stages):
    matcher = stages(none=NotInstalled, broken=Unavailable, sift=SIFTMatcher)
    found = matcher.match(as_tensor(SCENE[:, :240]), as_tensor(SCENE[:, 10:250]))
    assert found.matcher == "sift"
    with pytest.raises(InputError, match="none of the matchers none, broken can be used"):
        stages(none=NotInstalled, broken=Unavailable).match(as_tensor(SCENE), as_tensor(SCENE))


def test_missing_weights_of_a_requested_matcher_raise(monkeypatch):
    monkeypatch.setitem(STAGES, "broken", Stage(Unavailable))
    with pytest.raises(InputError, match="the weights of Unavailable are missing"):
        AutoMatcher(matchers=("broken", "sift")).prepare()


def test_an_epipolar_matrix_is_not_left_to_a_matcher_of_homographies(stages):
    matcher = stages(wrong=Shifted, sift=SIFTMatcher)
    matcher.epipolar = "fundamental"
    found = matcher.match(as_tensor(SCENE[:, :240]), as_tensor(SCENE[:, 10:250]))
    assert found.matcher == "sift"
    assert found.epipolar is not None
    only = stages(wrong=Shifted)
    only.epipolar = "fundamental"
    with pytest.raises(InputError, match="they find homographies only"):
        only.match(as_tensor(SCENE), as_tensor(SCENE))


def test_options_reach_the_matchers():
    matcher = AutoMatcher(max_size=500, threshold=2.0, align=False, seed=4, max_matches=20)
    for name in ("sift", "asift"):
        loaded = matcher._matcher(name)
        assert (loaded.threshold, loaded.align, loaded.seed, loaded.max_matches) == (
            2,
            False,
            4,
            20,
        )
        assert loaded.max_size == 500
    assert AutoMatcher(max_size=None)._matcher("asift").max_size == 640
    assert len(patchmatch.match_images(SCENE, SCENE, matchers=("sift",), max_matches=7)) == 7


def test_unknown_and_no_matchers_raise():
    with pytest.raises(ValueError, match=r"matchers must be of homography_net, .* got surf"):
        AutoMatcher(matchers=("sift", "surf"))
    with pytest.raises(ValueError, match="got none"):
        AutoMatcher(matchers=())


def test_the_table_and_the_summary_name_the_matcher_that_answered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    turned = np.ascontiguousarray(np.rot90(SCENE))
    for name, image1 in (("near", SCENE[:, 10:250]), ("turned", turned)):
        write(tmp_path / "in" / "image_1" / f"{name}.png", SCENE[:, :240])
        write(tmp_path / "in" / "image_2" / f"{name}.png", image1)
    quick = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu")
    main(["predict", "-c", "match_auto", "--data.pairs=in", "--writer.output_path=out", *quick])
    named = {row["name"]: row["matcher"] for row in rows()}
    assert named == {"near": "homography_net", "turned": "sift"}
    assert "answers of homography_net: 1, sift: 1" in capsys.readouterr().out
    again = ["predict", "-c", "match_auto", "--data.pairs=in", "--writer.output_path=two", *quick]
    main([*again, "--model.matchers=[sift]", "--writer.pictures_size=null"])
    assert {row["matcher"] for row in rows(Path("two/pairs.csv"))} == {"sift"}
    line = one_line(capsys, lambda: main([*again, "--model.matchers=[surf]"]))
    assert "matchers must be of homography_net, sift" in line


def test_the_name_is_kept_when_matches_are_selected():
    found = patchmatch.match_images(SCENE[:, :240], SCENE[:, 10:250], matchers=("sift",))
    assert found[:5].matcher == "sift"
    assert "matcher" in {field.name for field in dataclasses.fields(found)}
