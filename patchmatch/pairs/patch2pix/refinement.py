"""Matches of any matcher refined to pixels by the regressors of Patch2Pix."""

import functools
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.core.checkpoints import (
    check_class,
    check_weights,
    read_checkpoint,
    shipped_checkpoint,
)
from patchmatch.core.image_pairs import MIN_SIDE
from patchmatch.pairs.patch2pix.net import Patch2PixNet
from patchmatch.pairs.points import as_gray, downscale_pair, rescale_points
from patchmatch.pairs.results import Matches

CHECKPOINT = "patch2pix.ckpt"
MAX_SIZE = 1024  # pixels of the longest side, which limits memory
MIN_CONFIDENCE = 0.2
KEYPOINT_SHARE = 0.75  # of the displacements that the fine regressor finds


@functools.cache
def load_refiner(device: torch.device, path: Path | None = None) -> Patch2PixNet:
    """Return the network with its weights, in evaluation mode, loaded once per device.

    Args:
        device: Device to compute on.
        path: A checkpoint of ``Patch2PixMatcher`` with backbone loftr; None for the shipped one.

    Raises:
        InputError: If they are missing or damaged.
    """
    path = shipped_checkpoint(CHECKPOINT) if path is None else path
    checkpoint = read_checkpoint(path)
    check_class(path, checkpoint, "Patch2PixMatcher")
    net = Patch2PixNet(str(checkpoint["hyper_parameters"].get("backbone", "loftr")))
    holder = nn.ModuleDict({"net": net})
    check_weights(path, checkpoint, holder)
    holder.load_state_dict(checkpoint["state_dict"])
    return net.eval().to(device)


@torch.no_grad()
def refine_points(
    net: Patch2PixNet,
    images: tuple[Float[Tensor, "1 C H W"], Float[Tensor, "1 C1 H1 W1"]],
    points0: Float[Tensor, "N 2"],
    points1: Float[Tensor, "N 2"],
    coarse: bool = False,
    confidence: float = MIN_CONFIDENCE,
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2"], Float[Tensor, "N"]]:
    """Return refined matches and their confidence, on the CPU.

    A match stays as it is where its confidence is low, and where an end would leave the window of
    the first regressor. Keypoints may be as accurate as the fine regressor, so that their ends move
    by a part of its displacements, ``KEYPOINT_SHARE``. Both ends move, because the displacement of
    one alone would depend on the rotation and the scale between the images.

    Args:
        net: The network; the images are on its device.
        images: RGB or gray in [0, 1], of any sizes.
        points0: x and y in pixels of image 0.
        points1: x and y in pixels of image 1.
        coarse: The matches are those of patches, off by up to 8 pixels, and both regressors are
            used. Otherwise they are those of keypoints, and only the fine one is used.
        confidence: Minimum confidence of a refinement, in [0, 1].
    """
    small = downscale_pair(as_gray(images[0]), as_gray(images[1]), MAX_SIZE)
    sizes = [(image.shape[-2:], part.shape[-2:]) for image, part in zip(images, small, strict=True)]
    scores = torch.zeros(len(points0))
    if not len(points0) or min(*sizes[0][1], *sizes[1][1]) < MIN_SIDE:
        return points0, points1, scores
    pyramids = [net.extract(image) for image in small]
    ends = [
        rescale_points(points.double(), *size).float().to(small[0].device)
        for points, size in zip((points0, points1), sizes, strict=True)
    ]
    moved0, moved1, scores = net.refine_pair(pyramids[0], pyramids[1], ends[0], ends[1], coarse)
    if not coarse:
        moved0 = ends[0].lerp(moved0, KEYPOINT_SHARE)
        moved1 = ends[1].lerp(moved1, KEYPOINT_SHARE)
    moves = torch.cat([moved0 - ends[0], moved1 - ends[1]], dim=1).abs().amax(dim=1)
    accepted = ((scores >= confidence) & (moves <= (net.mid if coarse else net.fine).reach)).cpu()
    outputs = [
        torch.where(
            accepted[:, None], rescale_points(moved.double().cpu(), *size[::-1]).to(points), points
        )
        for moved, size, points in zip((moved0, moved1), sizes, (points0, points1), strict=True)
    ]
    return outputs[0], outputs[1], scores.cpu()


def refine_found(images: tuple[Tensor, Tensor], matches: Matches, coarse: bool = False) -> Matches:
    """Return matches with refined keypoints, without homography and epipolar matrix.

    Args:
        images: (1, C, H, W) each, RGB or gray in [0, 1], on the device to compute on.
        matches: Matches in pixels of the images, in any number.
        coarse: See ``refine_points``.

    Raises:
        InputError: If the shipped weights are missing or damaged.
    """
    net = load_refiner(images[0].device)
    points0, points1, _ = refine_points(net, images, matches.keypoints0, matches.keypoints1, coarse)
    models = ("inliers", "homography", "aligned", "epipolar", "epipolar_inliers")
    cleared = dict.fromkeys((*models, "fundamental", "pose"))
    return replace(matches, keypoints0=points0, keypoints1=points1, **cleared)
