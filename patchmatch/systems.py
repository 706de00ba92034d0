"""Import every matcher, data module and writer, which registers them with the command line.

A class is registered by being a subclass of ``Matcher``, ``MatchingData`` or
``PredictionWriter``. A new system adds its modules here.
"""

import patchmatch.frames.data
import patchmatch.frames.rendered_cows
import patchmatch.frames.writer
import patchmatch.motion.data
import patchmatch.motion.matcher
import patchmatch.nnf.differentiable.matcher
import patchmatch.nnf.differentiable.warped_pairs
import patchmatch.nnf.patch_match
import patchmatch.nnf.writer
import patchmatch.objects.matcher
import patchmatch.objects.writer
import patchmatch.pairs.aliked_lightglue
import patchmatch.pairs.asift
import patchmatch.pairs.auto
import patchmatch.pairs.data
import patchmatch.pairs.dense_field
import patchmatch.pairs.disk_lightglue
import patchmatch.pairs.homography.data
import patchmatch.pairs.homography.matcher
import patchmatch.pairs.kornia_matchers
import patchmatch.pairs.loftr.data
import patchmatch.pairs.loftr.matcher
import patchmatch.pairs.patch2pix.data
import patchmatch.pairs.patch2pix.matcher
import patchmatch.pairs.patch2pix.ncnet
import patchmatch.pairs.sift
import patchmatch.pairs.writer
import patchmatch.pairs.xfeat
import patchmatch.shift.data
import patchmatch.shift.matcher
import patchmatch.stereo.data
import patchmatch.stereo.folders
import patchmatch.stereo.matcher
import patchmatch.stereo.pairs
import patchmatch.stereo.writer
import patchmatch.templates.data
import patchmatch.templates.matcher
import patchmatch.templates.place_matcher
import patchmatch.templates.synthetic_places
import patchmatch.templates.university1652
import patchmatch.templates.writer  # noqa: F401
