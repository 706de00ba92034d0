import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from patchmatch.ops import Field, exact_field, nearest_neighbours, patch_match

PRESETS = ("fast", "balanced", "accurate")


def picture(*shape: int, seed: int = 0) -> Tensor:
    """Return a smooth random image with some fine texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:-2], 5, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape[-2:], mode="bilinear")
    return 0.8 * smooth + 0.2 * torch.rand(shape, generator=generator)


def last(fields) -> Field:
    *_, field = fields
    return field


def all_costs(image0: Tensor, image1: Tensor, size: int, norm: str) -> dict:
    """Return for each centre of image 0 the costs of all centres of image 1, by loops."""
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
    """Return the cost of every match of pixels whose patches lie inside, by shifted slices."""
    middle = size // 2
    height, width = image0.shape[-2] - size + 1, image0.shape[-1] - size + 1
    flow = field.flow[..., middle : middle + height, middle : middle + width]
    y = torch.arange(height)[:, None] + flow[:, :, 1]
    x = torch.arange(width) + flow[:, :, 0]
    total = torch.zeros(y.shape)
    for batch in range(len(image0)):
        for dy in range(size):
            for dx in range(size):
                there = image1[batch][:, y[batch] + dy, x[batch] + dx]  # (C, K, h, w)
                here = image0[batch][:, None, dy : dy + height, dx : dx + width]
                difference = (there - here).abs()
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
        lambda *args, **options: last(patch_match(*args, iterations=100, **options)),
    )


SEARCHES = dict(searches())


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("size", "count", "norm"), [(3, 1, "l2"), (3, 3, "l1"), (4, 3, "l2"), (2, 2, "l2")]
)
def test_every_pixel_has_the_matches_of_brute_force(search, size, count, norm):
    image0, image1 = picture(1, 3, 7, 10, seed=1), picture(1, 3, 9, 7, seed=2)
    field = SEARCHES[search](image0, image1, size, count=count, norm=norm)
    assert field.flow.shape == (1, count, 2, 7, 10)
    assert field.flow.dtype == torch.int64
    for (y, x), costs in all_costs(image0[0], image1[0], size, norm).items():
        best = sorted(costs.values())[:count]
        assert_close(field.cost[0, :, y, x].tolist(), best, rtol=1e-4, atol=1e-5)
        places = [(y + int(dy), x + int(dx)) for dx, dy in field.flow[0, :, :, y, x]]
        assert len(set(places)) == count
        assert_close([costs[place] for place in places], best, rtol=1e-4, atol=1e-5)
