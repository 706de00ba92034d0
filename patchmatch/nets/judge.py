"""Which of several displacements is right: evidence of the block and agreement around it."""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from patchmatch.kernels import compiled_for
from patchmatch.nets import motion_steps
from patchmatch.ops import geman_mcclure

SHARPNESS, BONUS = 25.0, 3.0  # of a difference, and of the neighbours' full agreement
SCALE = 0.35  # local standard deviations: a residual at which a cell counts a quarter
REACHES = (0.3, 1.0, 4.0)  # pixels of a level: how near two displacements are that agree
TIE = 0.05  # a price on the logarithm of a displacement: where nothing is seen, nothing moves
LURE = 0.3  # what noise adds to that price: the best of many guesses fits its noise a little
NEAR = 3  # among what the messages say: unweighted belief, at the second reach


class Judge(nn.Module):
    """Probabilities of candidates, by learned evidence and a few rounds of messages.

    What is learned is added to the formula of ``PlainJudge``, and is nothing at first.

    The evidence is a function of each cell's residual, of how far it is above the best
    candidate's and of the cell's texture, averaged over the cells: a cell votes, whatever its
    contrast. In each round a candidate learns how much probability the neighbours give to
    displacements near it, once as they are and once weighted by how far each is trusted.

    Args:
        hidden: Channels of the hidden layers.
        evidence: Channels of the evidence.
        rounds: Rounds of messages.
    """

    def __init__(self, hidden: int = 16, evidence: int = 8, rounds: int = 3) -> None:
        super().__init__()
        self.rounds = rounds
        #: logarithms of the sharpness, the bonus and the lure of ``PlainJudge``
        self.formula = nn.Parameter(torch.tensor([SHARPNESS, BONUS, LURE]).log())
        known = evidence + 5
        self.cell = nn.Sequential(nn.Linear(5, hidden))  # rectified, as part of ``votes``
        self.evidence = nn.Linear(hidden, evidence)
        self.alone = nn.Sequential(nn.Linear(known, hidden), nn.ReLU(inplace=True), silent(hidden))
        self.trust = nn.Sequential(
            nn.Linear(known, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1)
        )
        self.together = nn.Sequential(
            nn.Linear(known + 2 * len(REACHES), 2 * hidden),
            nn.ReLU(inplace=True),
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(inplace=True),
            silent(hidden),
        )

    def forward(
        self,
        candidates: Float[Tensor, "B R C K 2"],
        residual: Float[Tensor, "B R C K cells"],
        texture: Float[Tensor, "B R C cells"],
        noise: Float[Tensor, "B R C cells"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits after each round, those before the first one in front.

        Args:
            candidates: Displacements in pixels of the level.
            residual: Mean clipped difference in each cell under each displacement, less what
                noise alone would leave.
            texture: Logarithm of the root mean square gradient in each cell.
            noise: Standard deviation of the noise in each cell.
            level: Level of the pyramid; a pixel of it is 2^level pixels of the frame.
        """
        steps = steps_for(candidates, residual)
        cell: Any = self.cell[0]
        weight = cell.weight[:, :4] * cell.weight.new_tensor([1, 4, 1, 1])
        bias = cell.bias + level / 2 * cell.weight[:, 4]
        votes = steps.votes(residual, texture, noise, weight, bias)  # (B, R, C, K, hidden)
        seen = steps.regard(candidates, residual, texture, noise, level)  # (B, R, C, K, 5)
        known = torch.cat([self.evidence(votes), seen], dim=-1)
        trust = self.trust(known.amax(dim=-2)).sigmoid()  # (B, R, C, 1)
        messages = steps.Messages(candidates, trust, REACHES)
        sharpness, bonus, lure = self.formula.exp().unbind()
        plain = difference_price(seen, sharpness, lure)
        logits = plain + self.alone(known).squeeze(-1)
        # the first layer of what is said together: what does not change is computed once
        layer: Any = self.together[0]
        heard = layer.weight[:, -2 * len(REACHES) :]
        told = F.linear(known, layer.weight[:, : known.shape[-1]], layer.bias).flatten(0, 3)
        others = self.together[1:]
        rounds = [logits]
        for _ in range(self.rounds):
            support = messages.support(logits)  # (B, R, C, K, 6)
            hidden = torch.addmm(told, support.flatten(0, 3), heard.T)
            logits = plain + bonus * support[..., NEAR] + others(hidden).view_as(logits)
            rounds.append(logits)
        return rounds


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
        lure: float = LURE,
        rounds: int = 3,
    ) -> None:
        super().__init__()
        self.sharpness, self.bonus, self.lure, self.rounds = sharpness, bonus, lure, rounds

    def forward(
        self,
        candidates: Float[Tensor, "B R C K 2"],
        residual: Float[Tensor, "B R C K cells"],
        texture: Float[Tensor, "B R C cells"],
        noise: Float[Tensor, "B R C cells"],
        level: int,
    ) -> list[Float[Tensor, "B R C K"]]:
        """Return the logits after each round; the arguments are those of ``Judge``."""
        steps = steps_for(candidates, residual)
        seen = steps.regard(candidates, residual, texture, noise, level)
        alone = difference_price(seen, self.sharpness, self.lure)
        nobody = torch.zeros_like(candidates[..., :1, 0])
        messages = steps.Messages(candidates, nobody, REACHES[1:2])
        rounds = [alone]
        for _ in range(self.rounds):
            support = messages.support(rounds[-1])[..., 1]
            rounds.append(alone + self.bonus * support)
        return rounds


def steps_for(*tensors: Tensor) -> ModuleType:
    """Return the module of steps that serves these tensors: compiled ones, or ``motion_steps``."""
    if compiled_for(*tensors):
        from patchmatch.nets import motion_kernels

        return motion_kernels
    return motion_steps


def difference_price(
    seen: Float[Tensor, "*N 5"], sharpness: Tensor | float, lure: Tensor | float
) -> Float[Tensor, "*N"]:
    """Return what speaks against each candidate by itself: its mean difference, and going far.

    Args:
        seen: What ``regard`` of the steps tells of each candidate.
        sharpness: What a difference counts.
        lure: What noise adds to the price of going far.
    """
    residual, _, noise, length, _ = seen.unbind(dim=-1)
    return -sharpness * residual - (TIE + lure * noise) * length


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

    def network(self, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights on a level, in the form that ``refine_windows`` takes."""
        first: Any = self.layers[0]
        last: Any = self.layers[2]
        bias = first.bias + level / 2 * first.weight[:, 3]
        return first.weight[:, :3].T.contiguous(), bias, torch.cat([last.weight[0], last.bias])


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

    def network(self, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of a network without units, whose output is 0."""
        return torch.zeros(3, 0), torch.zeros(0), torch.zeros(1)
