from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from patchmatch.nnf.differentiable.features import PatchFeatures
from patchmatch.nnf.differentiable.layers import Evaluation, ParticleSampler, Propagation
from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet
from patchmatch.nnf.differentiable.ops import (
    best_particles,
    matching_cost,
    sample_rows,
    search_range,
)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(*shape, seed=0):
    """Noise with structure at several scales: a search can feel its way."""
    image = torch.zeros(shape)
    for scale in (1, 2, 4, 8):
        small = noise(*shape[:2], shape[2] // scale + 2, shape[3] // scale + 2, seed=seed + scale)
        image += torch.nn.functional.interpolate(small, shape[2:], mode="bicubic") * scale**0.5
    return image - image.mean()


# ParticleSampler


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_a_sampler_draws_one_particle_from_each_part_of_the_range(axes, whole):
    low = torch.arange(2 * axes * 3 * 5).view(2, axes, 3, 5) % 7 - 3
    high = low + 11
    if not whole:
        low, high = low.double(), high.double()
    found = ParticleSampler(4)(low, high, seeded())
    assert found.shape == (2, 4, axes, 3, 5)
    assert found.dtype == low.dtype
    inside = (found - low[:, None]).sort(dim=1).values
    parts = inside // 3 if whole else (inside / 2.75).floor()  # 12 whole offsets, or a length of 11
    assert (parts == torch.arange(4).view(1, 4, 1, 1, 1)).all()
    assert len(inside.unique()) > 9  # random within them


def test_the_parts_of_two_axes_go_together_by_chance():
    low = torch.zeros(1, 2, 40, 50, dtype=torch.long)
    found = ParticleSampler(2)(low, low + 9, seeded())
    assert 0.4 < (found[:, :, 0] // 5 == found[:, :, 1] // 5).float().mean() < 0.6


def test_samples_around_particles_stay_in_window_and_range():
    middle = torch.tensor([[-4, 0], [5, 2]]).view(1, 2, 2, 1, 1).expand(3, 2, 2, 20, 30)
    low = torch.full((3, 2, 20, 30), -5)
    found = ParticleSampler(4).around(middle, 2.0, low, -low, seeded())
    apart = found - middle[:, [0, 1, 0, 1]]
    assert set(apart[:, :, 1].unique().tolist()) == {-2, -1, 0, 1, 2}
    assert set(apart[:, 0, 0].unique().tolist()) == {-1, 0, 1, 2}  # the range ends at -5
    assert set(apart[:, 1, 0].unique().tolist()) == {-2, -1, 0}


def test_a_batch_draws_what_single_images_draw():
    low = torch.stack([torch.full((2, 4, 6), -3), torch.full((2, 4, 6), -9)])
    both = ParticleSampler(3)(low, -low, seeded(5))
    for i in range(2):
        alone = ParticleSampler(3)(low[i : i + 1], -low[i : i + 1], seeded(5))
        assert torch.equal(both[i : i + 1], alone)


# Propagation


def test_neighbours_come_from_above_the_left_the_right_and_below():
    offsets = torch.tensor([[[1, 2, 3], [4, 5, 6]]])  # (1, H, W)
    found = Propagation()(offsets.view(1, 1, 1, 2, 3))[0, :, 0]
    assert found.tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[1, 2, 3], [1, 2, 3]],
        [[1, 1, 2], [4, 4, 5]],
        [[2, 3, 3], [5, 6, 6]],
        [[4, 5, 6], [4, 5, 6]],
    ]


@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("axes", "steps"), [("xy", (1,)), ("x", (2,)), ("y", (1, 3)), ("xy", (2, 5))]
)
def test_one_hot_filters_and_shifts_propagate_the_same(axes, steps, dtype):
    particles = (noise(2, 3, 2, 5, 7) * 200 - 100).to(dtype)
    fast, filters = (
        Propagation(steps, axes, form)(particles) for form in ("shifts", "convolution")
    )
    assert fast.dtype == dtype
    assert fast.shape[1] == 3 * (1 + 2 * len(axes) * len(steps))
    assert torch.equal(fast, filters)


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="form must be one of shifts, convolution, got 'slow'"):
        Propagation(form="slow")
    with pytest.raises(ValueError, match="axes must be x, y or xy, got 'z'"):
        Propagation(axes="z")(torch.zeros(1, 1, 1, 2, 2))


