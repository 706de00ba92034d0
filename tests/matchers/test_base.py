import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from patchmatch.data import ShiftedPairs
from patchmatch.matchers import ShiftMatcher


class Watched(ShiftMatcher):
    """Remembers the learning rate of each step."""

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
    matcher = Watched(width=4, **options)
    trainer.fit(matcher, DataLoader(ShiftedPairs([canvas], 4, seed=1), batch_size=2))
    return matcher


@pytest.mark.parametrize("steps", [1, 5, 10, 11])
def test_any_number_of_steps_can_be_trained(steps):
    rates = fitted(steps, lr=0.5).rates
    assert len(rates) == steps
    assert max(rates) > 0.1  # it learns
    assert steps < 5 or rates[-1] < 0.01  # and comes to rest, step by step


def test_weight_decay_reaches_the_optimizer():
    optimizer = fitted(1, weight_decay=0.125).optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.125]


def test_the_rate_changes_with_every_step():
    rates = fitted(6).rates  # three epochs of two steps
    assert len(set(rates)) == 6
