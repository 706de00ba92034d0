"""Training on generated pairs: of the features, and of the refinement network."""

import torch

from patchmatch.stereo.data import StereoScenes
from patchmatch.stereo.matcher import StereoMatcher


def train(matcher: StereoMatcher, data: StereoScenes, steps: int, lr: float) -> list[float]:
    """Train on one batch, and return the loss of each step."""
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    parameters = [p for p in matcher.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr)
    losses = []
    for _ in range(steps):
        loss, _ = matcher._loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_training_of_the_features_lowers_the_loss():
    torch.manual_seed(0)
    matcher = StereoMatcher(channels=8, layers=2, trained="features")
    data = StereoScenes(source="embedded", height=32, width=64, max_disparity=12, canvases=2)
    losses = train(matcher, data, 60, 0.01)
    assert losses[-1] < 0.8 * losses[0]


def test_training_of_the_refinement_lowers_the_loss_and_all_parts_get_gradients():
    torch.manual_seed(0)
    matcher = StereoMatcher(iterations=2)
    data = StereoScenes(source="embedded", height=64, width=96, max_disparity=24, canvases=2)
    losses = train(matcher, data, 25, 3e-3)
    assert losses[-1] < 0.9 * losses[0]
    without = [n for n, p in matcher.refinement.named_parameters() if p.grad is None]
    assert [name for name in without if not name.startswith("search.")] == []
