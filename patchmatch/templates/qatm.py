"""Scores of the best match of every feature: QATM, correlation and soft rank.

Each method compares all features of a scene with all features of a template. The scene is
processed in blocks of features, because the table of all similarities may not fit into memory. The
functions are for inference: no gradients flow to the features.
"""

import abc
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.backends import mkldnn

from patchmatch.templates.soft_rank import NUM_BINS, interpolate_table, rank_table, soft_histogram

_CPU_BLOCK = 2**18  # similarities of a block: 1 MB in float32, which fits into the cache
_GPU_BLOCK = 2**26  # similarities of a block: 256 MB in float32; few kernel launches
_MIN_ROWS = 128  # scene features of a block: matrix products with fewer rows are slow
_MAX_CPU_ROWS = 1024
_MAX_ALPHA = 60.0  # for larger ones the sum of exp(alpha) may overflow in float32
_MAX_GROUPS = 256  # groups of blocks with cached maxima: after a suppression few are recomputed


class LazyFeatures(abc.ABC):
    """Features, (S, D), computed on demand, because all of them may not fit into memory."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of features."""

    @abc.abstractmethod
    def __getitem__(self, rows: slice) -> Tensor:
        """Return consecutive features, (rows, D)."""


class PairScores(NamedTuple):
    """Scores of all pairs of a scene feature and a template feature, computed on demand.

    Attributes:
        scene: (S, D) features.
        template: (T, D) features.
        block: Function of a slice of scene features that returns their scores, (rows, T). An
            optional second argument, (C,) long, selects template features: (rows, C). The next
            call may overwrite the result.
    """

    scene: Tensor | LazyFeatures
    template: Tensor
    block: Callable[..., Tensor]


class BestMatches(NamedTuple):
    """The best match of every feature.

    Attributes:
        scene_score: (S,) highest score of each scene feature, suppressed or not.
        template_score: (T,) highest score of each template feature with an unsuppressed scene
            feature.
        scene_index: (T,) long, index of that scene feature.
        unsuppressed: (S,) bool, the scene features that may be a best match.
        group_maxima: (groups, T) highest score of each template feature in each group of blocks.
    """

    scene_score: Tensor
    template_score: Tensor
    scene_index: Tensor
    unsuppressed: Tensor
    group_maxima: Tensor


