"""Where batches come from. Importing this package registers every class name with the CLI."""

from patchmatch.data.base import MatchingData
from patchmatch.data.clips import Clip
from patchmatch.data.frames import Clips, Frames
from patchmatch.data.image_pairs import ImagePair, ImagePairs
from patchmatch.data.keypoint_patches import KeypointPatches, PatchBatch
from patchmatch.data.made_places import MadePlaces, MadeViews
from patchmatch.data.moving_digits import MotionBatch, MovingDigits, MovingScenes
from patchmatch.data.pairs import PairBatch, ShiftedPairs
from patchmatch.data.picture_pairs import PicturePairs
from patchmatch.data.places import PlaceBatch
from patchmatch.data.rendered_cows import RenderedCows
from patchmatch.data.shifted_digits import ShiftedDigits
from patchmatch.data.template_scenes import TemplateScene
from patchmatch.data.templates import TemplateScenes
from patchmatch.data.university import University1652
from patchmatch.data.warped_images import HomographyBatch, HomographyPairs, WarpedImages
from patchmatch.data.warped_pairs import WarpedBatch, WarpedPairs, WarpedPhotographs

__all__ = [
    "Clip",
    "Clips",
    "Frames",
    "HomographyBatch",
    "HomographyPairs",
    "ImagePair",
    "ImagePairs",
    "KeypointPatches",
    "MadePlaces",
    "MadeViews",
    "MatchingData",
    "MotionBatch",
    "MovingDigits",
    "MovingScenes",
    "PairBatch",
    "PatchBatch",
    "PicturePairs",
    "PlaceBatch",
    "RenderedCows",
    "ShiftedDigits",
    "ShiftedPairs",
    "TemplateScene",
    "TemplateScenes",
    "University1652",
    "WarpedBatch",
    "WarpedImages",
    "WarpedPairs",
    "WarpedPhotographs",
]
