"""Scoring of candidate displacements: a network with message passing, and a baseline."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patchmatch.motion.candidates import Offered
from patchmatch.motion.lucas_kanade import geman_mcclure
from patchmatch.motion.scoring_steps import Messages, cell_votes, regard

SHARPNESS, BONUS = 25.0, 3.0  # of a difference, and of the neighbours' full agreement
SCALE = 0.35  # local standard deviations: a residual at which a cell counts a quarter
REACHES = (0.3, 1.0, 4.0)  # pixels of a level: how near two displacements are that agree
TIE = 0.05  # a price on the logarithm of a displacement: where nothing is seen, nothing moves
LURE = 0.3  # what noise adds to that price: the best of many guesses fits its noise a little
PLAIN_LURE = 0.6  # the same where nothing is learned on top
NOT_JUDGED = -1e4  # the logit of what repeats another candidate: no probability is left of it
NEAR = 3  # among what the messages say: unweighted belief, at the second reach


Layer = tuple[Tensor, Tensor]  #: weights (outputs, inputs) and biases (outputs,)


class JudgeNetwork(NamedTuple):
    """The weights of a judge, in the form that its kernels take.

    Attributes:
        formula: (3,), logarithms of sharpness, bonus and lure.
        cell: Units of a residual, of four times how far it is above the least one, of texture,
            noise and half of the level.
        evidence: Of the means of these units, rectified.
        alone: Units of the evidence and of what ``regard`` tells, and what they add to a logit.
        trust: Units of the greatest of the same, and how far a block is trusted.
        together: Units of the same and of what neighbours say, units of these, and what they add.
    """

    formula: Tensor
    cell: Layer
    evidence: Layer
    alone: tuple[Layer, ...]
    trust: tuple[Layer, ...]
    together: tuple[Layer, ...]


class Judge(nn.Module):
    """Probabilities of candidates, by learned evidence and a few rounds of messages.

    What is learned is added to the formula of ``PlainJudge``, with less of a lure, and is nothing
    at first.

    The evidence is a function of each cell's residual, of how far it is above the least one there,
    of the cell's texture and noise and of the level, averaged over the cells: a cell votes,
    whatever its contrast. In each round a candidate learns how much probability the neighbours give
    to displacements near it, once as they are and once weighted by how far each is trusted.

    Args:
        hidden: Channels of the hidden layers.
        evidence: Channels of the evidence.
        rounds: Rounds of messages.
    """

    def __init__(self, hidden: int = 16, evidence: int = 8, rounds: int = 2) -> None:
        super().__init__()
        self.rounds = rounds
        #: logarithms of the sharpness, the bonus and the lure, as ``PlainJudge`` has them
        self.formula = nn.Parameter(torch.tensor([SHARPNESS, BONUS, LURE]).log())
        known = evidence + 5
        self.cell = nn.Sequential(nn.Linear(5, hidden))  # rectified, as part of ``cell_votes``
        self.evidence = nn.Linear(hidden, evidence)
        self.alone = nn.Sequential(nn.Linear(known, hidden), nn.ReLU(inplace=True), silent(hidden))
        self.trust = nn.Sequential(
            nn.Linear(known, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1)
        )
        self.together = nn.Sequential(
            nn.Linear(known + 2 * len(REACHES), hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            silent(hidden),
        )

    def forward(
        self,
        offered: Offered,
        residual: Float[Tensor, "B R C K cells"],
        texture: Float[Tensor, "B R C cells"],
        noise: Float[Tensor, "B R C cells"],
        shares: Float[Tensor, " cells"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits after each round, those before the first one in front.

        Args:
            offered: The candidates, in pixels of the level.
            residual: Mean clipped difference in each cell under each displacement, less what
                noise alone would leave.
            texture: Logarithm of the root mean square gradient in each cell.
            noise: Standard deviation of the noise in each cell.
            shares: What each cell counts.
            level: Level of the pyramid; a pixel of it is 2^level pixels of the frame.
        """
        candidates, fresh, _ = offered
        layer: Any = self.cell[0]
        weight = layer.weight[:, :4] * layer.weight.new_tensor([1, 4, 1, 1])
        bias = layer.bias + level / 2 * layer.weight[:, 4]
        votes = cell_votes(residual, fresh, texture, noise, shares, weight, bias)
        seen = regard(offered, residual, texture, noise, shares, level)  # (B, R, C, K, 5)
        known = torch.cat([self.evidence(votes), seen], dim=-1)
        most = known.masked_fill(~fresh.unsqueeze(-1), -torch.inf).amax(dim=-2)
        messages = Messages(candidates, self.trust(most).sigmoid(), REACHES)
        sharpness, bonus, lure = self.formula.exp().unbind()
        plain = difference_price(seen, sharpness, lure)
        rounds = [(plain + self.alone(known).squeeze(-1)).masked_fill(~fresh, NOT_JUDGED)]
        for _ in range(self.rounds):
            support = messages.support(rounds[-1])  # (B, R, C, K, 6)
            said = self.together(torch.cat([known, support], dim=-1)).squeeze(-1)
            logits = plain + bonus * support[..., NEAR] + said
            rounds.append(logits.masked_fill(~fresh, NOT_JUDGED))
        return rounds

    def network(self) -> JudgeNetwork:
        """Return the weights."""
        cell, evidence = linear_layers([self.cell[0], self.evidence])
        return JudgeNetwork(
            self.formula, cell, evidence,
            *(linear_layers(part) for part in (self.alone, self.trust, self.together)),
        )  # fmt: skip