def qatm_scores(
    scene: Float[Tensor, "S D"] | LazyFeatures,
    template: Float[Tensor, "T D"],
    alpha: float = 25.0,
    cache_bytes: int = 2**29,
) -> PairScores:
    """Return the log quality of quality-aware template matching (Cheng et al., CVPR 2019).

    The likelihood of template feature t given scene feature s is the soft-max of ``alpha`` times
    the cosine over all t; the likelihood of s given t is the soft-max over all s. The quality is
    the geometric mean of both. It is 1 where s and t match nothing else, and low for features that
    occur often, however similar they are.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        alpha: Inverse temperature.
        cache_bytes: Bytes of similarities to keep, if at least an eighth of all fits. The others
            are computed twice.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    count = len(template)
    multiply = _matmul_with(template * alpha)
    fit = min(len(scene), cache_bytes // (template.element_size() * count))
    cached = template.new_empty(fit if 8 * fit >= len(scene) else 0, count)
    total = template.new_zeros(count)  # of exp(similarity - highest), over the scene
    highest = template.new_full((count,), 0.0 if alpha <= _MAX_ALPHA else -math.inf)
    over_template = template.new_empty(len(scene))
    # Reused, because page faults of new memory take longer than the sums.
    buffer = template.new_empty(min(len(scene), _block_rows(template)), count)
    for rows in _blocks(len(scene), template):
        similarity = multiply(scene[rows])  # (b, T)
        if rows.stop <= len(cached):
            cached[rows] = similarity
        if alpha <= _MAX_ALPHA:  # cosines are at most 1: one exponential serves both sums
            exponential = torch.exp(similarity, out=buffer[: len(similarity)])
            total += exponential.sum(dim=0)
            over_template[rows] = exponential.sum(dim=1).log_()
        else:
            over_template[rows] = similarity.logsumexp(dim=1)
            lower, highest = highest, torch.maximum(highest, similarity.amax(dim=0))
            total = total * (lower - highest).exp() + (similarity - highest).exp_().sum(dim=0)
    # log quality = similarity - (log sum over scene + log sum over template) / 2
    half_scene, half_template = (total.log_() + highest) / 2, over_template / 2

    def log_quality(rows: slice, columns: Tensor | None = None) -> Tensor:
        is_cached = rows.stop <= len(cached)
        if columns is None:
            similarity = cached[rows] if is_cached else multiply(scene[rows])
            quality = torch.sub(similarity, half_scene, out=buffer[: len(similarity)])
            return quality.sub_(half_template[rows, None])
        similarity = cached[rows, columns] if is_cached else multiply(scene[rows], columns)
        return similarity - half_scene[columns] - half_template[rows, None]

    return PairScores(scene, template, log_quality)


def correlation_scores(
    scene: Float[Tensor, "S D"] | LazyFeatures, template: Float[Tensor, "T D"]
) -> PairScores:
    """Return the cosines; for features of zero mean, the normalised cross-correlation.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
    """
    _require_features(scene, template)
    multiply = _matmul_with(template)
    return PairScores(scene, template, lambda rows, columns=None: multiply(scene[rows], columns))


def rank_scores(
    scene: Float[Tensor, "S D"] | LazyFeatures,
    template: Float[Tensor, "T D"],
    temperature: float = 0.02,
) -> PairScores:
    """Return the log quality of soft ranks, which replace the likelihoods of ``qatm_scores``.

    The quality is the inverse geometric mean of two ranks of a cosine: among all scene features
    for the same template feature, and among all template features for the same scene feature.
    Unlike QATM it does not depend on the margin between the best match and the second best.

    Args:
        scene: Features of length 1.
        template: Features of length 1.
        temperature: Scale of the differences of cosines, see ``soft_rank``.

    Returns:
        Log qualities, at most 0.
    """
    _require_features(scene, template)
    multiply = _matmul_with(template)
    counts = template.new_zeros(len(template), NUM_BINS)
    for rows in _blocks(len(scene), template):
        counts += soft_histogram(multiply(scene[rows]).T)
    over_scene = rank_table(counts, temperature)  # (T, bins)

    def log_quality(rows: slice, columns: Tensor | slice = slice(None)) -> Tensor:
        cosine = multiply(scene[rows])  # (b, T)
        over_template = rank_table(soft_histogram(cosine), temperature)
        cosine = cosine[:, columns]
        scene_rank = interpolate_table(over_scene[columns], cosine.T).T
        return -(scene_rank.log() + interpolate_table(over_template, cosine).log()) / 2

    return PairScores(scene, template, log_quality)


def best_matches(
    scores: PairScores,
    unsuppressed: Bool[Tensor, " S"] | None = None,
    previous: BestMatches | None = None,
    num_candidates: int | None = None,
) -> BestMatches:
    """Return the best match of every feature, the first one among equals.

    Args:
        scores: Scores of all pairs of features.
        unsuppressed: Scene features that may be a best match; None for all.
        previous: Result of the same scores for another suppression. Only groups of blocks in which
            the suppression differs are searched again.
        num_candidates: Template features to match, the first ones; None for all. The others only
            take part in the normalisation of the scores.
    """
    scene, template = scores.scene, scores.template
    count = len(template) if num_candidates is None else num_candidates
    groups = _block_groups(len(scene), template)
    if unsuppressed is None:
        unsuppressed = torch.ones(len(scene), dtype=torch.bool, device=template.device)
    unsuppressed = unsuppressed.clone()  # the caller changes its own between two calls
    if previous is None:
        scene_score = template.new_empty(len(scene))
        group_maxima = template.new_full((len(groups), count), -math.inf)
        changed = range(len(groups))
    else:
        scene_score, group_maxima = previous.scene_score, previous.group_maxima.clone()
        differs = torch.nonzero(unsuppressed != previous.unsuppressed)
        changed = torch.unique(differs // (len(groups[0]) * _block_rows(template))).tolist()
        group_maxima[changed] = -math.inf

    def mask_suppressed(rows: slice, values: Tensor) -> Tensor:
        allowed = unsuppressed[rows]
        return values if allowed.all() else values.masked_fill(~allowed[:, None], -math.inf)

    for i in changed:
        for rows in groups[i]:
            values = scores.block(rows)[:, :count]  # (b, T)
            if previous is None:
                scene_score[rows] = values.amax(dim=1)
            maxima = mask_suppressed(rows, values).amax(dim=0)
            torch.maximum(group_maxima[i], maxima, out=group_maxima[i])
    template_score, group = group_maxima.max(dim=0)
    scene_index = torch.empty_like(group)
    for i in torch.unique(group).tolist():  # each feature is searched in its own group only
        columns = torch.nonzero(group == i).flatten()
        values = [mask_suppressed(rows, scores.block(rows, columns)) for rows in groups[i]]
        scene_index[columns] = torch.cat(values).argmax(dim=0) + groups[i][0].start
    return BestMatches(scene_score, template_score, scene_index, unsuppressed, group_maxima)


def _matmul_with(template: Tensor) -> Callable[..., Tensor]:
    """Return a function that multiplies features, (b, D), by all or some template features.

    Its results are (b, T), or (b, C) with a second argument, (C,) long.
    """
    template, packed = template.detach(), None
    has_onednn = mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if has_onednn and (template.device.type, template.dtype) == ("cpu", torch.float32):
        # The operator that torch.compile uses for F.linear: up to twice as fast as torch.mm.
        packed = torch.ops.mkldnn._reorder_linear_weight(template.contiguous())

    def multiply(rows: Tensor, columns: Tensor | None = None) -> Tensor:
        rows = rows.detach()
        if columns is not None or packed is None:
            return rows @ (template if columns is None else template[columns]).T
        return torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")

    return multiply


def _block_rows(template: Tensor) -> int:
    """Return the number of scene features in a block."""
    on_cpu = template.device.type == "cpu"
    fit = (_CPU_BLOCK if on_cpu else _GPU_BLOCK) // len(template) // _MIN_ROWS * _MIN_ROWS
    return max(_MIN_ROWS, min(fit, _MAX_CPU_ROWS) if on_cpu else fit)


def _blocks(count: int, template: Tensor) -> Iterator[slice]:
    """Yield slices of ``count`` scene features, a block each."""
    rows = _block_rows(template)
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _block_groups(count: int, template: Tensor) -> list[list[slice]]:
    """Return the blocks of ``count`` scene features in at most ``_MAX_GROUPS`` groups."""
    blocks = list(_blocks(count, template))
    size = -(-len(blocks) // _MAX_GROUPS)
    return [blocks[i : i + size] for i in range(0, len(blocks), size)]


def _require_features(scene: Tensor | LazyFeatures, template: Tensor) -> None:
    if not len(scene) or not len(template):
        raise ValueError(
            f"scene and template must have at least one feature each, got {len(scene)} and "
            f"{len(template)}"
        )
    if isinstance(scene, Tensor) and scene.dtype != template.dtype:
        raise ValueError(
            f"scene and template must have the same dtype, got {scene.dtype} and "
            f"{template.dtype}; convert one with .to(dtype)"
        )