# Evaluation


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_the_cost_is_that_of_loops_for_images_of_different_sizes(patch, norm):
    features0, features1 = noise(2, 3, 5, 6), noise(2, 3, 7, 4, seed=1)
    height, width = 6 - patch, 7 - patch
    low, high = search_range((height, width), (8 - patch, 5 - patch), 2, None, torch.device("cpu"))
    particles = ParticleSampler(3)(low.expand(2, -1, -1, -1), high.expand(2, -1, -1, -1), seeded())
    cost = matching_cost(features0, features1, particles, patch, norm)
    for b, k, y, x in torch.cartesian_prod(*map(torch.arange, cost.shape)).tolist():
        dx, dy = particles[b, k, :, y, x].tolist()
        here = features0[b, :, y : y + patch, x : x + patch]
        there = features1[b, :, y + dy : y + dy + patch, x + dx : x + dx + patch]
        apart = here - there
        want = apart.square().sum() if norm == "l2" else apart.abs().sum()
        assert cost[b, k, y, x].item() == pytest.approx(want.item(), rel=1e-5)


def test_the_cost_of_strips_is_the_cost(monkeypatch):
    features0, features1 = noise(2, 3, 9, 6), noise(2, 3, 9, 6, seed=1)
    particles = torch.randint(-2, 3, (2, 4, 2, 9, 6), generator=seeded())
    whole = matching_cost(features0, features1, particles)
    monkeypatch.setattr("patchmatch.nnf.differentiable.ops.AT_ONCE", 300)
    assert torch.equal(matching_cost(features0, features1, particles), whole)


def test_pixels_are_read_exactly_and_blended_between():
    rows = noise(2, 4, 5, 3)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    x, y = x.flatten().expand(2, -1), y.flatten().expand(2, -1)
    flat = rows.flatten(1, 2)
    assert torch.equal(sample_rows(rows, x, y), flat)
    assert torch.equal(sample_rows(rows, x.float(), y.float()), flat)
    between = sample_rows(rows, torch.full((2, 1), 1.5), torch.full((2, 1), 2.25))
    upper, lower = rows[:, 2, 1:3].mean(dim=1), rows[:, 3, 1:3].mean(dim=1)
    assert_close(between[:, 0], 0.75 * upper + 0.25 * lower)
    outside = sample_rows(rows, torch.full((2, 1), 9.0), torch.full((2, 1), -1.0))
    assert torch.equal(outside[:, 0], rows[:, 0, 4])


def test_convention_disparity_moves_left():
    features0 = noise(1, 2, 3, 6)
    features1 = features0.roll(-2, dims=3)
    cost = matching_cost(features0, features1, torch.full((1, 1, 1, 3, 6), 2))
    assert (cost[..., 2:] == 0).all()
    assert (cost[..., :2] > 0).all()


def test_convention_probability_sums_to_one():
    evaluation = Evaluation()
    particles = torch.tensor([3, 1, 3, 2]).view(1, 4, 1, 1, 1)
    cost = torch.tensor([0.1, 0.2, 0.1, 0.4]).view(1, 4, 1, 1)
    share = evaluation.log_probability(particles, cost).exp().flatten()
    want = (-10 * torch.tensor([0.1, 0.2, 0.4])).softmax(dim=0)
    assert share.sum().item() == pytest.approx(1)
    # repeated particles count once
    assert_close(share, torch.stack([want[0], want[1], torch.tensor(0.0), want[2]]))


