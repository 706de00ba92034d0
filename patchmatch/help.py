"""The pages of ``--help``, each on one screen, without torch."""

import textwrap
from collections.abc import Sequence

from patchmatch.arguments import SUBCOMMANDS
from patchmatch.core.configs import config_names
from patchmatch.version import __version__

_OVERVIEW = """\
usage: patchmatch {fit,validate,test,predict} -c CONFIG [--KEY VALUE ...]

Match image patches: learn from pairs that are generated automatically, then match anything.

  patchmatch predict -c patch_match --data.predict_dir FOLDER_OR_VIDEO
                                    draw the blocks that changed between consecutive frames
  patchmatch predict -c motion --data.predict_dir FOLDER_OR_VIDEO
                                    measure motion of any size
  patchmatch predict -c moving_objects --data.predict_dir FOLDER_OR_VIDEO
                                    box, segment and follow what moves
  patchmatch predict -c match_auto --data.pairs FOLDER|image0,image1
                                    match two images: keypoints, homography, panorama
  patchmatch predict -c reconstruct --data.base_dir FOLDER
                                    rebuild each image of FOLDER/image_1 from FOLDER/image_2
  patchmatch predict -c template --data.scene A --data.templates B
                                    find objects, given as images
  patchmatch predict -c stereo --data.pairs FOLDER
                                    measure the disparity from FOLDER/left to FOLDER/right
  patchmatch fit -c patch_match     train the shift matcher on digits
  patchmatch test -c patch_match [--ckpt_path FILE]
                                    measure a checkpoint on held-out pairs
  patchmatch-eval RUN TRUTH         compare the files of a run with ground truth

CONFIG is a YAML file, or the name of a configuration of the package:
{names}

  patchmatch predict --help         options of predict; so for fit, validate and test
  patchmatch --version
"""

_PREDICT = """\
usage: patchmatch predict -c CONFIG [--KEY VALUE ...]

Match frames, image pairs or templates, and write images and tables.

  patchmatch predict -c patch_match --data.predict_dir FOLDER_OR_VIDEO
  patchmatch predict -c motion --data.predict_dir FOLDER_OR_VIDEO --writer.style flow
  patchmatch predict -c match_auto --data.pairs image0.jpg,image1.jpg

  -c, --config CONFIG            a YAML file, or the name of a configuration of the package:
{names}
  --data.predict_dir PATH        frames: a folder, a video, a camera; --data.pairs and others
                                 for other configurations
  --ckpt_path FILE               weights; by default those of the package
  --writer.output_path FOLDER    where to write; by default below data/output
  --writer.overwrite true        replace an earlier run in that folder
  --writer.resume true           continue a run that was stopped
  --trainer.accelerator cpu      or gpu; by default the best device

The options of a class, and of a configuration:
  patchmatch predict --model.help MotionMatcher
  patchmatch predict --data.help Frames
  patchmatch predict --writer.help ChangeBoxes
  patchmatch predict -c motion --print_config
  patchmatch predict --help all  all options, those of Lightning's Trainer included
"""

_TRAIN = """\
usage: patchmatch {verb} -c CONFIG [--KEY VALUE ...]

{purpose}

  patchmatch {verb} -c patch_match{example}

  -c, --config CONFIG            a YAML file, or the name of a configuration of the package:
{{names}}
  --data.source FOLDER           images to generate the pairs from; by default as configured
  --ckpt_path FILE               {checkpoint}
  --trainer.max_epochs N         epochs of training
  --trainer.accelerator cpu      or gpu; by default the best device
  --seed_everything N            seed of the random numbers

The options of a class, and of a configuration:
  patchmatch {verb} --model.help ShiftMatcher
  patchmatch {verb} --data.help ShiftedDigits
  patchmatch {verb} -c patch_match --print_config
  patchmatch {verb} --help all   all options, those of Lightning's Trainer included
"""

_PAGES = {
    "predict": _PREDICT,
    "fit": _TRAIN.format(
        verb="fit",
        purpose="Train a matcher on generated pairs; checkpoints go to data/output/lightning_logs.",
        example=" --data.source FOLDER_OF_IMAGES",
        checkpoint="checkpoint of a run to continue",
    ),
    "validate": _TRAIN.format(
        verb="validate",
        purpose="Measure a checkpoint on the validation pairs.",
        example=" --ckpt_path FILE",
        checkpoint="the checkpoint; by default the weights of the package",
    ),
    "test": _TRAIN.format(
        verb="test",
        purpose="Measure a checkpoint on held-out pairs.",
        example=" --ckpt_path FILE",
        checkpoint="the checkpoint; by default the weights of the package",
    ),
}


def help_text(arguments: Sequence[str]) -> str | None:
    """Return what ``--help`` and ``--version`` print; None if a command is to be run.

    Args:
        arguments: The arguments without the name of the program.
    """
    words = list(arguments)
    first = words[0] if words else "--help"
    if first in ("-h", "--help"):
        names = [_list_names(verb, f"  {label:22}") for verb, label in _LABELS.items()]
        return _OVERVIEW.replace("{names}", "\n".join(names))
    if first == "--version":
        return f"patchmatch {__version__}\n"
    asked = [number for number, word in enumerate(words) if word in ("-h", "--help")]
    if first not in SUBCOMMANDS or not asked or words[asked[0] + 1 :][:1] == ["all"]:
        return None
    return _PAGES[first].replace("{names}", _list_names(first, " " * 33))


_LABELS = {"predict": "predict", "fit": "fit, validate, test"}


def _list_names(subcommand: str, start: str) -> str:
    """Return the names of the configurations, wrapped behind ``start``."""
    return textwrap.fill(
        ", ".join(config_names(subcommand)),
        100,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )
