"""Compiled features of frames on each pyramid level."""

from patchmatch.motion.kernels.compilation import kernel
from patchmatch.motion.kernels.contrast import halve, local_contrast_normalization
from patchmatch.motion.kernels.noise import noise_level


@kernel
def extract_frame_features(b, images, window, softening, noise_settings, normalized, noise_maps):
    """Write the features of a frame on all levels.

    Args:
        b: Index of the frame.
        images: (B, H, W) of each level; the first are the frames, the others are written.
        window: Tuple as long as the side of the window of local contrast normalisation.
        softening: Added to the standard deviation in quadrature.
        noise_settings: Arguments of ``noise_level`` after the image.
        normalized: (B, H, W) of each level, written.
        noise_maps: (B, ceil(H / 4), ceil(W / 4)) of each level, written.
    """
    noise = noise_level(images[0][b], *noise_settings)
    for level in range(len(images)):
        if level:
            halve(images[level - 1][b], images[level][b])
        image, scaled = images[level][b], noise / 2**level
        outputs = normalized[level][b], noise_maps[level][b]
        local_contrast_normalization(image, window, softening, scaled, *outputs)
