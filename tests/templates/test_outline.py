"""The outline of a detected object."""

import cv2
import numpy as np
import pytest
import torch
from textures import detailed

from patchmatch.ops.homography import image_corners, warp_points
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.outline import find_outline

HOMOGRAPHY = np.array([[0.9, 0.15, 70], [-0.1, 1.05, 40], [0.0003, 0.0004, 1]])


def as_tensor(image):
    return torch.from_numpy(image).movedim(-1, 0).contiguous()


def pasted(height, width, homography=HOMOGRAPHY):
    """Return a scene with a template seen from another viewpoint, the template, and its corners."""
    template = detailed(height, width, 5)
    scene = detailed(220, 300, 6)
    warped = cv2.warpPerspective(template, homography, (300, 220), flags=cv2.INTER_CUBIC)
    inside = cv2.warpPerspective(np.ones((height, width), np.float32), homography, (300, 220))
    scene = np.where(inside[..., None] > 0.5, warped.clip(0, 1), scene).astype(np.float32)
    corners = warp_points(torch.from_numpy(homography).double(), image_corners(height, width))
    return as_tensor(scene), as_tensor(template), corners.float()


def around(corners):
    return torch.cat([corners.amin(dim=0) - 0.5, corners.amax(dim=0) + 0.5])


@pytest.mark.parametrize(("height", "width"), [(120, 150), (70, 81)])  # the second is upsampled
def test_convention_outline_has_the_corners_of_the_template(height, width):
    scene, template, corners = pasted(height, width)
    box = around(corners) + torch.tensor([6.0, -5, -4, 7])  # the detection is not exact
    outline = find_outline(scene, template, None, box)
    assert (outline - corners).norm(dim=1).max() < 1


def test_masked_pixels_do_not_count():
    scene, template, corners = pasted(120, 150)
    mask = torch.ones(120, 150, dtype=torch.bool)
    mask[:, 75:] = False
    template[:, :, 75:] = as_tensor(detailed(120, 75, 9))
    outline = find_outline(scene, template, mask, around(corners))
    assert (outline - corners).norm(dim=1).max() < 2


def test_outline_is_unknown_without_the_object_and_away_from_the_detection():
    scene, template, corners = pasted(120, 150)
    other = as_tensor(detailed(120, 150, 8))
    assert find_outline(scene, other, None, around(corners)).isnan().all()
    beside = torch.tensor([0.0, 0, 60, 60])
    assert find_outline(scene, template, None, beside).isnan().all()
    outside = torch.tensor([400.0, 300, 500, 400])
    assert find_outline(scene, template, None, outside).isnan().all()


def test_detections_have_an_outline_only_on_request():
    scene, template, corners = pasted(70, 81, np.array([[1.0, 0.1, 90], [0, 1, 60], [0, 0, 1]]))
    options = {"features": "handcrafted", "max_detections": 2, "threshold": 0.2}
    found = TemplateMatcher(**options, outlines=True).eval().match(scene, template)
    assert found.outlines.shape == (len(found), 4, 2)
    assert (found.outlines[0] - corners).norm(dim=1).max() < 1
    without = TemplateMatcher(**options).eval().match(scene, template)
    assert without.outlines.shape == (len(found), 4, 2)
    assert without.outlines.isnan().all()
