"""SIFT, ASIFT, and what all pair matchers share."""

import cv2
import numpy as np
import pytest
import torch

import patchmatch
from patchmatch.core.errors import InputError
from patchmatch.ops.homography import warp_points
from patchmatch.pairs.asift import ASIFTMatcher, simulate_view, views
from patchmatch.pairs.correspondences import CorrespondenceMatcher
from patchmatch.pairs.points import downscale_pair
from patchmatch.pairs.results import Correspondences
from patchmatch.pairs.sift import SIFTMatcher

MILD = np.array([[0.9, 0.2, 20], [-0.18, 1.0, 60], [1e-4, -5e-5, 1]])


@pytest.fixture(scope="module")
def image():
    """A gray image with texture, 340x300 pixels."""
    noise = np.random.default_rng(0).random((75, 85)).astype(np.float32)
    large = cv2.resize(noise, (340, 300), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.0).clip(0, 1)


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]


def warped(image, homography, size=(360, 380)):
    return cv2.warpPerspective(image, homography, size)


def errors(found, homography):
    truth = torch.from_numpy(homography).float()
    return (warp_points(truth, found.keypoints0) - found.keypoints1).norm(dim=1)


@pytest.mark.parametrize(
    "matcher",
    [
        SIFTMatcher(),
        SIFTMatcher(root=False),
        SIFTMatcher(check="ratio"),
        SIFTMatcher(check="mutual", min_score=0.1),
        SIFTMatcher(max_size=300),
        SIFTMatcher(tile=128),
        SIFTMatcher(rotations=4),
        ASIFTMatcher(tilts=1),
    ],
    ids=["root", "plain", "ratio", "mutual", "downscaled", "tiles", "rotations", "asift"],
)
def test_warped_image_is_matched_correctly(matcher, image):
    found = matcher.match(as_tensor(image), as_tensor(warped(image, MILD)))
    assert len(found) > 100
    error = errors(found, MILD)
    assert (error < 2).float().mean() > 0.9
    assert (error[found.inliers] < 3).all()
    assert found.homography.numpy() == pytest.approx(MILD, abs=0.5)
    assert found.score.tolist() == sorted(found.score.tolist(), reverse=True)
    assert found.seconds > 0


def test_tiles_find_as_many_matches_as_the_whole_image(image):
    image0, image1 = as_tensor(image), as_tensor(warped(image, MILD))
    whole = SIFTMatcher(tile=None).match(image0, image1)
    tiles = SIFTMatcher(tile=128).match(image0, image1)
    assert len(tiles) == pytest.approx(len(whole), rel=0.1)


def test_convention_point_0_0_is_the_centre_of_the_top_left_pixel(image):
    """Doubling each pixel maps x to 2 x + 1/2, with and without internal downscaling."""
    image0, image1 = as_tensor(image), as_tensor(image.repeat(2, axis=0).repeat(2, axis=1))
    for matcher in (SIFTMatcher(), SIFTMatcher(max_size=340)):
        found = matcher.match(image0, image1)
        error = found.keypoints1 - (2 * found.keypoints0 + 0.5)
        assert error.median(dim=0).values.abs().max() < 0.06


def test_convention_keypoints_of_matches_share_rows_best_first(image):
    found = SIFTMatcher().match(as_tensor(image), as_tensor(image[:, 20:]))
    assert len(found.keypoints0) == len(found.keypoints1) == len(found.score)
    error = found.keypoints1 - found.keypoints0 - torch.tensor([-20.0, 0.0])
    assert (error.norm(dim=1) < 1).float().mean() > 0.95
    assert (found.score.diff() <= 0).all()


def test_convention_homography_takes_image0_to_image1(image):
    found = SIFTMatcher().match(as_tensor(image), as_tensor(image[:, 20:]))
    expected = np.array([[1, 0, -20], [0, 1, 0], [0, 0, 1]])
    assert found.homography.numpy() == pytest.approx(expected, abs=0.1)
    assert found.homography[2, 2] == 1


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_keypoints_are_not_biased(image, quarters):
    """Rotating an image about its centre rotates the keypoints about the same point."""
    found = SIFTMatcher().match(as_tensor(image), as_tensor(np.rot90(image, quarters)))
    x, y = found.keypoints0.unbind(dim=1)
    expected = {
        0: (x, y),
        1: (y, 339 - x),
        2: (339 - x, 299 - y),
        3: (299 - y, x),
    }[quarters]
    error = found.keypoints1 - torch.stack(expected, dim=1)
    assert error.median(dim=0).values.abs().max() < 0.02


