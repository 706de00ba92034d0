"""Console entry point; answers --help and --version before torch is imported."""

import sys

SUBCOMMANDS = ("fit", "validate", "test", "predict")
USAGE = f"""usage: patchmatch {{{",".join(SUBCOMMANDS)}}} [-c CONFIG] [--KEY VALUE ...]

Match image patches: learn from pairs that are generated automatically, then match anything.

  patchmatch fit -c configs/config_patch_match_train.yaml
                                    train the shift matcher on digits
  patchmatch predict -c configs/config_patch_match_predict.yaml --data.predict_dir FOLDER_OR_VIDEO
                                    draw the blocks that changed between consecutive frames
  patchmatch predict -c configs/config_motion_predict.yaml --data.predict_dir FOLDER_OR_VIDEO
                                    measure motion of any size
  patchmatch predict -c configs/config_reconstruct_predict.yaml --data.base_dir FOLDER
                                    rebuild each image of FOLDER/image_1 from FOLDER/image_2
  patchmatch predict -c configs/config_match_sift.yaml --data.pairs FOLDER|image0,image1
                                    match two images: keypoints, homography, panorama
  patchmatch predict -c configs/config_template_predict.yaml --data.scene A --data.templates B
                                    find objects, given as images
  patchmatch test -c configs/config_patch_match_train.yaml [--ckpt_path FILE]
                                    measure a checkpoint on held-out pairs

  patchmatch-eval RUN GROUND_TRUTH  score the matches of a run on a benchmark

  patchmatch fit --model.help ShiftMatcher      options of a matcher
  patchmatch fit --data.help ShiftedDigits      options of a data module
  patchmatch predict --writer.help ChangeBoxes  options of a writer (also PairMatches)
  patchmatch fit -c FILE --print_config         print the configuration of a run
  patchmatch fit --help                         all options, those of Lightning's Trainer included
"""


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case [] | ["-h"] | ["--help"]:
            sys.stdout.write(USAGE)
        case ["--version"]:
            from patchmatch import __version__

            sys.stdout.write(f"patchmatch {__version__}\n")
        case _:
            from patchmatch.core.process import configure_process

            configure_process()  # sets an environment variable; must precede the import of torch
            from patchmatch.cli import main as cli_main

            cli_main()


if __name__ == "__main__":
    main()
