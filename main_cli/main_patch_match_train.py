"""The command line of patchmatch, without installing it; see the first lines of the configs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.__main__ import main

if __name__ == "__main__":
    main()
