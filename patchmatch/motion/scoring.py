"""Learned and hand-crafted scoring of candidates, and weights of robust registration."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.motion.candidates import Proposals
from patchmatch.motion.lucas_kanade import geman_mcclure
from patchmatch.motion.scoring_steps import Messages, candidate_features, subwindow_features

SHARPNESS = 25.0  # factor of the residual in a logit
AGREEMENT_BONUS = 3.0  # added to the logit of a candidate on which all neighbours agree
ROBUST_SCALE = 0.35  # local standard deviations: residual at which a subwindow has a weight of 1/4
SCALES = (0.3, 1.0, 4.0)  # pixels of a level, of the agreement of displacements
ZERO_MOTION_PRIOR = 0.05  # factor of log(1 + length) in a logit
# Added to that factor, times the noise: the best of many candidates fits noise by chance.
NOISE_PENALTY = 0.3
HANDCRAFTED_NOISE_PENALTY = 0.6
DUPLICATE_LOGIT = -1e4
AGREEMENT = 3  # column of ``Messages.support``: unweighted, at the second scale

Layer = tuple[Tensor, Tensor]  #: weights (outputs, inputs) and biases (outputs,)


class ScorerWeights(NamedTuple):
    """Weights of a scorer, in the form that its compiled loops take.

    Attributes:
        formula: (3,), logarithms of sharpness, agreement bonus and noise penalty.
        subwindow: Layer of residual, four times its difference to the least one, texture, noise
            and half of the level.
        evidence: Layer of the means of these units after a ReLU.
        unary: Two layers of the features of a candidate, which give its logit.
        trust: Two layers of the maxima of these features, which give the trust weight of a block.
        pairwise: Three layers of these features and the messages, which give a logit.
    """

    formula: Tensor
    subwindow: Layer
    evidence: Layer
    unary: tuple[Layer, ...]
    trust: tuple[Layer, ...]
    pairwise: tuple[Layer, ...]


class HypothesisScorer(nn.Module):
    """Logits of candidates from learned features and message passing between blocks.

    A small network of residual, texture and noise of each subwindow, averaged over the subwindows,
    describes a candidate. In each message-passing iteration a candidate receives the probability
    that the four neighbours give to displacements near it, with and without weights for how far
    each neighbour is trusted. What the networks add to the formula of ``HandcraftedScorer`` is zero
    before training.

    Args:
        hidden: Channels of the hidden layers.
        evidence: Features of a candidate from its subwindows.
        iterations: Message-passing iterations.
    """

    def __init__(self, hidden: int = 16, evidence: int = 8, iterations: int = 2) -> None:
        super().__init__()
        self.iterations = iterations
        #: logarithms of sharpness, agreement bonus and noise penalty
        self.formula = nn.Parameter(torch.tensor([SHARPNESS, AGREEMENT_BONUS, NOISE_PENALTY]).log())
        inputs = evidence + 5
        self.subwindow = nn.Sequential(nn.Linear(5, hidden))  # its ReLU: ``subwindow_features``
        self.evidence = nn.Linear(hidden, evidence)
        self.unary = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(inplace=True), zero_linear(hidden)
        )
        self.trust = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1)
        )
        self.pairwise = nn.Sequential(
            nn.Linear(inputs + 2 * len(SCALES), hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            zero_linear(hidden),
        )

    def forward(
        self,
        proposals: Proposals,
        residual: Float[Tensor, "B R C K subwindows"],
        texture: Float[Tensor, "B R C subwindows"],
        noise: Float[Tensor, "B R C subwindows"],
        subwindow_weights: Float[Tensor, " subwindows"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits before and after each message-passing iteration.

        Args:
            proposals: The candidates, in pixels of the level.
            residual: Mean clipped difference in each subwindow under each candidate, minus what
                noise alone leaves.
            texture: Logarithm of the root mean square gradient in each subwindow.
            noise: Standard deviation of the noise in each subwindow.
            subwindow_weights: Weight of each subwindow in means.
            level: Pyramid level; a pixel of it is 2^level pixels of the frame.
        """
        candidates, unique, _ = proposals
        layer: Any = self.subwindow[0]
        weight = layer.weight[:, :4] * layer.weight.new_tensor([1, 4, 1, 1])
        bias = layer.bias + level / 2 * layer.weight[:, 4]
        hidden = subwindow_features(
            residual, unique, texture, noise, subwindow_weights, weight, bias
        )
        means = candidate_features(proposals, residual, texture, noise, subwindow_weights, level)
        features = torch.cat([self.evidence(hidden), means], dim=-1)
        largest = features.masked_fill(~unique.unsqueeze(-1), -torch.inf).amax(dim=-2)
        messages = Messages(candidates, self.trust(largest).sigmoid(), SCALES)
        sharpness, bonus, noise_penalty = self.formula.exp().unbind()
        formula = formula_logits(means, sharpness, noise_penalty)
        logits = [
            (formula + self.unary(features).squeeze(-1)).masked_fill(~unique, DUPLICATE_LOGIT)
        ]
        for _ in range(self.iterations):
            support = messages.support(logits[-1])  # (B, R, C, K, 6)
            learned = self.pairwise(torch.cat([features, support], dim=-1)).squeeze(-1)
            found = formula + bonus * support[..., AGREEMENT] + learned
            logits.append(found.masked_fill(~unique, DUPLICATE_LOGIT))
        return logits

    def network(self) -> ScorerWeights:
        """Return the weights."""
        subwindow, evidence = linear_layers([self.subwindow[0], self.evidence])
        layers = (linear_layers(part) for part in (self.unary, self.trust, self.pairwise))
        return ScorerWeights(self.formula, subwindow, evidence, *layers)


