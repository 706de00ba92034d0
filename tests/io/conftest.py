from pathlib import Path

import pytest
from synthetic_videos import CODECS, write_with_opencv


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Return a video of each container format, by suffix."""
    folder = tmp_path_factory.mktemp("Vidéos mit Lücke")
    return {suffix: write_with_opencv(folder / f"clip ü{suffix}") for suffix in CODECS}
