"""Every matcher takes one kind of batch in each stage; data that give another are refused."""

import inspect
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
import yaml
from whole_runs import QUIET, one_line, quiet_trainer

import patchmatch.systems  # noqa: F401
from patchmatch.cli import main
from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import STEPS, Matcher, require_data_fits
from patchmatch.core.registration import subclasses
from patchmatch.frames.data import Frames
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.shift.matcher import ShiftMatcher

CONFIGS = Path(__file__).parents[2] / "configs"


def own(base: type) -> dict[str, type]:
    """Return the concrete subclasses of ``base`` in the package, by name."""
    kinds = (c for c in subclasses(base) if c.__module__.startswith("patchmatch."))
    return {
        c.__name__: c for c in kinds if not inspect.isabstract(c) and vars(c).get("batch_type", 1)
    }


MATCHERS = {name: c for name, c in own(Matcher).items() if name not in ("Matcher", "TrainedPairs")}
DATA = [c for c in own(MatchingData).values() if vars(c).get("batch_type") is not None]
PAIRS = ("ImagePairs", "PicturePairs")
#: Data of each stage and matcher, in alphabetical order.
LEARNED = {
    "ShiftMatcher": ("ShiftedDigits",),
    "MotionMatcher": ("MovingDigits",),
    "DescriptorMatcher": ("KeypointPatches",),
    "DifferentiablePatchMatch": ("WarpedPhotographs",),
    "HomographyNetMatcher": ("WarpedImages",),
    "PlaceMatcher": ("SyntheticPlaces", "University1652"),
}
PREDICTED = {
    **dict.fromkeys(("ShiftMatcher", "MotionMatcher"), ("Frames", "RenderedCows")),
    **dict.fromkeys(("PatchMatch", "DifferentiablePatchMatch"), PAIRS),
    **dict.fromkeys(("SIFTMatcher", "ASIFTMatcher", "AffNetHardNetMatcher"), PAIRS),
    **dict.fromkeys(("DescriptorMatcher", "LoFTRMatcher", "SE2LoFTRMatcher"), PAIRS),
    **dict.fromkeys(("HomographyNetMatcher", "FieldMatcher"), PAIRS),
    "TemplateMatcher": ("TemplateScenes",),
}
FITTING = {"predict": PREDICTED} | dict.fromkeys(("fit", "validate", "test"), LEARNED)


def bare(kind: type) -> Any:
    """Return an instance without building it; what is asked stands in its class."""
    return object.__new__(kind)


def test_all_data_and_matchers_are_in_the_tables():
    assert {kind.__name__ for kind in DATA} == {
        name for table in FITTING.values() for names in table.values() for name in names
    }
    assert set(MATCHERS) == set(PREDICTED) | set(LEARNED)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_in_the_tables(path):
    config = yaml.safe_load(path.read_text())
    stage = "predict" if "writer" in config else "fit"
    assert config["data"]["class_path"] in FITTING[stage][config["model"]["class_path"]]


@pytest.mark.parametrize("stage", STEPS)
@pytest.mark.parametrize("name", sorted({*PREDICTED, *LEARNED}))
def test_data_of_another_kind_are_refused_with_those_that_fit(stage, name):
    matcher = bare(MATCHERS[name])
    fitting = FITTING[stage].get(name)
    for kind in DATA:
        if fitting is None and name == "TemplateMatcher":
            with pytest.raises(InputError, match=r"^TemplateMatcher cannot .* any data: it has no"):
                require_data_fits(matcher, bare(kind), stage)
        elif fitting is None or kind.__name__ in fitting:  # who learns nothing says so by itself
            require_data_fits(matcher, bare(kind), stage)
        else:
            advice = f"gives: batches of .*; give --data {' or '.join(fitting)}$"
            with pytest.raises(InputError, match=f"^{name} cannot .* {kind.__name__} {advice}"):
                require_data_fits(matcher, bare(kind), stage)


class Silent(Frames):
    """Data of somebody else, which may give anything."""


class Own(SIFTMatcher):
    """A matcher of somebody else, which may take anything."""

    def predict_step(self, batch, batch_idx):
        return []


class Typed(Own):
    """It takes what none of our data give."""

    def predict_step(self, batch: dict[str, int], batch_idx: int):
        return []


def test_what_is_not_declared_is_not_refused():
    require_data_fits(bare(SIFTMatcher), bare(Silent), "predict")
    require_data_fits(bare(Own), bare(Frames), "predict")
    require_data_fits(bare(Typed), bare(Frames), "predict")
    require_data_fits(bare(SIFTMatcher), None, "predict")


class Strange(TypedDict):
    """A batch of somebody else."""


class Given(Frames):
    batch_type = Strange


class Taking(SIFTMatcher):
    def predict_step(self, batch: Strange, batch_idx: int):
        return []


def test_what_somebody_else_declares_is_compared_and_told():
    require_data_fits(bare(Taking), bare(Given), "predict")
    with pytest.raises(InputError, match=r"Given gives: batches of Strange, where it takes Clip;"):
        require_data_fits(bare(ShiftMatcher), bare(Given), "predict")
    with pytest.raises(InputError, match=r"where it takes Strange; give --data Given$"):
        require_data_fits(bare(Taking), bare(Frames), "predict")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["predict", f"-c={CONFIGS / 'config_match_sift.yaml'}", "--data=Frames"],
            "SIFTMatcher cannot match what Frames gives: batches of Clip, where it takes "
            "ImagePair; give --data ImagePairs or PicturePairs",
        ),
        (
            ["predict", f"-c={CONFIGS / 'config_motion_predict.yaml'}", "--data=PicturePairs"],
            "MotionMatcher cannot match what PicturePairs gives: batches of ImagePair, where it "
            "takes Clip; give --data Frames or RenderedCows",
        ),
        (
            ["fit", "--model=ShiftMatcher", "--data=MovingDigits", "--trainer.max_epochs=1"],
            "ShiftMatcher cannot learn from what MovingDigits gives: batches of MotionBatch, "
            "where it takes PairBatch; give --data ShiftedDigits",
        ),
    ],
)
def test_the_command_line_ends_before_the_data_are_prepared(
    tmp_path, monkeypatch, capsys, options, told
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MatchingData, "prepare_data", lambda self: pytest.fail("data prepared"))
    monkeypatch.setattr(Frames, "setup", lambda self, stage: pytest.fail("data opened"))
    line = one_line(capsys, lambda: main([*options, *QUIET, "--trainer.logger=false"]))
    assert line == f"patchmatch: error: {told}"
    assert list(tmp_path.iterdir()) == []


def test_python_is_told_the_same():
    with pytest.raises(InputError, match="SIFTMatcher cannot match what Frames gives"):
        quiet_trainer().predict(SIFTMatcher(), Frames(str(Path(sys.executable).parent)))