class PlainJudge(nn.Module):
    """The same by hand: a clipped mean difference and a fixed bonus for agreement.

    Args:
        sharpness: What a difference counts.
        bonus: What full agreement of the neighbours counts.
        lure: What noise adds to the price of going far.
        rounds: Rounds of messages.
    """

    def __init__(
        self,
        sharpness: float = SHARPNESS,
        bonus: float = BONUS,
        lure: float = PLAIN_LURE,
        rounds: int = 2,
    ) -> None:
        super().__init__()
        self.sharpness, self.bonus, self.lure, self.rounds = sharpness, bonus, lure, rounds

    def forward(
        self,
        offered: Offered,
        residual: Float[Tensor, "B R C K cells"],
        texture: Float[Tensor, "B R C cells"],
        noise: Float[Tensor, "B R C cells"],
        shares: Float[Tensor, " cells"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits after each round; the arguments are those of ``Judge``."""
        candidates, fresh, _ = offered
        seen = regard(offered, residual, texture, noise, shares, level)
        plain = difference_price(seen, self.sharpness, self.lure)
        nobody = torch.zeros_like(candidates[..., :1, 0])
        messages = Messages(candidates, nobody, REACHES[1:2])
        rounds = [plain.masked_fill(~fresh, NOT_JUDGED)]
        for _ in range(self.rounds):
            support = messages.support(rounds[-1])[..., 1]
            rounds.append((plain + self.bonus * support).masked_fill(~fresh, NOT_JUDGED))
        return rounds

    def network(self) -> JudgeNetwork:
        """Return the weights of a network without units, whose outputs are 0."""
        formula = torch.tensor([self.sharpness, self.bonus, self.lure]).log()
        known = 5
        none = torch.zeros(0, known), torch.zeros(0)
        nothing = torch.zeros(1, 0), torch.zeros(1)
        together = torch.zeros(0, known + 2 * len(REACHES)), torch.zeros(0)
        empty = torch.zeros(0, 0), torch.zeros(0)
        layers = none, nothing
        return JudgeNetwork(formula, none, empty, layers, layers, (together, empty, nothing))


def difference_price(
    seen: Float[Tensor, "*N 5"], sharpness: Tensor | float, lure: Tensor | float
) -> Float[Tensor, "*N"]:
    """Return the logit of each candidate by itself, below 0 by its mean difference and going far.

    Args:
        seen: What ``regard`` of the steps tells of each candidate.
        sharpness: What a difference counts.
        lure: What noise adds to the price of going far.
    """
    residual, _, noise, length, _ = seen.unbind(dim=-1)
    return -sharpness * residual - (TIE + lure * noise) * length


def linear_layers(network: Iterable[nn.Module]) -> tuple[Layer, ...]:
    """Return the weights of the linear layers of a network."""
    return tuple((x.weight, x.bias) for x in network if isinstance(x, nn.Linear))


def silent(channels: int, outputs: int = 1) -> nn.Linear:
    """Return a last layer that says nothing before it has learned."""
    layer = nn.Linear(channels, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class CellTrust(nn.Module):
    """How far each cell of a window is trusted when its displacement is refined, learned.

    A robust estimator whose weights are not a formula but a small network (Lv et al., "Taking a
    deeper look at the inverse compositional algorithm", CVPR 2019). It multiplies the weights of
    ``PlainTrust``, at first by one.

    Args:
        hidden: Channels of the hidden layer.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.scale, self.least = SCALE, 1e-3
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(inplace=True), silent(hidden))

    def forward(
        self, squared: Float[Tensor, "N K cells"], texture: Float[Tensor, "N cells"], level: int
    ) -> Float[Tensor, "N K cells"]:
        """Return weights above 0 from mean squared residuals and the logarithm of gradients."""
        residual = (squared + 1e-3).log()
        average = (squared.mean(dim=-1, keepdim=True) + 1e-3).log().expand_as(squared)
        scale = torch.full_like(squared, level / 2)
        texture = texture.unsqueeze(1).expand_as(squared)
        seen = torch.stack([residual, texture, average, scale], dim=-1)
        factor = self.layers(seen).squeeze(-1).clamp(-6, 6).exp()
        return factor * geman_mcclure(squared, self.scale) + self.least

    def network(self) -> tuple[Layer, ...]:
        """Return the weights of both layers, as ``refine_windows`` takes them."""
        return linear_layers(self.layers)


class PlainTrust(nn.Module):
    """The same by hand: the weights of Geman and McClure's estimator.

    Args:
        scale: Residual, in local standard deviations, at which a cell counts a quarter.
    """

    def __init__(self, scale: float = SCALE) -> None:
        super().__init__()
        self.scale, self.least = scale, 0.0

    def forward(
        self, squared: Float[Tensor, "N K cells"], texture: Float[Tensor, "N cells"], level: int
    ) -> Float[Tensor, "N K cells"]:
        """Return weights above 0; the arguments are those of ``CellTrust``."""
        return geman_mcclure(squared, self.scale)

    def network(self) -> tuple[Layer, ...]:
        """Return the weights of a network without units, whose output is 0."""
        return (torch.zeros(0, 4), torch.zeros(0)), (torch.zeros(1, 0), torch.zeros(1))
