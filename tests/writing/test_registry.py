"""What every matcher finds is written by one writer; the others refuse it at the start."""

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from whole_runs import quiet_trainer

import patchmatch.systems  # noqa: F401
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.core.registration import subclasses
from patchmatch.core.trained import TrainedPairs
from patchmatch.frames.results import FrameChanges
from patchmatch.frames.writer import ChangeBoxes
from patchmatch.nnf.patch_match import PatchMatch
from patchmatch.nnf.results import DenseMatches
from patchmatch.nnf.writer import Reconstructions
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.pairs.writer import PairMatches
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.results import SceneDetections
from patchmatch.templates.writer import TemplateBoxes
from patchmatch.writing.registry import matchers_of, require_writer_fits, writers_of
from patchmatch.writing.writer import PredictionWriter

CONFIGS = Path(__file__).parents[2] / "configs"
WRITERS = {
    ChangeBoxes: FrameChanges,
    PairMatches: Matches,
    Reconstructions: DenseMatches,
    TemplateBoxes: SceneDetections,
}


def own(base: type) -> list[type]:
    """Return the concrete subclasses of ``base`` in the package."""
    kinds = (c for c in subclasses(base) if c.__module__.startswith("patchmatch."))
    return sorted({c for c in kinds if not inspect.isabstract(c)}, key=lambda c: c.__name__)


MATCHERS = [c for c in own(Matcher) if c not in (Matcher, TrainedPairs)]
#: The writer of each matcher, as its configuration names it; PlaceMatcher predicts nothing.
WRITER_OF = {
    matcher: yaml.safe_load((CONFIGS / matcher.predict_config).read_text())["writer"]["class_path"]
    for matcher in MATCHERS
} | {PlaceMatcher: None}


@pytest.fixture(scope="module")
def built():
    """Matchers by their class, each built once."""
    return {matcher: matcher() for matcher in MATCHERS}


def test_all_writers_are_tried():
    assert set(own(PredictionWriter)) == set(WRITERS)
    assert set(WRITER_OF.values()) == {writer.__name__ for writer in WRITERS} | {None}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: matcher.__name__)
def test_a_writer_accepts_its_matchers_and_names_alternatives_for_others(built, matcher, writer):
    models = matchers_of(WRITERS[writer])
    assert writers_of(WRITERS[writer]) == [writer.__name__]
    if WRITER_OF[matcher] == writer.__name__:
        require_writer_fits(writer(), built[matcher])
        assert matcher.__name__ in models
        return
    assert matcher.__name__ not in models
    with pytest.raises(InputError) as error:
        require_writer_fits(writer(), built[matcher])
    problem, _, advice = str(error.value).partition("; use ")
    right, _, named = advice.rpartition("--model ")
    assert named.replace(" or ", ", ").split(", ") == models
    if WRITER_OF[matcher] is None:
        assert problem == (
            f"{writer.__name__} has nothing to write: {matcher.__name__} is for training only and "
            "predicts nothing"
        )
        assert right == ""
        return
    assert problem == f"{writer.__name__} cannot write the predictions of {matcher.__name__}"
    # The configuration of the matcher may be in use with another writer.
    own_config = matcher.predict_config
    assert right == f"--writer {WRITER_OF[matcher]} as in configs/{own_config}, or "


class Other(pl.LightningModule):
    """A matcher of somebody else."""

    def predict_step(self, batch, batch_idx) -> list[Matches]:
        return []


def test_a_matcher_of_somebody_else_is_told_by_its_annotation():
    require_writer_fits(PairMatches(), Other())
    with pytest.raises(InputError, match=r"predictions of Other; use --writer PairMatches, or --m"):
        require_writer_fits(ChangeBoxes(), Other())


def test_what_is_not_annotated_is_not_refused():
    class Silent(Other):
        def predict_step(self, batch, batch_idx):
            return []

    class Free:
        def write_batch(self, prediction, batch):
            return None

    require_writer_fits(ChangeBoxes(), Silent())
    require_writer_fits(Free(), Other())
    require_writer_fits(Free(), PatchMatch())


def test_a_former_run_survives_a_writer_that_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    writer = PairMatches(str(tmp_path), overwrite=True)
    trainer = quiet_trainer(writer)
    with pytest.raises(InputError, match="PairMatches cannot write the predictions of PatchMatch"):
        writer.setup(trainer, PatchMatch(), "predict")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    writer.setup(trainer, SIFTMatcher(), "predict")
    assert [path.name for path in tmp_path.iterdir()] == ["chunks"]
