"""What every matcher finds is written by one writer; the others refuse it at the start."""

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from whole_runs import quiet_trainer

from patchmatch import callbacks, matchers
from patchmatch.callbacks import (
    ChangeBoxes,
    PairMatches,
    PredictionWriter,
    Reconstructions,
    TemplateBoxes,
)
from patchmatch.callbacks.finders import FINDERS, require_finder
from patchmatch.errors import InputError
from patchmatch.matchers import Matcher, PatchMatch, SIFTMatcher
from patchmatch.results import DenseMatches, FrameChanges, Matches, SceneDetections

CONFIGS = Path(__file__).parents[2] / "configs"
WRITERS = {
    ChangeBoxes: FrameChanges,
    PairMatches: Matches,
    Reconstructions: DenseMatches,
    TemplateBoxes: SceneDetections,
}


def offered(room, base: type) -> list[type]:
    found = [getattr(room, name) for name in room.__all__]
    return [c for c in found if issubclass(c, base) and not inspect.isabstract(c) and c is not base]


MATCHERS = offered(matchers, Matcher)
#: The writer of each matcher, as its configuration has it; PlaceMatcher learns and finds nothing.
WRITER_OF = {
    matcher: yaml.safe_load((CONFIGS / matcher.predict_config).read_text())["writer"]["class_path"]
    for matcher in MATCHERS
} | {matchers.PlaceMatcher: None}


@pytest.fixture(scope="module")
def built():
    """Matchers by their class, each built once."""
    return {matcher: matcher() for matcher in MATCHERS}


def test_all_writers_are_tried():
    assert set(offered(callbacks, PredictionWriter)) == set(WRITERS)
    assert set(WRITER_OF.values()) == {writer.__name__ for writer in WRITERS} | {None}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda matcher: matcher.__name__)
def test_a_writer_takes_what_it_can_write_and_tells_what_to_give_else(built, matcher, writer):
    if WRITER_OF[matcher] == writer.__name__:
        require_finder(built[matcher], writer())
        assert matcher.__name__ in FINDERS[WRITERS[writer]]
        return
    assert matcher.__name__ not in FINDERS[WRITERS[writer]]
    with pytest.raises(InputError) as error:
        require_finder(built[matcher], writer())
    refusal, _, advice = str(error.value).partition("; give ")
    assert refusal.startswith(f"{writer.__name__} cannot write what a")
    right, _, models = advice.rpartition("--model ")
    assert models.replace(" or ", ", ").split(", ") == list(FINDERS[WRITERS[writer]])
    if WRITER_OF[matcher] is None:
        assert refusal.endswith(f" {matcher.__name__} learns, for it finds nothing")
        assert right == ""
        return
    assert refusal.endswith(f" {matcher.__name__} finds")
    # true even where the run has that configuration, whose writer was overruled
    own = matcher.predict_config
    assert right == f"--writer {WRITER_OF[matcher]} as configs/{own} does, or "


class Other(pl.LightningModule):
    """A matcher of somebody else."""

    def predict_step(self, batch, batch_idx) -> list[Matches]:
        return []


def test_a_matcher_of_somebody_else_is_told_by_its_annotation():
    require_finder(Other(), PairMatches())
    with pytest.raises(InputError, match=r"what an Other finds; give --writer PairMatches, or --m"):
        require_finder(Other(), ChangeBoxes())


def test_what_is_not_annotated_is_not_refused():
    class Silent(Other):
        def predict_step(self, batch, batch_idx):
            return []

    class Free:
        def write_batch(self, prediction, batch):
            return None

    require_finder(Silent(), ChangeBoxes())
    require_finder(Other(), Free())
    require_finder(PatchMatch(), Free())


def test_a_former_run_survives_a_writer_that_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    writer = PairMatches(str(tmp_path), overwrite=True)
    trainer = quiet_trainer(writer)
    with pytest.raises(InputError, match="PairMatches cannot write what a PatchMatch finds"):
        writer.setup(trainer, PatchMatch(), "predict")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    writer.setup(trainer, SIFTMatcher(), "predict")
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