def test_tied_particles_are_never_averaged_into_a_place_that_is_none():
    particles = torch.tensor([-20, 20, 21]).view(1, 3, 1, 1, 1)
    cost = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)
    hard, _ = best_particles(particles, cost, 1)
    assert hard.item() == -20  # of equal ones the first
    assert Evaluation().expected(particles, cost).item() == -20
    assert Evaluation().expected(particles[:, 1:], cost[:, 1:]).item() == pytest.approx(20.5)


def test_the_best_particles_are_all_different_and_in_order():
    particles = torch.randint(0, 4, (2, 12, 1, 5, 6), generator=seeded())
    cost = noise(2, 1, 5, 6) + (particles[:, :, 0] - 1.2).abs()  # equal where they are the same
    kept, least = best_particles(particles, cost, 3)
    for b, y, x in torch.cartesian_prod(*map(torch.arange, (2, 5, 6))).tolist():
        among = set(particles[b, :, 0, y, x].tolist())
        want = sorted(among, key=lambda offset: abs(offset - 1.2))[:3]
        assert kept[b, : len(want), 0, y, x].tolist() == want
    assert (least.diff(dim=1) >= 0).all()


# the search


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_gradients_are_right_in_float64(axes, whole):
    net = DifferentiablePatchMatchNet(axes, 2, samples=2, steps=(1,), whole=whole).double()
    features0 = noise(2, 1, 2, 3, dtype=torch.float64).requires_grad_()
    features1 = noise(2, 1, 3, 4, seed=1, dtype=torch.float64).requires_grad_()
    temperature = net.evaluation.log_temperature

    def unrolled(features0, features1, log_temperature):
        net.evaluation._parameters["log_temperature"] = log_temperature
        found = []
        for searched in net(features0, features1, generator=seeded()):
            judged, cost = searched.judged, searched.judged_cost
            found.append(net.evaluation.expected(judged, cost))
            found.append(net.evaluation.log_probability(judged, cost).clamp_min(-1e8))
        found.append(net.expected(features0, features1, searched.particles))
        return torch.cat([f.flatten() for f in found])

    assert torch.autograd.gradcheck(unrolled, (features0, features1, temperature))


def test_gradients_reach_scores_between_pixels_and_particles():
    features0 = noise(1, 2, 3, 4, dtype=torch.float64)
    features1 = noise(1, 2, 3, 4, seed=1, dtype=torch.float64)
    particles = (noise(1, 2, 2, 3, 4, seed=2, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: matching_cost(features0, features1, p.clamp(-0.4, 0.4)), (particles,)
    )


def zero_gradients(temperature):
    """Share of the gradients of features that are exactly zero."""
    image = smooth(1, 3, 24, 28)
    torch.manual_seed(0)
    features = [PatchFeatures(8, 7)(x).detach().requires_grad_() for x in (image, image.flip(3))]
    net = DifferentiablePatchMatchNet(iterations=3)
    with torch.no_grad():
        net.evaluation.log_temperature.fill_(temperature).log_()
    loss = torch.zeros(())
    for searched in net(*features, generator=seeded()):
        loss = loss + net.evaluation.expected(searched.judged, searched.judged_cost).square().mean()
    loss.backward()
    return (features[0].grad == 0).float().mean().item()


def test_the_temperature_lets_gradients_through():
    assert DifferentiablePatchMatchNet().evaluation.log_temperature.exp().item() == pytest.approx(
        10
    )
    assert zero_gradients(10.0) < 0.05
    assert zero_gradients(1e10) > 0.9  # that of the original


@pytest.mark.parametrize("particles", [1, 3])
def test_the_cost_never_rises(particles):
    net = DifferentiablePatchMatchNet(particles=particles, iterations=6, patch_size=3)
    image0, image1 = smooth(2, 3, 30, 41), smooth(2, 3, 26, 37, seed=7)
    costs = [searched.cost for searched in net(image0, image1, generator=seeded())]
    for before, after in pairwise(costs):
        assert (after <= before).all()
    assert costs[-1].mean() < 0.75 * costs[0].mean()


def test_the_window_shrinks_from_iteration_to_iteration(monkeypatch):
    radii = []
    around = ParticleSampler.around

    def spy(self, particles, radius, *rest):
        radii.append(radius)
        return around(self, particles, radius, *rest)

    monkeypatch.setattr(ParticleSampler, "around", spy)
    net = DifferentiablePatchMatchNet(iterations=5, reach=8)
    list(net(noise(1, 2, 30, 40), noise(1, 2, 30, 40), generator=seeded()))
    assert radii == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(17, 24), (16, 31)])
