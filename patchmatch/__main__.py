"""Console entry point: answers the cheap questions before importing torch."""

import sys

SUBCOMMANDS = ("fit", "validate", "test", "predict")
USAGE = f"""usage: patchmatch {{{",".join(SUBCOMMANDS)}}} [-c CONFIG] [--KEY VALUE ...]

Match image patches: learn from pairs that make themselves, then match anything.

  patchmatch fit -c configs/config_patch_match_train.yaml
                                    train the shift matcher on digits
  patchmatch predict -c configs/config_patch_match_predict.yaml --data.predict_dir FOLDER_OR_VIDEO
                                    draw what changed between consecutive frames
  patchmatch predict -c configs/config_reconstruct_predict.yaml --data.base_dir FOLDER
                                    rebuild each picture of FOLDER/image_1 from FOLDER/image_2
  patchmatch predict -c configs/config_match_sift.yaml --data.pairs FOLDER|image0,image1
                                    match pictures: points, homography, panorama
  patchmatch test -c configs/config_patch_match_train.yaml [--ckpt_path FILE]
                                    measure a checkpoint on held-out pairs

  patchmatch fit --model.help ShiftMatcher      what a matcher can be told
  patchmatch fit --data.help ShiftedDigits      what a data module can be told
  patchmatch predict --writer.help ChangeBoxes  what a writer can be told (also PairMatches)
  patchmatch fit -c FILE --print_config         the configuration that a run would use
  patchmatch fit --help                         everything, Lightning's Trainer included
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
            from patchmatch.cli import main as cli_main

            cli_main()


if __name__ == "__main__":
    main()
