"""Each matcher has one writer; any other writer raises an error at the start."""

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from program_runs import quiet_trainer

import patchmatch.systems  # noqa: F401
from patchmatch.core.configs import short_name
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.core.registration import subclasses
from patchmatch.frames.results import FrameChanges
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.io.lock import LOCK_FILE
from patchmatch.nnf.patch_match import PatchMatch
from patchmatch.nnf.results import DenseMatches
from patchmatch.nnf.writer import Reconstructions
from patchmatch.objects.results import FrameObjects
from patchmatch.objects.writer import ObjectTracks
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.writer import PairMatches
from patchmatch.stereo.results import Disparity
from patchmatch.stereo.writer import Disparities
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.results import SceneDetections
from patchmatch.templates.writer import TemplateBoxes
from patchmatch.writing.registry import matchers_of, require_writer_fits, writers_of
from patchmatch.writing.writer import PredictionWriter

CONFIGS = Path(__file__).parents[2] / "configs"
WRITERS = {
    ChangeBoxes: FrameChanges,
    ObjectTracks: FrameObjects,
    PairMatches: Matches,
    Reconstructions: DenseMatches,
    TemplateBoxes: SceneDetections,
    Disparities: Disparity,
}


def concrete_subclasses(base: type) -> list[type]:
    """Return the concrete subclasses of ``base`` in the package."""
    kinds = (c for c in subclasses(base) if c.__module__.startswith("patchmatch."))
    return sorted({c for c in kinds if not inspect.isabstract(c)}, key=lambda c: c.__name__)


MATCHERS = [c for c in concrete_subclasses(Matcher) if c is not Matcher]
#: The writer of each matcher, from its configuration; PlaceMatcher has no predict_step.
WRITER_OF = {
    matcher: yaml.safe_load((CONFIGS / matcher.predict_config).read_text())["writer"]["class_path"]
    for matcher in MATCHERS
} | {PlaceMatcher: None}


@pytest.fixture(scope="module")
def matchers():
    """One instance of each matcher, by class."""
    return {matcher: matcher() for matcher in MATCHERS}


def test_table_contains_all_writers():
    assert set(concrete_subclasses(PredictionWriter)) == set(WRITERS)
    assert set(WRITER_OF.values()) == {writer.__name__ for writer in WRITERS} | {None}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: matcher.__name__)
def test_writer_accepts_its_matchers_and_names_alternatives_for_others(matchers, matcher, writer):
    models = matchers_of(WRITERS[writer])
    assert writers_of(WRITERS[writer]) == [writer.__name__]
    if WRITER_OF[matcher] == writer.__name__:
        require_writer_fits(writer(), matchers[matcher])
        assert matcher.__name__ in models
        return
    assert matcher.__name__ not in models
    with pytest.raises(InputError) as error:
        require_writer_fits(writer(), matchers[matcher])
    problem, _, advice = str(error.value).partition("; use ")
    right, _, named = advice.rpartition("--model ")
    assert named.replace(" or ", ", ").split(", ") == models
    if WRITER_OF[matcher] is None:
        assert problem == (
            f"{writer.__name__} has nothing to write: {matcher.__name__} can only be trained and "
            "has no predict_step"
        )
        assert right == ""
        return
    assert problem == f"{writer.__name__} cannot write the predictions of {matcher.__name__}"
    # The configuration of the matcher may be combined with another writer.
    own_config = matcher.predict_config
    assert right == f"--writer {WRITER_OF[matcher]} as in -c {short_name(own_config)}, or "


class ThirdPartyMatcher(pl.LightningModule):
    """A matcher of another package."""

    def predict_step(self, batch, batch_idx) -> list[Matches]:
        return []


def test_third_party_matcher_is_recognised_by_its_annotation():
    require_writer_fits(PairMatches(), ThirdPartyMatcher())
    with pytest.raises(InputError, match=r"Matcher; use --writer PairMatches, or --m"):
        require_writer_fits(ChangeBoxes(), ThirdPartyMatcher())


def test_classes_without_annotations_are_accepted():
    class UntypedMatcher(ThirdPartyMatcher):
        def predict_step(self, batch, batch_idx):
            return []

    class UntypedWriter:
        def write_batch(self, prediction, batch):
            return None

    require_writer_fits(ChangeBoxes(), UntypedMatcher())
    require_writer_fits(UntypedWriter(), ThirdPartyMatcher())
    require_writer_fits(UntypedWriter(), PatchMatch())


def test_folder_is_unchanged_if_the_writer_does_not_fit(tmp_path):
    writer = PairMatches(str(tmp_path), overwrite=True)
    trainer = quiet_trainer(writer)
    with pytest.raises(InputError, match="PairMatches cannot write the predictions of PatchMatch"):
        writer.setup(trainer, PatchMatch(), "predict")
    assert list(tmp_path.iterdir()) == []
    writer.setup(trainer, SIFTMatcher(), "predict")
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE, "chunks"}
    writer.release()
    assert [path.name for path in tmp_path.iterdir()] == ["chunks"]