class Upright(CorrespondenceMatcher):
    """Matches pixels with equal value at equal coordinates, so it is not rotation invariant."""

    def find_correspondences(self, image0, image1, valid0, valid1):
        same = (image0[0, 0] == image1[0, 0]) if image0.shape == image1.shape else torch.zeros(0, 0)
        points = same.nonzero().flip(1).float()
        return Correspondences(points0=points, points1=points, score=torch.ones(len(points)))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_best_of_four_rotations_is_kept(quarters):
    image0 = torch.rand(1, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    image1 = torch.rot90(image0, quarters, dims=(-2, -1))
    found = Upright(rotations=4).match(image0, image1)
    assert len(found) == 320
    assert bool(found.inliers.all())
    x0, y0 = found.keypoints0.long().unbind(dim=1)
    x1, y1 = found.keypoints1.long().unbind(dim=1)
    assert torch.equal(image0[0, 0, y0, x0], image1[0, 0, y1, x1])
    if quarters:
        assert len(Upright().match(image0, image1)) < 10


def test_invalid_pixels_are_not_matched(image):
    valid0, valid1 = torch.ones(1, 300, 340).bool(), torch.ones(1, 300, 340).bool()
    valid0[..., 170:], valid1[:, :150] = False, False
    for matcher in (SIFTMatcher(), SIFTMatcher(max_size=200), ASIFTMatcher(tilts=1)):
        found = matcher.match(as_tensor(image), as_tensor(image), valid0, valid1)
        assert len(found) > 20
        assert found.keypoints0[:, 0].max() < 171
        assert found.keypoints1[:, 1].min() > 148


def test_max_matches_and_min_score_keep_the_best_matches(image):
    image0, image1 = as_tensor(image), as_tensor(warped(image, MILD))
    all_matches = SIFTMatcher().match(image0, image1)
    best = SIFTMatcher(max_matches=7).match(image0, image1)
    assert torch.equal(best.keypoints0, all_matches.keypoints0[:7])
    middle = float(all_matches.score.median())
    high = SIFTMatcher(min_score=middle).match(image0, image1)
    assert len(high) == int((all_matches.score >= middle).sum())


def test_matching_is_deterministic(image):
    image0, image1 = as_tensor(image), as_tensor(warped(image, MILD))
    first, second = (SIFTMatcher().match(image0, image1) for _ in range(2))
    assert torch.equal(first.keypoints1, second.keypoints1)
    assert torch.equal(first.homography, second.homography)


def test_identical_images_have_the_identity_homography(image):
    for matcher in (SIFTMatcher(), ASIFTMatcher(tilts=1)):
        found = matcher.match(as_tensor(image), as_tensor(image))
        assert (found.keypoints0 - found.keypoints1).norm(dim=1).median() < 0.1
        assert found.homography.numpy() == pytest.approx(np.eye(3), abs=0.05)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (15, 40), (100, 20_000)], ids=["1x1", "1x300", "15x40", "100x20000"]
)
def test_extreme_shapes_are_accepted(image, shape):
    resized = as_tensor(np.resize(image, shape))
    found = SIFTMatcher().match(resized, as_tensor(image))
    assert found.keypoints0.shape == (len(found), 2)


def test_blank_image_has_no_matches(image):
    for matcher in (SIFTMatcher(), ASIFTMatcher(tilts=1)):
        found = matcher.match(as_tensor(np.full((50, 60), 0.5)), as_tensor(image))
        assert len(found) == 0
        assert found.keypoints0.shape == found.keypoints1.shape == (0, 2)
        assert found.inliers is None
        assert found.homography is None


def test_fewer_than_four_matches_give_no_homography(image):
    found = SIFTMatcher(max_matches=3).match(as_tensor(image), as_tensor(image))
    assert len(found) == 3
    assert found.homography is None


