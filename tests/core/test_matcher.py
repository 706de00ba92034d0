import math

import pytest
import torch
from pytorch_lightning import Trainer
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchmetrics import Metric

from patchmatch.core.matcher import Matcher
from patchmatch.motion.matcher import MotionMatcher
from patchmatch.nnf.patch_match import PatchMatch
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.shift.matcher import ShiftMatcher
from patchmatch.shift.pairs import ShiftedPairs
from patchmatch.templates.matcher import TemplateMatcher


class RecordingMatcher(ShiftMatcher):
    """Records the learning rate of each step."""

    def on_before_optimizer_step(self, optimizer):
        self.rates = [*getattr(self, "rates", []), optimizer.param_groups[0]["lr"]]


def fitted(steps, **options):
    canvas = torch.rand(60, 60, generator=torch.Generator().manual_seed(0)).numpy()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    matcher = RecordingMatcher(width=4, **options)
    trainer.fit(matcher, DataLoader(ShiftedPairs([canvas], 4, seed=1), batch_size=2))
    return matcher


@pytest.mark.parametrize("steps", [1, 5, 10, 11])
def test_any_number_of_steps_can_be_trained(steps):
    rates = fitted(steps, lr=0.5).rates
    assert len(rates) == steps
    assert max(rates) > 0.1
    assert steps < 5 or rates[-1] < 0.01  # the schedule decays to its end


def test_weight_decay_reaches_the_optimizer():
    optimizer = fitted(1, weight_decay=0.125).optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.125]


def test_learning_rate_changes_every_step():
    rates = fitted(6).rates  # three epochs of two steps
    assert len(set(rates)) == 6


def logged_by(matcher, monkeypatch, batches):
    logged = {}
    monkeypatch.setattr(matcher, "log", lambda name, value, **_: logged.update({name: value}))
    with torch.no_grad():
        for batch in batches:
            matcher.validation_step(batch, 0)
    assert all(isinstance(value, Metric) for value in logged.values())  # summed over processes
    return {name: value.compute() for name, value in logged.items()}


def test_motion_errors_are_averaged_over_blocks_of_all_batches(monkeypatch):
    frames = torch.rand(1, 1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    visible = [torch.ones(1, 2, 2), torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)]
    visible[1][0, 0, 0] = 1
    batches = [
        {"frames": frames, "displacement": torch.full((1, 2, 2, 2), 3.0 * i), "visible": mask}
        for i, mask in enumerate(visible)
    ]
    matcher = MotionMatcher(hidden=4).eval()
    with torch.no_grad():
        found = matcher.net(frames).displacement
    errors = torch.cat([found.flatten(0, 2).norm(dim=1), (found[0, 0, :1] - 3).norm(dim=1)])
    logged = logged_by(matcher, monkeypatch, batches)
    assert_close(logged["val/epe"], errors.mean())
    assert_close(logged["val/within_half"], (errors < 0.5).float().mean())
    assert math.isfinite(logged["val/loss"])


def test_shift_losses_are_averaged_over_pairs_of_all_batches(monkeypatch):
    frames = torch.rand(4, 1, 2, 26, 26, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([0, 3, 4, 9])
    parts = [slice(0, 1), slice(1, 4)]
    matcher = ShiftMatcher(width=4).eval()
    together = logged_by(matcher, monkeypatch, [{"frames": frames, "shift": shift}])
    matcher = matcher.requires_grad_(False)
    for metric in (matcher.val_loss, matcher.val_exact, matcher.val_accuracy):
        metric.reset()
    batches = [{"frames": frames[part], "shift": shift[part]} for part in parts]
    apart = logged_by(matcher, monkeypatch, batches)
    assert set(apart) == {"val/loss", "val/exact", "val/accuracy"}
    for name, value in together.items():
        assert_close(apart[name], value)


def test_images_with_nan_raise_in_every_predict_step():
    broken = torch.rand(1, 1, 40, 40)
    broken[0, 0, 3, 4] = math.nan
    frames = [torch.rand(1, 40, 40), broken[0]]
    clip = {"names": ["a", "b"], "frames": frames, "pairs": [(0, 1)], "source": "s", "notes": []}
    for matcher in (ShiftMatcher(), MotionMatcher()):
        with pytest.raises(ValueError, match="frame b contains NaN or infinite values"):
            matcher.predict_step(clip, 0)
    pair = {"pairs": [(0, 1)], "image0": torch.rand(1, 1, 40, 40), "image1": broken}
    for matcher in (PatchMatch(), SIFTMatcher()):
        with pytest.raises(ValueError, match="image1 contains NaN or infinite values"):
            matcher.predict_step(pair, 0)
    scene = {"scene": torch.rand(3, 40, 40), "template_names": ["cup"], "templates": [broken[0]]}
    with pytest.raises(ValueError, match="template cup contains NaN or infinite values"):
        TemplateMatcher(features="handcrafted").predict_step(scene, 0)


def test_a_matcher_without_a_configuration_of_its_own_names_none():
    assert Matcher.predict_config is None
    assert ShiftMatcher.predict_config == "config_patch_match_predict.yaml"
    assert "predict_dir" in ShiftMatcher.predict_source