class HandcraftedScorer(nn.Module):
    """Logits of candidates from the mean residual and a fixed bonus for agreement.

    Args:
        sharpness: Factor of the mean residual.
        bonus: Added where all neighbours agree.
        noise_penalty: Times the noise, added to the zero-motion prior.
        iterations: Message-passing iterations.
    """

    def __init__(
        self,
        sharpness: float = SHARPNESS,
        bonus: float = AGREEMENT_BONUS,
        noise_penalty: float = HANDCRAFTED_NOISE_PENALTY,
        iterations: int = 2,
    ) -> None:
        super().__init__()
        self.sharpness, self.bonus, self.noise_penalty = sharpness, bonus, noise_penalty
        self.iterations = iterations

    def forward(
        self,
        proposals: Proposals,
        residual: Float[Tensor, "B R C K subwindows"],
        texture: Float[Tensor, "B R C subwindows"],
        noise: Float[Tensor, "B R C subwindows"],
        subwindow_weights: Float[Tensor, " subwindows"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits; the arguments are those of ``HypothesisScorer``."""
        candidates, unique, _ = proposals
        means = candidate_features(proposals, residual, texture, noise, subwindow_weights, level)
        formula = formula_logits(means, self.sharpness, self.noise_penalty)
        no_trust = torch.zeros_like(candidates[..., :1, 0])
        messages = Messages(candidates, no_trust, SCALES[1:2])
        logits = [formula.masked_fill(~unique, DUPLICATE_LOGIT)]
        for _ in range(self.iterations):
            support = messages.support(logits[-1])[..., 1]
            logits.append((formula + self.bonus * support).masked_fill(~unique, DUPLICATE_LOGIT))
        return logits

    def network(self) -> ScorerWeights:
        """Return the weights of networks without hidden units, whose outputs are 0."""
        formula = torch.tensor([self.sharpness, self.bonus, self.noise_penalty]).log()
        inputs = 5
        none = torch.zeros(0, inputs), torch.zeros(0)
        zero = torch.zeros(1, 0), torch.zeros(1)
        pairwise = torch.zeros(0, inputs + 2 * len(SCALES)), torch.zeros(0)
        empty = torch.zeros(0, 0), torch.zeros(0)
        layers = none, zero
        return ScorerWeights(formula, none, empty, layers, layers, (pairwise, empty, zero))


def formula_logits(
    means: Float[Tensor, "*N 5"], sharpness: Tensor | float, noise_penalty: Tensor | float
) -> Float[Tensor, "*N"]:
    """Return a hand-crafted logit of each candidate, from its mean residual and its length.

    Args:
        means: Features from ``candidate_features``.
        sharpness: Factor of the mean residual.
        noise_penalty: Times the noise, added to the zero-motion prior.
    """
    residual, _, noise, length, _ = means.unbind(dim=-1)
    return -sharpness * residual - (ZERO_MOTION_PRIOR + noise_penalty * noise) * length


def linear_layers(network: Iterable[nn.Module]) -> tuple[Layer, ...]:
    """Return weights and biases of the linear layers of a network."""
    return tuple((x.weight, x.bias) for x in network if isinstance(x, nn.Linear))


def zero_linear(channels: int, outputs: int = 1) -> nn.Linear:
    """Return a linear layer whose output is zero before training."""
    layer = nn.Linear(channels, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class RobustWeights(nn.Module):
    """Learned weights of the subwindows in Lucas-Kanade registration.

    A robust estimator whose weights are computed by a small network (Lv et al., "Taking a deeper
    look at the inverse compositional algorithm", CVPR 2019). The network gives a factor of the
    weights of ``GemanMcClureWeights``, 1 before training.

    Args:
        hidden: Channels of the hidden layer.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.scale, self.least = ROBUST_SCALE, 1e-3
        self.layers = nn.Sequential(
            nn.Linear(4, hidden), nn.ReLU(inplace=True), zero_linear(hidden)
        )

    def forward(
        self,
        squared: Float[Tensor, "N K subwindows"],
        texture: Float[Tensor, "N subwindows"],
        level: int,
    ) -> Float[Tensor, "N K subwindows"]:
        """Return positive weights from mean squared residuals and the logarithm of gradients."""
        residual = (squared + 1e-3).log()
        average = (squared.mean(dim=-1, keepdim=True) + 1e-3).log().expand_as(squared)
        scale = torch.full_like(squared, level / 2)
        texture = texture.unsqueeze(1).expand_as(squared)
        features = torch.stack([residual, texture, average, scale], dim=-1)
        factor = self.layers(features).squeeze(-1).clamp(-6, 6).exp()
        return factor * geman_mcclure(squared, self.scale) + self.least

    def network(self) -> tuple[Layer, ...]:
        """Return weights and biases of both layers."""
        return linear_layers(self.layers)


class GemanMcClureWeights(nn.Module):
    """Weights of the robust estimator of Geman and McClure (1987).

    Args:
        scale: Residual, in local standard deviations, at which a subwindow has a weight of 1/4.
    """

    def __init__(self, scale: float = ROBUST_SCALE) -> None:
        super().__init__()
        self.scale, self.least = scale, 0.0

    def forward(
        self,
        squared: Float[Tensor, "N K subwindows"],
        texture: Float[Tensor, "N subwindows"],
        level: int,
    ) -> Float[Tensor, "N K subwindows"]:
        """Return positive weights; the arguments are those of ``RobustWeights``."""
        return geman_mcclure(squared, self.scale)

    def network(self) -> tuple[Layer, ...]:
        """Return a network without hidden units, whose output is 0."""
        return (torch.zeros(0, 4), torch.zeros(0)), (torch.zeros(1, 0), torch.zeros(1))