def test_identical_images_give_exactly_the_zero_field(size, whole):
    image = noise(2, 3, *size)
    net = DifferentiablePatchMatchNet(iterations=3, whole=whole, particles=2)
    for searched in net(image, image, generator=seeded()):
        assert (searched.particles[:, 0] == 0).all()
        assert (searched.cost[:, 0] == 0).all()


def test_identical_images_are_recognised_from_random_particles():
    image = smooth(1, 3, 40, 52)
    net = DifferentiablePatchMatchNet(iterations=8, patch_size=3)
    low, high = search_range((38, 50), (38, 50), 2, None, torch.device("cpu"))
    start = ParticleSampler(2)(low, high, seeded(3))
    assert (start == 0).all(dim=2).any(dim=1).float().mean() < 0.01
    *_, searched = net(image, image, start=start, generator=seeded())
    assert (searched.particles == 0).all(dim=2).float().mean() > 0.99


def test_a_part_of_a_larger_image_is_found_where_it_lies():
    image1 = smooth(2, 3, 61, 50)
    image0 = image1[:, :, 23:55, 6:47]
    net = DifferentiablePatchMatchNet(patch_size=3)
    *_, searched = net(image0, image1, generator=seeded())
    found = searched.particles[:, 0]
    right = (found[:, 0] == 6) & (found[:, 1] == 23)
    assert right.float().mean() > 0.98


def test_offsets_never_leave_image1_nor_the_reach():
    net = DifferentiablePatchMatchNet(reach=6, particles=2, iterations=3)
    x, y = torch.arange(33), torch.arange(20)[:, None]
    for searched in net(noise(2, 2, 20, 33), noise(2, 2, 25, 29, seed=1), generator=seeded()):
        dx, dy = searched.judged.unbind(dim=2)
        assert (x + dx >= 0).all()
        assert (x + dx < 29).all()
        assert (y + dy >= 0).all()
        assert (y + dy < 25).all()
        assert searched.judged.abs().max() == 6
    assert searched.judged.shape[1] == net.judged_count


def test_disparities_are_searched_to_the_left_within_limits():
    image = smooth(2, 3, 20, 64)
    image0, image1 = image[..., :56], image[..., 5:61]
    net = DifferentiablePatchMatchNet(axes=1, reach=12, patch_size=3)
    first, *_, last = net(image0, image1, generator=seeded())
    assert last.particles.shape == (2, 1, 1, 18, 54)
    assert (first.judged.min(), first.judged.max()) == (0, 12)
    assert (last.particles[..., 5:] == 5).float().mean() > 0.98
    low, high = torch.full((2, 1, 18, 54), 4), torch.full((2, 1, 18, 54), 6)
    for searched in net(image0, image1, (low, high), generator=seeded()):
        assert searched.judged[..., 6:].unique().tolist() == [4, 5, 6]


def test_disparities_between_pixels_are_found():
    fine = smooth(1, 4, 16, 200)
    fine = torch.nn.functional.avg_pool2d(fine, (1, 9), 1, (0, 4))
    image0, image1 = fine[..., 0:160:2], fine[..., 7:167:2]  # 3.5 pixels of two samples each
    net = DifferentiablePatchMatchNet(axes=1, reach=12, patch_size=3, whole=False, iterations=12)
    *_, searched = net(image0, image1, generator=seeded())
    apart = (searched.particles[..., 5:] - 3.5).abs()
    assert apart.median() < 0.1


