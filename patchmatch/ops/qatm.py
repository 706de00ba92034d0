"""How good the best match of every feature is: QATM, correlation and soft rank, streamed.

All of them compare every feature of a scene with every feature of a template. The scene passes in
blocks, so that the table of all similarities need not exist.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CACHED = 2**19  # similarities of a block: few enough to stay in the processor's cache
_FEWEST = 64  # rows of a block: with fewer a product of matrices is slow
_SAFE = 40.0  # exp(-2 * 40) is still a float32
_BINS = 512  # of the correlations, for the soft rank


class Matched(NamedTuple):
    """The best match of every feature.

    Attributes:
        scene: (S,) score of each scene feature with its best template feature.
        template: (T,) score of each template feature with its best scene feature.
        place: (T,) long, index of that scene feature.
    """

    scene: Tensor
    template: Tensor
    place: Tensor


def qatm_quality(
    scene: Float[Tensor, "S D"],
    template: Float[Tensor, "T D"],
    alpha: float = 25.0,
    memory: int = 2**29,
    free: Bool[Tensor, " S"] | None = None,
) -> Matched:
    """Quality-aware template matching (Cheng et al., CVPR 2019): log quality of the best matches.

    The likelihood that scene feature s is matched by template feature t is a soft-max of
    ``alpha`` times their cosine over all t, that t is matched by s one over all s. The quality is
    the geometric mean of both: 1 where the two are each other's only match, and small for what
    occurs often, however similar.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        alpha: Inverse temperature.
        memory: Bytes of similarities to keep from the first pass for the second. What does not
            fit is computed again.
        free: Scene features that may be a best match; the others only compete. None for all.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    scene, template = scene.detach(), template.detach()
    scaled = (template * alpha).T.contiguous()  # (D, T)
    kept: dict[int, Tensor] = {}
    room = memory // scene.element_size()
    total = scene.new_zeros(len(template))  # of exp(similarity - highest), over the scene
    highest = scene.new_full((len(template),), alpha if alpha <= _SAFE else -math.inf)
    over_template = scene.new_empty(len(scene))
    one, other = scene.new_empty(2, _step(len(template)), len(template))
    for start, block in _blocks(scene, len(template)):
        keep = len(block) * len(template) <= room
        # Buffers are used again: fresh memory costs more than what is computed in it.
        similarity = torch.mm(block, scaled, out=None if keep else one[: len(block)])  # (b, T)
        rows = slice(start, start + len(block))
        if keep:
            room -= similarity.numel()
            kept[start] = similarity
        if alpha <= _SAFE:  # cosines are at most 1: one exponential serves both sums
            exponential = torch.sub(similarity, alpha, out=other[: len(block)]).exp_()
            total += exponential.sum(dim=0)
            over_template[rows] = exponential.sum(dim=1).log_() + alpha
        else:
            over_template[rows] = similarity.logsumexp(dim=1)
            higher = torch.maximum(highest, similarity.amax(dim=0))
            total = total * (highest - higher).exp() + (similarity - higher).exp_().sum(dim=0)
            highest = higher
    half_scene, half_template = (total.log_() + highest) / 2, over_template / 2

    def log_quality(start: int, block: Tensor) -> Tensor:
        known = kept.get(start)
        if known is None:
            known = torch.mm(block, scaled, out=one[: len(block)])
        # log of the geometric mean: similarity - (over_scene + over_template) / 2
        quality = torch.sub(known, half_scene, out=other[: len(block)])
        return quality.sub_(half_template[start : start + len(block), None])

    return _best(scene, len(template), log_quality, free)


def correlation_quality(
    scene: Float[Tensor, "S D"],
    template: Float[Tensor, "T D"],
    free: Bool[Tensor, " S"] | None = None,
) -> Matched:
    """Return the highest cosines: for features without their mean, the normalised correlation.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        free: As for ``qatm_quality``.
    """
    _require_features(scene, template)
    flipped = template.T.contiguous()
    return _best(scene, len(template), lambda _, block: block @ flipped, free)


