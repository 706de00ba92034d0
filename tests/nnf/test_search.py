from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from patchmatch.nnf.exact import smallest_values
from patchmatch.nnf.kd_tree import EXACT_PCA_SIZE
from patchmatch.nnf.patches import Field
from patchmatch.nnf.search import exact_field, nearest_neighbours, patch_match

PRESETS = ("fast", "balanced", "accurate")


def textured(*shape: int, seed: int = 0) -> Tensor:
    """Return a smooth random image with some fine texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:-2], 5, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape[-2:], mode="bilinear")
    return 0.8 * smooth + 0.2 * torch.rand(shape, generator=generator)


def last(fields) -> Field:
    *_, field = fields
    return field


def all_costs(image0: Tensor, image1: Tensor, size: int, norm: str) -> dict:
    """Return the costs of all centres of image 1 for each centre of image 0, by loops."""
    middle = size // 2
    found = {}
    for y0 in range(image0.shape[-2] - size + 1):
        for x0 in range(image0.shape[-1] - size + 1):
            costs = {}
            for y1 in range(image1.shape[-2] - size + 1):
                for x1 in range(image1.shape[-1] - size + 1):
                    a = image0[:, y0 : y0 + size, x0 : x0 + size]
                    b = image1[:, y1 : y1 + size, x1 : x1 + size]
                    cost = (a - b).abs().sum() if norm == "l1" else (a - b).square().sum()
                    costs[y1 + middle, x1 + middle] = float(cost)
            found[y0 + middle, x0 + middle] = costs
    return found


def recomputed(image0: Tensor, image1: Tensor, field: Field, size: int, norm: str = "l2") -> Tensor:
    """Return the cost of every match of whole patches, by shifted slices."""
    middle = size // 2
    height, width = image0.shape[-2] - size + 1, image0.shape[-1] - size + 1
    flow = field.flow[..., middle : middle + height, middle : middle + width]
    y = torch.arange(height)[:, None] + flow[:, :, 1]
    x = torch.arange(width) + flow[:, :, 0]
    total = torch.zeros(y.shape)
    for batch in range(len(image0)):
        for dy in range(size):
            for dx in range(size):
                matched = image1[batch][:, y[batch] + dy, x[batch] + dx]  # (C, K, h, w)
                own = image0[batch][:, None, dy : dy + height, dx : dx + width]
                difference = (matched - own).abs()
                total[batch] += (difference if norm == "l1" else difference.square()).sum(dim=0)
    return total


def inner(values: Tensor, size: int) -> Tensor:
    middle = size // 2
    height, width = values.shape[-2] - size + 1, values.shape[-1] - size + 1
    return values[..., middle : middle + height, middle : middle + width]


def searches():
    yield "exact", lambda *args, **options: exact_field(*args, **options)
    for preset in PRESETS:
        yield (
            preset,
            lambda *args, preset=preset, **options: last(
                nearest_neighbours(*args, preset=preset, **options)
            ),
        )
    yield (
        "patch_match",
        lambda *args, **options: last(patch_match(*args, iterations=80, **options)),
    )


SEARCHES = dict(searches())


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("size", "k", "norm"), [(3, 1, "l2"), (3, 3, "l1"), (4, 3, "l2"), (2, 2, "l2")]
)
def test_matches_equal_those_of_brute_force_loops(search, size, k, norm, device, dtype):
    image0 = textured(1, 3, 7, 10, seed=1).to(device, dtype)
    image1 = textured(1, 3, 9, 7, seed=2).to(device, dtype)
    field = SEARCHES[search](image0, image1, size, k=k, norm=norm)
    assert field.cost.dtype == dtype
    assert field.flow.shape == (1, k, 2, 7, 10)
    assert field.flow.dtype == torch.int64
    for (y, x), costs in all_costs(image0[0].cpu(), image1[0].cpu(), size, norm).items():
        best = sorted(costs.values())[:k]
        assert_close(field.cost[0, :, y, x].tolist(), best, rtol=1e-4, atol=1e-5)
        targets = [(y + int(dy), x + int(dx)) for dx, dy in field.flow[0, :, :, y, x]]
        assert len(set(targets)) == k
        assert_close([costs[target] for target in targets], best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_an_image_matches_itself_at_zero_displacement_and_zero_cost(search, device, dtype):
    image = textured(2, 3, 15, 20).to(device, dtype)
    field = SEARCHES[search](image, image, 5)
    assert (field.cost == 0).all()
    assert (field.flow == 0).all()


BIG = (80, 90)  # too many pairs of patches for brute force


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    return textured(1, 3, *BIG, seed=3), textured(1, 3, 70, 100, seed=4)


@pytest.fixture(scope="module")
def exact(pair) -> Field:
    return exact_field(*pair)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_shift_is_found_away_from_the_border(preset, device, dtype):
    image0 = textured(1, 3, *BIG).to(device, dtype)
    field = last(nearest_neighbours(image0, image0.roll((2, -3), (2, 3)), preset=preset))
    inside = field.flow[0, 0, :, 3:-5, 6:-3]
    assert (inside == torch.tensor([-3, 2], device=device)[:, None, None]).all()
    assert (field.cost[..., 3:-5, 6:-3] == 0).all()


@pytest.mark.parametrize(
    ("preset", "ratio"), [("fast", 1.1), ("balanced", 1.02), ("accurate", 1.01)]
)
def test_presets_approximate_the_exact_cost(preset, ratio, pair, exact):
    field = last(nearest_neighbours(*pair, preset=preset))
    assert (field.cost >= exact.cost - 1e-4).all()
    assert 1 <= field.cost.mean() / exact.cost.mean() <= ratio


def test_patch_match_approximates_the_exact_cost(pair, exact):
    field = last(patch_match(*pair, iterations=6))
    assert 1 <= field.cost.mean() / exact.cost.mean() <= 1.3


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("search", [nearest_neighbours, patch_match])
def test_costs_belong_to_the_flow_never_increase_and_are_sorted(search, norm, k, pair):
    fields = list(search(*pair, 6, iterations=2, norm=norm, k=k))
    for before, after in pairwise(fields):
        assert (after.cost <= before.cost).all()
        assert (after.cost < before.cost).any()
    for field in fields:
        assert_close(inner(field.cost, 6), recomputed(*pair, field, 6, norm))
        assert (field.cost.diff(dim=1) >= 0).all()
        for first in range(k):
            for second in range(first):
                assert (field.flow[:, first] != field.flow[:, second]).any(dim=1).all()


@pytest.mark.parametrize("search", [nearest_neighbours, patch_match])
def test_a_batch_gives_the_fields_of_single_pairs_with_the_same_seed(search, pair):
    batch = [torch.cat([image, image.flip(3)]) for image in pair]
    together = last(search(*batch, iterations=2, seed=5))
    for index in range(2):
        alone = last(search(*(i[index : index + 1] for i in batch), iterations=2, seed=5))
        assert torch.equal(alone.flow[0], together.flow[index])
        assert torch.equal(alone.cost[0], together.cost[index])


@pytest.mark.parametrize("search", [nearest_neighbours, patch_match])
def test_the_number_of_threads_does_not_change_the_field(search, pair, torch_threads):
    fields = []
    for number in (1, 2, 3):
        torch_threads(number)
        fields.append(last(search(*pair, iterations=2)))
    for field in fields[1:]:
        assert torch.equal(field.flow, fields[0].flow)
        assert torch.equal(field.cost, fields[0].cost)


@pytest.mark.parametrize("search", SEARCHES)
def test_features_far_from_zero_give_the_same_quality(search, pair, exact):
    if search == "patch_match":
        found = last(patch_match(*(image + 1000 for image in pair), iterations=6))
    else:
        found = SEARCHES[search](*(image + 1000 for image in pair))
    cost = recomputed(*pair, found, 7).mean() / inner(exact.cost, 7).mean()
    assert cost < {"exact": 1.001, "fast": 1.1, "balanced": 1.02, "accurate": 1.01}.get(search, 1.3)


def test_lower_bounds_do_not_change_the_matches(pair, monkeypatch):
    bounded = last(patch_match(*pair, iterations=3, k=2))
    monkeypatch.setattr("patchmatch.nnf.search.with_lower_bounds", lambda problem: problem)
    plain = last(patch_match(*pair, iterations=3, k=2))
    assert torch.equal(bounded.flow, plain.flow)
    assert_close(bounded.cost, plain.cost)


def test_another_seed_gives_another_patch_match_field(pair):
    fields = [last(patch_match(*pair, iterations=1, seed=seed)) for seed in range(2)]
    assert not torch.equal(fields[0].flow, fields[1].flow)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("size", [(20, 17), BIG])
def test_masks_limit_queries_and_targets(search, size):
    if search == "patch_match" and size == BIG:
        pytest.skip("the small image covers this")
    image0, image1 = textured(1, 2, *size, seed=5), textured(1, 2, size[0] - 3, size[1], seed=6)
    valid0 = torch.rand(1, *size, generator=torch.Generator().manual_seed(0)) > 0.5
    valid1 = torch.zeros(1, size[0] - 3, size[1], dtype=torch.bool)
    valid1[:, 4:9, 6:12] = True
    field = SEARCHES[search](image0, image1, 5, k=2, valid0=valid0, valid1=valid1)
    middle = inner(field.cost, 5).isfinite()
    assert torch.equal(middle, inner(valid0, 5)[:, None].expand_as(middle))
    y = torch.arange(size[0])[:, None] + field.flow[:, :, 1]
    x = torch.arange(size[1]) + field.flow[:, :, 0]
    assert valid1[0, inner(y, 5), inner(x, 5)][middle].all()
    expected = exact_field(image0, image1, 5, k=2, valid0=valid0, valid1=valid1)
    assert (field.cost.nan_to_num(posinf=0) - expected.cost.nan_to_num(posinf=0)).mean() < 0.02


@pytest.mark.parametrize("search", SEARCHES)
def test_without_targets_costs_are_infinite_and_matches_still_differ(search):
    image = textured(1, 1, 9, 8)
    field = SEARCHES[search](image, image, 3, k=3, valid1=torch.zeros(1, 9, 8).bool())
    assert field.cost.isinf().all()
    assert (field.flow[:, 0] != field.flow[:, 1]).any(dim=1).all()
    assert (field.flow[:, 0] != field.flow[:, 2]).any(dim=1).all()


def test_patch_match_finds_a_target_mask_of_few_pixels():
    image0, image1 = textured(1, 3, 40, 50, seed=5), textured(1, 3, 60, 70, seed=6)
    valid1 = torch.zeros(1, 60, 70, dtype=torch.bool)
    valid1[0, [5, 20, 50], [60, 8, 33]] = True
    field = next(patch_match(image0, image1, iterations=1, valid1=valid1))
    assert field.cost.isfinite().all()


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("size", [(20, 17), BIG])
def test_matches_stay_within_the_maximum_displacement(search, size):
    image0, image1 = textured(1, 1, *size, seed=7), textured(1, 1, size[0], size[1] + 4, seed=8)
    iterations = {} if search in ("exact", "patch_match") or size != BIG else {"iterations": 12}
    field = SEARCHES[search](image0, image1, 5, max_displacement=3, **iterations)
    assert field.flow.abs().max() == 3
    assert field.cost.isfinite().all()
    expected = exact_field(image0, image1, 5, max_displacement=3)
    assert field.cost.mean() < 1.005 * expected.cost.mean()


def test_below_image1_the_maximum_displacement_is_measured_from_its_last_row():
    image0, image1 = textured(1, 1, 20, 9, seed=7), textured(1, 1, 8, 9, seed=8)
    for search in SEARCHES.values():
        field = search(image0, image1, 3, max_displacement=2)
        y = torch.arange(20)[:, None] + field.flow[0, 0, 1]
        assert (y[9:] >= 6 - 2).all()
        assert field.cost.isfinite().all()


def test_convention_patches_are_named_by_their_centre(pair):
    field = last(nearest_neighbours(*pair, 6, preset="fast"))
    assert torch.equal(field.flow[..., 0, 0], field.flow[..., 3, 3])
    assert torch.equal(field.flow[..., -1, 20], field.flow[..., -3, 20])
    assert torch.equal(field.cost[..., 30, :3], field.cost[..., 30, 3:4].expand(-1, -1, 3))
    y = torch.arange(BIG[0])[:, None] + field.flow[:, :, 1]
    x = torch.arange(BIG[1]) + field.flow[:, :, 0]
    assert (y >= 0).all()
    assert (y < 70).all()
    assert (x >= 0).all()
    assert (x < 100).all()


def test_a_search_starts_from_the_given_field(pair, exact):
    field = next(patch_match(*pair, iterations=1, start=exact))
    assert_close(field.cost, exact.cost)


@pytest.mark.parametrize("preset", PRESETS)
def test_blank_images_match_at_zero_cost(preset):
    field = last(
        nearest_neighbours(torch.zeros(1, 3, *BIG), torch.zeros(1, 3, *BIG), preset=preset)
    )
    assert (field.cost == 0).all()


def test_feature_maps_with_many_channels_use_approximate_principal_components(pair):
    image0 = torch.cat([pair[0]] * 6, dim=1)
    field = last(nearest_neighbours(image0, image0.roll(2, 3), 7, preset="fast"))
    assert (field.flow[0, 0, 0, 3:-3, 3:-5] == 2).all()
    assert image0.shape[1] * 7**2 > EXACT_PCA_SIZE


def test_smallest_values_equal_those_of_a_sort(device, dtype):
    values = torch.rand(5, 300, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    for k in (1, 3, 7):
        found, indices = smallest_values(values, k)
        assert_close(found.sort(dim=1).values, values.sort(dim=1).values[:, :k])
        assert torch.equal(values.gather(1, indices), found)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_and_infinite_values_raise(search, value):
    image0, image1 = textured(1, 1, 9, 8), textured(1, 1, 9, 8)
    image1[0, 0, 4, 5] = value
    with pytest.raises(ValueError, match=r"image1 contains NaN or infinite values"):
        SEARCHES[search](image0, image1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 8}, r"image0 must hold at least one patch of 8x8 pixels, got 7x9"),
        ({"patch_size": 0}, r"patch_size and k must be at least 1"),
        ({"k": 16, "patch_size": 5}, r"k must be at most the 15 patches of image1, got 16"),
        ({"norm": "max"}, r"norm must be one of l1, l2, got 'max'"),
        ({"max_displacement": -1}, r"max_displacement must be at least 0"),
        ({"preset": "best"}, r"preset must be one of fast, balanced, accurate, got 'best'"),
    ],
)
def test_invalid_search_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        next(nearest_neighbours(torch.zeros(1, 1, 7, 9), torch.zeros(1, 1, 7, 9), **options))


def test_convention_nnf_is_an_integer_flow(pair, exact):
    for field in (exact, next(patch_match(*pair)), next(nearest_neighbours(*pair))):
        assert field.flow.dtype == torch.int64


def test_convention_flow_channel_0_is_dx_on_the_grid_of_image0():
    image1 = textured(1, 1, 12, 20)
    image0 = image1[..., 1:9, 4:15]  # image0[y, x] is image1[y + 1, x + 4]
    flow = exact_field(image0, image1, 3).flow[:, 0]
    assert flow.shape == (1, 2, 8, 11)
    assert (flow[:, 0] == 4).all()
    assert (flow[:, 1] == 1).all()


def test_convention_cost_is_lower_for_the_better_match(pair):
    cost = next(nearest_neighbours(*pair, k=2)).cost
    assert (cost[:, 0] <= cost[:, 1]).all()


def test_convention_valid_is_true_where_it_may_be_used():
    image = textured(1, 1, 9, 9)
    valid = torch.zeros(1, 9, 9, dtype=torch.bool)
    valid[0, 4, 5] = True
    field = exact_field(image, image, 3, valid0=valid)
    assert field.cost.isfinite().nonzero().tolist() == [[0, 0, 4, 5]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a GPU")
def test_a_gpu_gives_the_field_of_the_cpu(pair):
    for search in (nearest_neighbours, patch_match):
        on_cpu = last(search(*pair, iterations=2))
        on_gpu = last(search(*(image.cuda() for image in pair), iterations=2))
        assert on_gpu.flow.is_cuda
        # rounding decides between matches of nearly equal cost
        assert (on_gpu.flow.cpu() == on_cpu.flow).all(dim=2).float().mean() > 0.99
        assert_close(on_gpu.cost.mean().cpu(), on_cpu.cost.mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("search", [patch_match, nearest_neighbours, exact_field])
def test_zero_displacement_wins_ties(search):
    plain = torch.full((1, 3, 40, 48), 0.5)
    plain[..., 20:, :] = torch.rand(3, 20, 48, generator=torch.Generator().manual_seed(0))
    found = search(plain, plain, 5)
    field = found if isinstance(found, Field) else list(found)[-1]
    assert not field.flow.any()
    assert not field.cost.any()
