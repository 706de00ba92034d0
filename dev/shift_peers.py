"""Networks that the shift matcher is compared with: plain 3D CNNs, trained on the same digits.

``regression`` is the original of the idea: a 3D CNN regresses the shift of single centred digits.
``plain 3D CNN`` classifies the shift of the pairs that the shift matcher is trained with.
"""

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.core.process import keep_freed_memory
from patchmatch.shift.data import ShiftedDigits
from patchmatch.shift.ops import LARGER, SHIFTS
from patchmatch.shift.transfer import PatchMatcher, sample_digit_pairs
from patchmatch.synthetic.digits import load_digits, split_indices

EPOCHS, PAIRS, BATCH = 9, 25_600, 128  # as in configs/config_patch_match_train.yaml
LR = 3e-3


def plain_3d_cnn(outputs: int) -> nn.Sequential:
    """Return three 3D convolutions with pooling and two dense layers, for pairs of 26x26."""
    layers: list[nn.Module] = []
    channels = 1
    for out, depth in ((16, 2), (32, 1), (32, 1)):
        layers += [
            nn.Conv3d(channels, out, (depth, 3, 3), padding=(0, 1, 1)),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
        ]
        channels = out
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(32 * 3 * 3, 64), nn.ReLU(), nn.Linear(64, outputs)
    )


def train_regression(seed: int = 0) -> PatchMatcher:
    """Train on single centred digits to regress (dx, dy); the answer is rounded to a shift."""
    torch.manual_seed(seed)
    net = plain_3d_cnn(2)
    digits = load_digits("embedded", "data")
    digits = digits[split_indices(len(digits), "train")]
    steps = _Steps(net, "regression")
    for epoch in steps.epochs():
        pairs = sample_digit_pairs(digits, PAIRS, 1000 * (seed + 1) + epoch)
        frames = torch.from_numpy(np.stack([pairs.patches0, pairs.patches1], axis=1)) / 255
        shift = torch.from_numpy(pairs.displacement).float()
        for batch in torch.arange(PAIRS).split(BATCH):
            steps.step(F.mse_loss(net(frames[batch, None]), shift[batch]))
    return _matcher(net, lambda out: out.round().clamp(-1, 1).long().numpy())


def train_plain(seed: int = 0) -> PatchMatcher:
    """Train a classifier of the ten classes on the pairs of the shift matcher."""
    torch.manual_seed(seed)
    net = plain_3d_cnn(len(SHIFTS) + 1)
    data = ShiftedDigits(train_pairs=PAIRS, batch_size=BATCH, seed=seed)
    data.setup("fit")
    loader = data.train_dataloader()
    steps = _Steps(net, "plain 3D CNN")
    for epoch in steps.epochs():
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            steps.step(F.cross_entropy(net(batch["frames"]), batch["shift"]))
    shifts = np.array(SHIFTS)
    return _matcher(net, lambda out: shifts[out[:, :LARGER].argmax(dim=1).numpy()])


PEERS = {"3D CNN, regression": train_regression, "plain 3D CNN": train_plain}


class _Steps:
    """AdamW with a one-cycle learning rate."""

    def __init__(self, net: nn.Module, name: str) -> None:
        keep_freed_memory()
        self.name = name
        self.optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, LR, EPOCHS * PAIRS // BATCH, pct_start=0.1
        )

    def epochs(self):
        return track(range(EPOCHS), f"training {self.name}")

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()


def _matcher(net: nn.Module, answer) -> PatchMatcher:
    net.eval()

    @torch.inference_mode()
    def match(patches0: np.ndarray, patches1: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(np.stack([patches0, patches1], axis=1)).float()[:, None] / 255
        return np.concatenate([answer(net(part)) for part in frames.split(1000)])

    return match
