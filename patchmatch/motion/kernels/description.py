"""Features of frames on each pyramid level, in one compiled call."""

from patchmatch.motion.kernels.compiling import kernel
from patchmatch.motion.kernels.contrast import halve, local_contrast_normalization
from patchmatch.motion.kernels.noise import noise_level


@kernel
def describe_frames(images, span, softening, telling, noise, even, loud):
    """Make the contrast of frames even on each level, and tell how loud their noise is.

    Args:
        images: Of each level (B, H, W); the first are the frames, the others are written.
        span: As ``local_contrast_normalization`` takes it.
        softening: Likewise.
        telling: What ``noise_level`` takes beside an image.
        noise: (B,), written: of the frames.
        even: Of each level (B, H, W), written.
        loud: Of each level (B, ceil(H / 4), ceil(W / 4)), written.
    """
    for b in range(len(noise)):
        noise[b] = noise_level(images[0][b], *telling)
        for level in range(len(images)):
            if level:
                halve(images[level - 1][b], images[level][b])
            scaled = noise[b] / 2**level
            local_contrast_normalization(
                images[level][b], span, softening, scaled, even[level][b], loud[level][b]
            )