@pytest.fixture(scope="module")
def two_views():
    """Two views of a near and a far plane, the camera matrix and the relative pose."""
    camera = np.array([[400, 0, 200], [0, 420, 150], [0, 0, 1.0]])
    rotation1 = cv2.Rodrigues(np.array([0.02, -0.06, 0.03]))[0]
    translation1 = np.array([0.5, 0.05, 0.1])
    noise = np.random.default_rng(5).random((2, 75, 100)).astype(np.float32)
    planes = [cv2.resize(n, (400, 300), interpolation=cv2.INTER_CUBIC).clip(0, 1) for n in noise]
    near = np.zeros((300, 400), np.float32)
    near[60:240, 20:200] = 1
    seen = []
    for rotation, translation in ((np.eye(3), np.zeros(3)), (rotation1, translation1)):
        layers = []
        for depth in (8.0, 4.0):  # of planes parallel to the first image
            planar = rotation + np.outer(translation, [0, 0, 1]) / depth
            layers.append(camera @ planar @ np.linalg.inv(camera))
        far, near_view, mask = (
            cv2.warpPerspective(image, homography, (400, 300), borderMode=cv2.BORDER_REFLECT)
            for image, homography in zip((*planes, near), (*layers, layers[1]), strict=True)
        )
        seen.append(np.where(mask > 0.5, near_view, far).astype(np.float32))
    return *seen, camera, np.c_[rotation1, translation1 / np.linalg.norm(translation1)]


def test_relative_pose_is_estimated(two_views):
    image0, image1, camera, pose = two_views
    intrinsics = (400.0, 420.0, 200.0, 150.0)
    options = {"epipolar": "essential", "intrinsics0": intrinsics, "seed": 1}
    found = SIFTMatcher(**options).match(as_tensor(image0), as_tensor(image1))
    with pytest.raises(InputError, match="an essential matrix requires intrinsics0"):
        SIFTMatcher(epipolar="essential").match(as_tensor(image0), as_tensor(image1))
    cosine = (np.trace(found.pose[:, :3].numpy().T @ pose[:, :3]) - 1) / 2
    assert np.degrees(np.arccos(min(1, cosine))) < 1
    assert abs(found.pose[:, 3].numpy() @ pose[:, 3]) > np.cos(np.radians(8))
    # the homography fits one plane, the essential matrix both
    assert int(found.epipolar_inliers.sum()) > 1.2 * int(found.inliers.sum())
    again = SIFTMatcher(**options).match(as_tensor(image0), as_tensor(image1))
    assert torch.equal(found.epipolar, again.epipolar)
    assert found[:5].epipolar_inliers.shape == (5,)
    plain = SIFTMatcher(epipolar="fundamental").match(as_tensor(image0), as_tensor(image1))
    assert plain.pose is None
    rays = np.linalg.inv(camera)
    from_essential = rays.T @ found.epipolar.numpy() @ rays
    lines = [matrix / np.linalg.norm(matrix) for matrix in (from_essential, plain.epipolar.numpy())]
    assert plain.epipolar_inliers.float().mean() > 0.8
    assert min(np.abs(lines[0] - lines[1]).max(), np.abs(lines[0] + lines[1]).max()) < 0.1


def test_no_matches_give_no_epipolar_matrix():
    blank = torch.full((1, 1, 40, 50), 0.5)
    found = SIFTMatcher(epipolar="fundamental").match(blank, blank)
    assert found.epipolar is None
    assert found.epipolar_inliers.shape == (0,)


def test_matches_have_descriptors_of_their_keypoints(image):
    found = SIFTMatcher(max_matches=20).match(as_tensor(image), as_tensor(image))
    assert found.descriptors0.shape == (20, 128)
    assert found.descriptors0 == pytest.approx(found.descriptors1, abs=1e-6)
    assert found[3:5].descriptors1.shape == (2, 128)


def test_images_of_similar_size_are_downscaled_by_one_factor():
    first, second = downscale_pair(torch.zeros(1, 1, 300, 400), torch.zeros(1, 1, 500, 350), 250)
    assert (first.shape[-2:], second.shape[-2:]) == ((150, 200), (250, 175))
    first, second = downscale_pair(torch.zeros(1, 1, 300, 400), torch.zeros(1, 1, 900, 80), 250)
    assert (first.shape[-2:], second.shape[-2:]) == ((188, 250), (250, 22))
    first, second = downscale_pair(torch.zeros(1, 1, 30, 40), torch.zeros(1, 1, 40, 30), None)
    assert (first.shape[-2:], second.shape[-2:]) == ((30, 40), (40, 30))


