"""How good the best match of every feature is: QATM, correlation and soft rank, streamed.

All of them compare every feature of a scene with every feature of a template. The scene passes in
blocks, so that the table of all similarities need not exist. They are for searching: no gradient
flows back to the features.
"""

import abc
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.backends import mkldnn

from patchmatch.templates.soft_rank import BINS, histogram, look_up, rank_table

_CACHED = 2**18  # similarities of a block: few enough to stay in the processor's cache
_FEWEST = 128  # rows of a block: with fewer a product of matrices is slow
_SAFE = 60.0  # the sum of many exp(60) is still a float32, and so is exp(-60)
_GROUPS = 256  # parts of a scene of which the best matches are known one by one


class FeatureRows(abc.ABC):
    """Features, (S, D), that are made when they are asked for, as all of them may be too many."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abc.abstractmethod
    def __getitem__(self, rows: slice) -> Tensor:
        """Return some of them that follow each other, (rows, D)."""


class Scores(NamedTuple):
    """The scores of every scene feature with every template feature, made when they are asked for.

    Attributes:
        scene: (S, D) features.
        template: (T, D) features.
        table: Gives the scores of some scene features, (rows, T), or with a second argument, (C,)
            long, those with some template features, (rows, C). They hold until it is asked again.
    """

    scene: Tensor | FeatureRows
    template: Tensor
    table: Callable[..., Tensor]


class Matched(NamedTuple):
    """The best match of every feature.

    Attributes:
        scene: (S,) score of each scene feature with its best template feature, free or not.
        template: (T,) score of each template feature with its best free scene feature.
        place: (T,) long, index of that scene feature.
        free: (S,) bool, scene features that may be a best match; the others only compete.
        highest: (parts, T) score of each template feature with the best of each part of the scene.
    """

    scene: Tensor
    template: Tensor
    place: Tensor
    free: Tensor
    highest: Tensor


def qatm_scores(
    scene: Float[Tensor, "S D"] | FeatureRows,
    template: Float[Tensor, "T D"],
    alpha: float = 25.0,
    memory: int = 2**29,
) -> Scores:
    """Quality-aware template matching (Cheng et al., CVPR 2019): the log quality of matches.

    The likelihood that scene feature s is matched by template feature t is a soft-max of
    ``alpha`` times their cosine over all t, that t is matched by s one over all s. The quality is
    the geometric mean of both: 1 where the two are each other's only match, and small for what
    occurs often, however similar.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        alpha: Inverse temperature.
        memory: Bytes of similarities to keep, if an eighth fits; the others are computed again.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    count = len(template)
    multiply = _products(template * alpha)
    fit = min(len(scene), memory // (template.element_size() * count))
    kept = template.new_empty(fit if 8 * fit >= len(scene) else 0, count)
    total = template.new_zeros(count)  # of exp(similarity - highest), over the scene
    highest = template.new_full((count,), 0.0 if alpha <= _SAFE else -math.inf)
    over_template = template.new_empty(len(scene))
    buffer = template.new_empty(_step(count), count)  # fresh memory costs more than the sums
    for rows in _blocks(len(scene), count):
        similarity = multiply(scene[rows])  # (b, T)
        if rows.stop <= len(kept):
            kept[rows] = similarity
        if alpha <= _SAFE:  # cosines are at most 1: one exponential serves both sums
            exponential = torch.exp(similarity, out=buffer[: len(similarity)])
            total += exponential.sum(dim=0)
            over_template[rows] = exponential.sum(dim=1).log_()
        else:
            over_template[rows] = similarity.logsumexp(dim=1)
            lower, highest = highest, torch.maximum(highest, similarity.amax(dim=0))
            total = total * (lower - highest).exp() + (similarity - highest).exp_().sum(dim=0)
    # the log of the geometric mean is similarity - half_scene - half_template
    half_scene, half_template = (total.log_() + highest) / 2, over_template / 2

    def log_quality(rows: slice, some: Tensor | None = None) -> Tensor:
        is_kept = rows.stop <= len(kept)
        if some is None:
            similarity = kept[rows] if is_kept else multiply(scene[rows])
            quality = torch.sub(similarity, half_scene, out=buffer[: len(similarity)])
            return quality.sub_(half_template[rows, None])
        similarity = kept[rows, some] if is_kept else multiply(scene[rows], some)
        return similarity - half_scene[some] - half_template[rows, None]

    return Scores(scene, template, log_quality)


def correlation_scores(
    scene: Float[Tensor, "S D"] | FeatureRows, template: Float[Tensor, "T D"]
) -> Scores:
    """Return the cosines: for features without their mean, the normalised cross-correlation.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
    """
    _require_features(scene, template)
    multiply = _products(template)
    return Scores(scene, template, lambda rows, some=None: multiply(scene[rows], some))


def rank_scores(
    scene: Float[Tensor, "S D"] | FeatureRows,
    template: Float[Tensor, "T D"],
    temperature: float = 0.02,
) -> Scores:
    """Return the log quality by soft ranks in the place of likelihoods.

    The quality is the inverse geometric mean of two ranks of a cosine: among all scene features
    for the same template feature, and among all template features for the same scene feature. It
    does not ask how much better the best match is than the second.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        temperature: Difference of cosines that begins to count as one, see ``soft_rank``.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    multiply = _products(template)
    counts = template.new_zeros(len(template), BINS)
    for rows in _blocks(len(scene), len(template)):
        counts += histogram(multiply(scene[rows]).T)
    over_scene = rank_table(counts, temperature)  # (T, bins)

    def log_quality(rows: slice, some: Tensor | slice = slice(None)) -> Tensor:
        cosine = multiply(scene[rows])  # (b, T)
        over_template = rank_table(histogram(cosine), temperature)
        cosine = cosine[:, some]
        in_scene = look_up(over_scene[some], cosine.T).T
        return -(in_scene.log() + look_up(over_template, cosine).log()) / 2

    return Scores(scene, template, log_quality)


def best_matches(
    scores: Scores, free: Bool[Tensor, " S"] | None = None, before: Matched | None = None
) -> Matched:
    """Return the best match of every feature, the first of equal ones.

    Args:
        scores: Of all features with each other.
        free: Scene features that may be a best match; None for all.
        before: What the same scores gave with other features free: only the parts of the scene in
            which they differ are looked through again.
    """
    scene, template = scores.scene, scores.template
    parts = _parts(len(scene), len(template))
    if free is None:
        free = torch.ones(len(scene), dtype=torch.bool, device=template.device)
    if before is None:
        best = template.new_empty(len(scene))
        highest = template.new_full((len(parts), len(template)), -math.inf)
        changed = range(len(parts))
    else:
        best, highest = before.scene, before.highest.clone()
        rows = len(parts[0]) * _step(len(template))
        changed = torch.unique(torch.nonzero(free != before.free) // rows).tolist()
        highest[changed] = -math.inf

    def among_free(rows: slice, values: Tensor) -> Tensor:
        return values if free[rows].all() else values.masked_fill(~free[rows, None], -math.inf)

    for i in changed:
        for rows in parts[i]:
            values = scores.table(rows)  # (b, T)
            if before is None:
                best[rows] = values.amax(dim=1)
            torch.maximum(highest[i], among_free(rows, values).amax(dim=0), out=highest[i])
    best_of_template, part = highest.max(dim=0)
    place = torch.empty_like(part)
    for i in torch.unique(part).tolist():  # looking for all places in all parts would take longer
        some = torch.nonzero(part == i).flatten()
        values = torch.cat([among_free(rows, scores.table(rows, some)) for rows in parts[i]])
        place[some] = values.argmax(dim=0) + parts[i][0].start
    return Matched(best, best_of_template, place, free, highest)


def _products(template: Tensor) -> Callable[..., Tensor]:
    """Return what multiplies features, (b, D), by all or some of a template's: (b, T) or (b, C)."""
    template, packed = template.detach(), None
    known = mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if known and (template.device.type, template.dtype) == ("cpu", torch.float32):
        # what torch.compile calls for F.linear: twice as fast as torch.mm on some processors
        packed = torch.ops.mkldnn._reorder_linear_weight(template.contiguous())

    def multiply(rows: Tensor, some: Tensor | None = None) -> Tensor:
        rows = rows.detach()
        if some is not None or packed is None:
            return rows @ (template if some is None else template[some]).T
        return torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")

    return multiply


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Return ``count`` scene features in blocks, for ``width`` template features."""
    starts = range(0, count, _step(width))
    return (slice(start, min(start + starts.step, count)) for start in starts)


def _parts(count: int, width: int) -> list[list[slice]]:
    """Return the blocks of ``count`` scene features, as many of them together as need be."""
    blocks = list(_blocks(count, width))
    together = -(-len(blocks) // _GROUPS)
    return [blocks[i : i + together] for i in range(0, len(blocks), together)]


def _step(width: int) -> int:
    """Return the rows of a block of similarities with ``width`` features."""
    return min(1024, max(_FEWEST, _CACHED // width // _FEWEST * _FEWEST))


def _require_features(scene: Tensor | FeatureRows, template: Tensor) -> None:
    if not len(scene) or not len(template):
        raise ValueError(
            f"scene and template must have at least one feature each, got {len(scene)} and "
            f"{len(template)}"
        )
    if isinstance(scene, Tensor) and scene.dtype != template.dtype:
        raise ValueError(
            f"scene and template must be of one dtype, got {scene.dtype} and {template.dtype}; "
            "convert one with .to(dtype)"
        )