def rank_quality(
    scene: Float[Tensor, "S D"],
    template: Float[Tensor, "T D"],
    temperature: float = 0.02,
    free: Bool[Tensor, " S"] | None = None,
) -> Matched:
    """Return the best log quality by soft ranks in the place of likelihoods.

    The quality is the inverse geometric mean of two ranks of a cosine: among all scene features
    for the same template feature, and among all template features for the same scene feature. It
    does not ask how much better the best match is than the second.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        temperature: Difference of cosines that begins to count as one, see ``soft_rank``.
        free: As for ``qatm_quality``.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    flipped = template.T.contiguous()
    counts = scene.new_zeros(len(template), _BINS)
    for _, block in _blocks(scene, len(template)):
        counts += _histogram((block @ flipped).T)
    over_scene = _rank_table(counts, temperature)  # (T, bins)

    def log_quality(_: int, block: Tensor) -> Tensor:
        cosine = block @ flipped  # (b, T)
        over_template = _rank_table(_histogram(cosine), temperature)
        return -(_look_up(over_scene, cosine.T).T.log() + _look_up(over_template, cosine).log()) / 2

    return _best(scene, len(template), log_quality, free)


def soft_rank(values: Float[Tensor, "B N"], temperature: float) -> Float[Tensor, "B N"]:
    """Return the rank of every value in its row, 1 for the highest, differentiable.

    A value's rank is 1 plus the number of others that are higher, counted by a logistic function
    of the difference over ``temperature``: half for equals.

    Args:
        values: Rows of values.
        temperature: Differences much larger than this count fully.
    """
    higher = (values[:, None, :] - values[:, :, None]) / temperature  # (B, N, N)
    return higher.sigmoid().sum(dim=-1) + 0.5  # of which half is the value itself


def _histogram(cosine: Float[Tensor, "R N"]) -> Float[Tensor, "R bins"]:
    """Count the cosines of every row, each shared by the two bins beside it."""
    low, share = _bin(cosine)
    counts = cosine.new_zeros(len(cosine), _BINS)
    counts.scatter_add_(1, low, 1 - share)
    return counts.scatter_add_(1, low + 1, share)


def _rank_table(counts: Float[Tensor, "R bins"], temperature: float) -> Float[Tensor, "R bins"]:
    """Return the soft rank of a cosine at the centre of every bin."""
    centres = torch.linspace(-1, 1, _BINS, device=counts.device, dtype=counts.dtype)
    higher = ((centres[:, None] - centres) / temperature).sigmoid()  # (bins, asked)
    return (counts @ higher + 0.5).clamp_min(1)


def _look_up(table: Float[Tensor, "R bins"], cosine: Float[Tensor, "R N"]) -> Tensor:
    """Read a table of every row between the centres of its bins."""
    low, share = _bin(cosine)
    return table.gather(1, low) * (1 - share) + table.gather(1, low + 1) * share


def _bin(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin below each cosine, and how far it lies on the way to the next one."""
    place = (cosine.clamp(-1, 1) + 1) * ((_BINS - 1) / 2)
    low = place.long().clamp_max(_BINS - 2)
    return low, place - low


def _best(
    scene: Tensor, count: int, score: Callable[[int, Tensor], Tensor], free: Tensor | None
) -> Matched:
    """Return the maxima of a table of scores whose rows are made block by block."""
    best_scene = scene.new_empty(len(scene))
    best_template = scene.new_full((count,), -math.inf)
    place = torch.zeros(count, dtype=torch.long, device=scene.device)
    for start, block in _blocks(scene, count):
        scores = score(start, block)  # (b, T)
        if free is not None:
            scores = scores.masked_fill(~free[start : start + len(block), None], -math.inf)
        best_scene[start : start + len(block)] = scores.amax(dim=1)
        highest = scores.amax(dim=0)
        higher = torch.nonzero(highest > best_template).flatten()  # few, after the first blocks
        best_template[higher] = highest[higher]
        place[higher] = scores[:, higher].argmax(dim=0) + start
    return Matched(best_scene, best_template, place)


def _blocks(scene: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the scene in blocks with the index of their first row."""
    step = _step(count)
    for start in range(0, len(scene), step):
        yield start, scene[start : start + step]


def _step(count: int) -> int:
    """Return the rows of a block of similarities with ``count`` features."""
    return min(1024, max(_FEWEST, _CACHED // count))


def _require_features(scene: Tensor, template: Tensor) -> None:
    if not len(scene) or not len(template):
        raise ValueError(
            f"scene and template must have at least one feature each, got {len(scene)} and "
            f"{len(template)}"
        )