def test_image_of_low_contrast_is_matched(image):
    found = SIFTMatcher().match(as_tensor(0.02 * image + 0.1), as_tensor(image))
    assert (found.keypoints0 - found.keypoints1).norm(dim=1).median() < 0.2
    assert len(found) > 100


def test_rgb_and_gray_images_can_be_matched(image):
    found = SIFTMatcher().match(as_tensor(image).repeat(1, 3, 1, 1), as_tensor(image))
    assert len(found) > 100
    with pytest.raises(ValueError, match="an image must be"):
        SIFTMatcher().match(torch.zeros(1, 2, 20, 20), as_tensor(image))


def test_tilted_image_requires_simulated_views(image):
    blurred = cv2.GaussianBlur(image, (0, 0), sigmaX=2.0, sigmaY=0.01)
    tilt = np.array([[0.35, 0, 5], [0, 1, 0], [0, 0, 1.0]])
    image0, image1 = as_tensor(image), as_tensor(warped(blurred, tilt, (100, 300)))
    correct = {
        name: int((errors(matcher.match(image0, image1), tilt) < 3).sum())
        for name, matcher in (("sift", SIFTMatcher()), ("asift", ASIFTMatcher(tilts=3)))
    }
    assert correct["asift"] > 5 * max(10, correct["sift"])


def test_simulated_views_are_those_of_the_paper():
    assert views(0) == [(1.0, 0.0)]
    tilts = [tilt for tilt, _ in views(2)]
    assert tilts.count(1.0) == 1
    assert tilts.count(pytest.approx(2**0.5)) == 4  # every 72 / 1.41 = 50.9 degrees
    assert tilts.count(pytest.approx(2)) == 5
    assert len(views(5)) == 43


@pytest.mark.parametrize(("tilt", "angle"), [(2.0, 0.0), (2.0, 36.0), (4.0, 90.0), (1.5, 130.0)])
def test_dot_in_a_view_is_mapped_back_to_its_position(tilt, angle):
    dot = np.zeros((60, 90), np.uint8)
    dot[23, 71] = 255
    dot = cv2.GaussianBlur(dot.astype(np.float32), (0, 0), 3.0)
    dot = (dot * 255 / dot.max()).astype(np.uint8)
    view, _, to_image = simulate_view(dot, np.full_like(dot, 255), tilt, angle)
    y, x = np.indices(view.shape)
    weight = view / view.sum(dtype=float)
    centre = to_image @ [(x * weight).sum(), (y * weight).sum(), 1]
    assert centre == pytest.approx([71, 23], abs=0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 3}, "max_size must be at least 16"),
        ({"max_matches": 0}, "max_matches must be at least 1"),
        ({"rotations": 3}, "rotations must be 1, 2 or 4"),
        ({"threshold": 0.0}, "threshold must be a positive"),
        ({"epipolar_threshold": -1.0}, "epipolar_threshold must be a positive"),
        ({"epipolar": "trifocal"}, "epipolar must be one of fundamental, essential"),
        ({"intrinsics0": (0.0, 1.0, 2.0, 3.0)}, "intrinsics0 must be fx, fy, cx, cy"),
        ({"check": "none"}, "check must be ratio, mutual or both"),
        ({"ratio": 1.5}, "ratio must be above 0"),
        ({"tile": 10}, "tile must be at least 128"),
        ({"max_keypoints": 0}, "max_keypoints must be at least 1"),
        ({"contrast": -1.0}, "contrast must be at least 0"),
    ],
)
def test_invalid_setting_raises(options, message):
    with pytest.raises(ValueError, match=message):
        SIFTMatcher(**options)


def test_training_raises():
    with pytest.raises(InputError, match="SIFTMatcher cannot be trained"):
        SIFTMatcher().training_step(None, 0)


def test_a_matcher_without_weights_takes_no_checkpoint(image):
    with pytest.raises(ValueError, match="sift takes no ckpt_path: it is not trained"):
        patchmatch.match_images(image, image, "sift", ckpt_path="mine.ckpt")
