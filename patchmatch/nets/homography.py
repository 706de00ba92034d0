"""Four-point regression: where the corners of one image lie in the other, pass by pass."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.ops import homography_of_corners, image_corners, warp_by_homography, warp_points

STRIDE = {"coarse": 8, "fine": 4}  # pixels of an image in a pixel of its features
RADIUS = {"coarse": 4, "fine": 2}  # pixels of the features within which they are compared
FARTHEST = 0.4  # of the side: no pass moves a corner by more


@dataclass(frozen=True)
class Pass:
    """What a pass saw and found.

    Attributes:
        corners: (B, 4, 2) float, where the corners of image 0 lie in image 1, x and y in pixels.
        before: (B, 3, 3) double, the homography by which image 1 had been warped.
        correlation: (B, D, h, w), of features of image 0 with those around them in the warped
            image 1, in [-1, 1]; the displacements row by row.
        stride: Pixels of an image in a pixel of the features.
    """

    corners: Tensor
    before: Tensor
    correlation: Tensor
    stride: int


class HomographyNet(nn.Module):
    """Estimates a homography by the offsets of the four corners (DeTone et al. 2016).

    Features of both images are compared within a few pixels of each other, and a head reads the
    offsets of the corners from that. Image 1 is then warped by the estimate and the rest is
    estimated in the same way: first on coarse features, then on fine ones.

    Args:
        side: Side S of the images in pixels, a multiple of 32.
        width: Channels of the features, a multiple of 2.
    """

    def __init__(self, side: int = 128, width: int = 32) -> None:
        super().__init__()
        if side < 64 or side % 32:
            raise ValueError(f"side must be a multiple of 32 and at least 64 pixels, got {side}")
        if width < 4 or width % 2:
            raise ValueError(f"width must be even and at least 4, got {width}")
        self.side = side
        self.fine = nn.Sequential(
            *_layer(1, width // 2, 2),
            *_layer(width // 2, width, 2),
            nn.Conv2d(width, width, 3, 1, 1),
        )
        self.coarse = nn.Sequential(
            nn.ReLU(), *_layer(width, width, 2), nn.Conv2d(width, width, 3, 1, 1)
        )
        self.heads = nn.ModuleDict(
            {name: _head(side // STRIDE[name], RADIUS[name], 3 * width // 2) for name in STRIDE}
        )
        self.to(memory_format=torch.channels_last)

    def forward(
        self,
        image0: Float[Tensor, "B 1 S S"],
        image1: Float[Tensor, "B 1 S S"],
        passes: tuple[int, int] = (2, 2),
    ) -> list[Pass]:
        """Return what each pass finds, the last one the best.

        The corners are the centres of the corner pixels, clockwise from the top left. Gradients
        stay within a pass.

        Args:
            image0: Gray.
            image1: Gray.
            passes: How many on coarse features and how many on fine ones.
        """
        fine = self.fine(_even(torch.cat([image0, image1])))
        features = {"coarse": self.coarse(fine), "fine": fine}
        corners0 = image_corners(self.side, self.side).to(image0.device)
        corners0 = corners0.expand(len(image0), -1, -1)
        homography = torch.eye(3, dtype=torch.float64, device=image0.device)
        homography = homography.expand(len(image0), -1, -1)
        found = []
        for name in ("coarse",) * passes[0] + ("fine",) * passes[1]:
            features0, features1 = F.normalize(features[name], dim=1).chunk(2)
            grow = torch.diag(homography.new_tensor([STRIDE[name], STRIDE[name], 1]))
            warped = warp_by_homography(
                features1, grow.inverse() @ homography @ grow, *features0.shape[-2:]
            )
            compared = local_correlation(features0, warped, RADIUS[name])
            offsets = self.heads[name](compared)  # (B, 8)
            offsets = FARTHEST * self.side * torch.tanh(offsets).unflatten(1, (4, 2))
            corners1 = warp_points(homography, corners0 + offsets.double())
            found.append(Pass(corners1.float(), homography, compared, STRIDE[name]))
            homography = homography_of_corners(corners0, corners1.detach())
        return found


def local_correlation(
    features0: Float[Tensor, "B C H W"], features1: Float[Tensor, "B C H W"], radius: int
) -> Float[Tensor, "B D H W"]:
    """Return the scalar products of each pixel's features with those around it in image 1.

    D is (2 radius + 1)^2, the displacements row by row; what lies beyond image 1 is zero.
    """
    height, width = features0.shape[-2:]
    padded = F.pad(features1, (radius,) * 4)
    span = range(2 * radius + 1)
    moved = (padded[..., dy : dy + height, dx : dx + width] for dy in span for dx in span)
    products = torch.stack([(features0 * other).sum(dim=1) for other in moved], dim=1)
    return products.contiguous(memory_format=torch.channels_last)


def _even(images: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """Return images with mean 0 and deviation 1; a blank one stays blank."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) / (images.std(dim=(2, 3), keepdim=True) + 1 / 255)


def _layer(channels_in: int, channels: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _head(side: int, radius: int, width: int) -> nn.Sequential:
    """Return what makes eight numbers of correlations on a grid of ``side`` pixels."""
    channels = (2 * radius + 1) ** 2
    layers = list(_layer(channels, width, 1))
    while side > 4:
        layers += _layer(width, width, 2)
        side = -(-side // 2)
    last = nn.Linear(2 * width, 8)
    nn.init.zeros_(last.weight)  # training starts from no motion at all
    nn.init.zeros_(last.bias)
    flat = (nn.Flatten(), nn.Linear(width * side * side, 2 * width), nn.ReLU())
    return nn.Sequential(*layers, *flat, last)
