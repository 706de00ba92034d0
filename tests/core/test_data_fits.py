"""Every matcher expects one type of batch in each stage; other data are an error."""

import inspect
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
import yaml
from program_runs import QUIET, one_line, quiet_trainer

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


def concrete_subclasses(base: type) -> dict[str, type]:
    """Return the concrete subclasses of ``base`` in the package, by name."""
    kinds = (c for c in subclasses(base) if c.__module__.startswith("patchmatch."))
    return {
        c.__name__: c for c in kinds if not inspect.isabstract(c) and vars(c).get("batch_type", 1)
    }


MATCHERS = {name: c for name, c in concrete_subclasses(Matcher).items() if c is not Matcher}
DATA = [
    c for c in concrete_subclasses(MatchingData).values() if vars(c).get("batch_type") is not None
]
PAIRS = ("ImagePairs", "PicturePairs")
#: Data modules of each stage and matcher, in alphabetical order.
TRAINED = {
    "ShiftMatcher": ("ShiftedDigits",),
    "MotionMatcher": ("MovingDigits",),
    "DifferentiablePatchMatch": ("WarpedPhotographs",),
    "HomographyNetMatcher": ("WarpedImages",),
    **dict.fromkeys(("LoFTRMatcher", "SE2LoFTRMatcher", "NCNetMatcher"), ("FlowPairs",)),
    "Patch2PixMatcher": ("EpipolarPairs", "PosedPairs"),
    "StereoMatcher": ("StereoFolder", "StereoScenes"),
    "PlaceMatcher": ("SyntheticPlaces", "University1652"),
}
PREDICTED = {
    **dict.fromkeys(("ShiftMatcher", "MotionMatcher", "ObjectTracker"), ("Frames", "RenderedCows")),
    **dict.fromkeys(("PatchMatch", "DifferentiablePatchMatch"), PAIRS),
    **dict.fromkeys(("AutoMatcher", "SIFTMatcher", "ASIFTMatcher", "AffNetHardNetMatcher"), PAIRS),
    **dict.fromkeys(("LoFTRMatcher", "SE2LoFTRMatcher"), PAIRS),
    **dict.fromkeys(("NCNetMatcher", "Patch2PixMatcher"), PAIRS),
    **dict.fromkeys(("HomographyNetMatcher", "FieldMatcher"), PAIRS),
    **dict.fromkeys(("ALIKEDLightGlueMatcher", "DISKLightGlueMatcher", "XFeatMatcher"), PAIRS),
    "TemplateMatcher": ("TemplateScenes",),
    "StereoMatcher": ("StereoPairs",),
}
FITTING = {"predict": PREDICTED} | dict.fromkeys(("fit", "validate", "test"), TRAINED)


def uninitialised(kind: type) -> Any:
    """Return an instance without calling ``__init__``; only class attributes are needed."""
    return object.__new__(kind)


def test_all_data_and_matchers_are_in_the_tables():
    assert {kind.__name__ for kind in DATA} == {
        name for table in FITTING.values() for names in table.values() for name in names
    }
    assert set(MATCHERS) == set(PREDICTED) | set(TRAINED)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_in_the_tables(path):
    config = yaml.safe_load(path.read_text())
    stage = "predict" if "writer" in config else "fit"
    assert config["data"]["class_path"] in FITTING[stage][config["model"]["class_path"]]


@pytest.mark.parametrize("stage", STEPS)
@pytest.mark.parametrize("name", sorted({*PREDICTED, *TRAINED}))
def test_data_of_another_batch_type_raise_and_the_message_names_alternatives(stage, name):
    matcher = uninitialised(MATCHERS[name])
    fitting = FITTING[stage].get(name)
    for kind in DATA:
        if fitting is None and name in ("TemplateMatcher", "ObjectTracker"):
            with pytest.raises(InputError, match=rf"^{name} cannot .* any data: it has no"):
                require_data_fits(matcher, uninitialised(kind), stage)
        elif fitting is None or kind.__name__ in fitting:
            require_data_fits(matcher, uninitialised(kind), stage)
        else:
            advice = f"expected batches of .*; give --data {' or '.join(fitting)}$"
            with pytest.raises(InputError, match=f"^{name} cannot .* {kind.__name__}: {advice}"):
                require_data_fits(matcher, uninitialised(kind), stage)


class UntypedData(Frames):
    """Third-party data without ``batch_type``."""


class UntypedMatcher(SIFTMatcher):
    """A third-party matcher without annotations."""

    def predict_step(self, batch, batch_idx):
        return []


class MatcherOfForeignBatches(SIFTMatcher):
    """It expects batches of a type that no data module has."""

    def predict_step(self, batch: dict[str, int], batch_idx: int):
        return []


def test_batches_without_a_declared_type_are_accepted():
    require_data_fits(uninitialised(SIFTMatcher), uninitialised(UntypedData), "predict")
    require_data_fits(uninitialised(UntypedMatcher), uninitialised(Frames), "predict")
    require_data_fits(uninitialised(MatcherOfForeignBatches), uninitialised(Frames), "predict")
    require_data_fits(uninitialised(SIFTMatcher), None, "predict")


class ThirdPartyBatch(TypedDict):
    """A batch of another package."""


class ThirdPartyData(Frames):
    batch_type = ThirdPartyBatch


class ThirdPartyMatcher(SIFTMatcher):
    def predict_step(self, batch: ThirdPartyBatch, batch_idx: int):
        return []


def test_types_declared_by_third_party_classes_are_checked():
    require_data_fits(uninitialised(ThirdPartyMatcher), uninitialised(ThirdPartyData), "predict")
    with pytest.raises(InputError, match=r"Data: expected batches of Clip, got ThirdPartyBatch;"):
        require_data_fits(uninitialised(ShiftMatcher), uninitialised(ThirdPartyData), "predict")
    with pytest.raises(InputError, match=r"ThirdPartyBatch, got Clip; give --data ThirdPartyData$"):
        require_data_fits(uninitialised(ThirdPartyMatcher), uninitialised(Frames), "predict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["predict", f"-c={CONFIGS / 'config_match_sift.yaml'}", "--data=Frames"],
            "SIFTMatcher cannot match Frames: expected batches of ImagePair, got Clip; give --data "
            "ImagePairs or PicturePairs",
        ),
        (
            ["predict", f"-c={CONFIGS / 'config_motion_predict.yaml'}", "--data=PicturePairs"],
            "MotionMatcher cannot match PicturePairs: expected batches of Clip, got ImagePair; "
            "give --data Frames or RenderedCows",
        ),
        (
            ["fit", "--model=ShiftMatcher", "--data=MovingDigits", "--trainer.max_epochs=1"],
            "ShiftMatcher cannot train on MovingDigits: expected batches of PairBatch, got "
            "MotionBatch; give --data ShiftedDigits",
        ),
    ],
)
def test_command_line_ends_before_data_are_prepared(
    tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MatchingData, "prepare_data", lambda self: pytest.fail("data prepared"))
    monkeypatch.setattr(Frames, "setup", lambda self, stage: pytest.fail("data opened"))
    line = one_line(capsys, lambda: main([*options, *QUIET, "--trainer.logger=false"]))
    assert line == f"patchmatch: error: {message}"
    assert list(tmp_path.iterdir()) == []


def test_python_calls_raise_the_same_error():
    with pytest.raises(InputError, match="SIFTMatcher cannot match Frames: expected batches of"):
        quiet_trainer().predict(SIFTMatcher(), Frames(str(Path(sys.executable).parent)))