def test_the_expected_offset_lies_between_pixels():
    fine = torch.nn.functional.avg_pool2d(smooth(1, 4, 20, 200), (1, 9), 1, (0, 4))
    image0, image1 = fine[..., 0:160:2], fine[..., 7:167:2]
    net = DifferentiablePatchMatchNet(patch_size=3)
    with torch.no_grad():
        net.evaluation.log_temperature.fill_(0.0)
    *_, searched = net(image1, image0, generator=seeded())
    hard, soft = searched.particles[:, 0], net.expected(image1, image0, searched.particles)
    inside = slice(0, -6)
    assert ((soft[:, 0] - 3.5).abs() < (hard[:, 0] - 3.5).abs())[..., inside].float().mean() > 0.9


def test_a_batch_gives_what_single_pairs_give():
    image0, image1 = smooth(3, 2, 18, 23), smooth(3, 2, 21, 17, seed=3)
    net = DifferentiablePatchMatchNet(iterations=3, particles=2, patch_size=2)
    *_, both = net(image0, image1, generator=seeded())
    for i in range(3):
        *_, alone = net(image0[i : i + 1], image1[i : i + 1], generator=seeded())
        assert torch.equal(both.particles[i : i + 1], alone.particles)
        assert torch.equal(both.cost[i : i + 1], alone.cost)


def test_masked_places_are_neither_matched_nor_matched_with():
    image = smooth(1, 2, 20, 24)
    valid0, valid1 = (torch.ones(1, 20, 24, dtype=torch.bool) for _ in range(2))
    valid0[:, :4], valid1[:, 5:15, 6:18] = False, False
    *_, searched = DifferentiablePatchMatchNet()(
        image, image, valid0=valid0, valid1=valid1, generator=seeded()
    )
    cost, (dx, dy) = searched.cost[0, 0], searched.particles[0, 0]
    assert cost[:4].isinf().all()
    assert cost[4:].isfinite().all()
    y, x = torch.meshgrid(torch.arange(20), torch.arange(24), indexing="ij")
    assert valid1[0, y + dy, x + dx].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"axes": 3}, r"axes must be 1 \(disparities\) or 2 \(displacements\), got 3"),
        ({"shrink": 0.0}, "shrink must lie between 0 and 1, got 0.0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DifferentiablePatchMatchNet(**settings)


# features of patches


@pytest.mark.parametrize("patch", [3, 4, 7])
def test_features_depend_on_the_patch_alone(patch):
    net, image = PatchFeatures(5, patch), noise(2, 3, 12, 15)
    features = net(image)
    assert features.shape == (2, 5, 13 - patch, 16 - patch)
    assert_close(net(image[:, :, 2 : 2 + patch, 4 : 4 + patch])[..., 0, 0], features[..., 2, 4])
    image[:, :, 2, 4] += 1
    assert not torch.isclose(net(image)[..., 2, 4], features[..., 2, 4]).all()


def test_features_follow_a_gain_and_those_for_any_light_do_not():
    net, image = PatchFeatures(24, 7), noise(2, 3, 16, 16)
    assert_close(net(0.5 * image), 0.5 * net(image))
    even = net(image, any_light=True)
    assert_close(net(0.5 * image, any_light=True), even, rtol=0, atol=0.02)
    assert_close(even.norm(dim=1), torch.ones(2, 10, 10), rtol=0, atol=0.02)


def test_training_starts_from_filters_that_all_differ():
    waves = PatchFeatures(24, 11).waves.flatten(1)
    assert_close(waves.norm(dim=1), torch.ones(36))
    assert (waves @ waves.T - torch.eye(36)).abs().max() < 0.9


def test_gray_images_are_taken_as_colour_images():
    net, gray = PatchFeatures(patch_size=5), noise(1, 1, 9, 10)
    assert torch.equal(net(gray), net(gray.expand(-1, 3, -1, -1)))


def test_features_of_no_patch_are_refused():
    for wrong in ((3, 7), (16, 2)):
        with pytest.raises(ValueError, match="a patch_size of at least 3 and 4 channels or more"):
            PatchFeatures(*wrong)
