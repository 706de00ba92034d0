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
    sample_features,
    search_range,
)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(*shape, seed=0):
    """Return noise with structure at several scales, in which a search converges."""
    image = torch.zeros(shape)
    for scale in (1, 2, 4, 8):
        small = noise(*shape[:2], shape[2] // scale + 2, shape[3] // scale + 2, seed=seed + scale)
        image += torch.nn.functional.interpolate(small, shape[2:], mode="bicubic") * scale**0.5
    return image - image.mean()


# ParticleSampler


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("integer", [True, False])
def test_a_sampler_draws_one_particle_from_each_stratum(axes, integer, device):
    low = torch.arange(2 * axes * 3 * 5, device=device).view(2, axes, 3, 5) % 7 - 3
    high = low + 11
    if not integer:
        low, high = low.double(), high.double()
    found = ParticleSampler(4)(low, high, seeded())
    assert found.shape == (2, 4, axes, 3, 5)
    assert found.dtype == low.dtype
    inside = (found - low[:, None]).sort(dim=1).values
    strata = inside // 3 if integer else (inside / 2.75).floor()  # 12 integers, or a length of 11
    assert (strata == torch.arange(4, device=device).view(1, 4, 1, 1, 1)).all()
    assert len(inside.unique()) > 9  # random within them


def test_the_strata_of_two_axes_are_paired_randomly():
    low = torch.zeros(1, 2, 40, 50, dtype=torch.long)
    found = ParticleSampler(2)(low, low + 9, seeded())
    assert 0.4 < (found[:, :, 0] // 5 == found[:, :, 1] // 5).float().mean() < 0.6


def test_samples_around_particles_stay_in_window_and_range():
    middle = torch.tensor([[-4, 0], [5, 2]]).view(1, 2, 2, 1, 1).expand(3, 2, 2, 20, 30)
    low = torch.full((3, 2, 20, 30), -5)
    found = ParticleSampler(4).sample_around(middle, 2.0, low, -low, seeded())
    apart = found - middle[:, [0, 1, 0, 1]]
    assert set(apart[:, :, 1].unique().tolist()) == {-2, -1, 0, 1, 2}
    assert set(apart[:, 0, 0].unique().tolist()) == {-1, 0, 1, 2}  # the range ends at -5
    assert set(apart[:, 1, 0].unique().tolist()) == {-2, -1, 0}


def test_a_batch_draws_the_samples_of_single_images():
    low = torch.stack([torch.full((2, 4, 6), -3), torch.full((2, 4, 6), -9)])
    both = ParticleSampler(3)(low, -low, seeded(5))
    for i in range(2):
        alone = ParticleSampler(3)(low[i : i + 1], -low[i : i + 1], seeded(5))
        assert torch.equal(both[i : i + 1], alone)


# Propagation


def test_neighbours_are_ordered_above_left_right_below():
    offsets = torch.tensor([[[1, 2, 3], [4, 5, 6]]])  # (1, H, W)
    found = Propagation()(offsets.view(1, 1, 1, 2, 3))[0, :, 0]
    assert found.tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[1, 2, 3], [1, 2, 3]],
        [[1, 1, 2], [4, 4, 5]],
        [[2, 3, 3], [5, 6, 6]],
        [[4, 5, 6], [4, 5, 6]],
    ]


@pytest.mark.parametrize("particle_dtype", [torch.long, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("axes", "steps"), [("xy", (1,)), ("x", (2,)), ("y", (1, 3)), ("xy", (2, 5))]
)
def test_both_forms_of_propagation_are_equal(axes, steps, particle_dtype, device):
    particles = (noise(2, 3, 2, 5, 7) * 200 - 100).to(device, particle_dtype)
    shifted, convolved = (
        Propagation(steps, axes, form)(particles) for form in ("shifts", "convolution")
    )
    assert shifted.dtype == particle_dtype
    assert shifted.shape[1] == 3 * (1 + 2 * len(axes) * len(steps))
    assert torch.equal(shifted, convolved)


def test_an_unknown_form_or_axis_raises():
    with pytest.raises(ValueError, match="form must be one of shifts, convolution, got 'slow'"):
        Propagation(form="slow")
    with pytest.raises(ValueError, match="axes must be x, y or xy, got 'z'"):
        Propagation(axes="z")(torch.zeros(1, 1, 1, 2, 2))


# Evaluation


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_the_cost_equals_loops_for_images_of_different_sizes(patch, norm, device, dtype):
    features0, features1 = noise(2, 3, 5, 6).to(dtype), noise(2, 3, 7, 4, seed=1).to(dtype)
    height, width = 6 - patch, 7 - patch
    low, high = search_range((height, width), (8 - patch, 5 - patch), 2, None, torch.device("cpu"))
    particles = ParticleSampler(3)(low.expand(2, -1, -1, -1), high.expand(2, -1, -1, -1), seeded())
    cost = matching_cost(
        features0.to(device), features1.to(device), particles.to(device), patch, norm
    )
    for b, k, y, x in torch.cartesian_prod(*map(torch.arange, cost.shape)).tolist():
        dx, dy = particles[b, k, :, y, x].tolist()
        own = features0[b, :, y : y + patch, x : x + patch]
        target = features1[b, :, y + dy : y + dy + patch, x + dx : x + dx + patch]
        difference = own - target
        expected = difference.square().sum() if norm == "l2" else difference.abs().sum()
        assert cost[b, k, y, x].item() == pytest.approx(expected.item(), rel=1e-5)


def test_strips_do_not_change_the_cost(monkeypatch):
    features0, features1 = noise(2, 3, 9, 6), noise(2, 3, 9, 6, seed=1)
    particles = torch.randint(-2, 3, (2, 4, 2, 9, 6), generator=seeded())
    whole = matching_cost(features0, features1, particles)
    monkeypatch.setattr("patchmatch.nnf.differentiable.ops.CACHE_VALUES", 300)
    assert torch.equal(matching_cost(features0, features1, particles), whole)


def test_features_are_exact_at_pixels_and_interpolated_between(device, dtype):
    features = noise(2, 4, 5, 3).to(device, dtype)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    x, y = (p.flatten().expand(2, -1).to(device) for p in (x, y))
    flat = features.flatten(1, 2)
    assert torch.equal(sample_features(features, x, y), flat)
    assert torch.equal(sample_features(features, x.to(dtype), y.to(dtype)), flat)
    position = features.new_ones(2, 1)
    between = sample_features(features, 1.5 * position, 2.25 * position)
    upper, lower = features[:, 2, 1:3].mean(dim=1), features[:, 3, 1:3].mean(dim=1)
    assert_close(between[:, 0], 0.75 * upper + 0.25 * lower)
    outside = sample_features(features, 9 * position, -position)
    assert torch.equal(outside[:, 0], features[:, 0, 4])


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
    probability = evaluation.log_probability(particles, cost).exp().flatten()
    expected = (-10 * torch.tensor([0.1, 0.2, 0.4])).softmax(dim=0)
    assert probability.sum().item() == pytest.approx(1)
    # duplicates have probability 0
    expected = torch.stack([expected[0], expected[1], torch.tensor(0.0), expected[2]])
    assert_close(probability, expected)


def test_the_expected_offset_does_not_average_distant_modes():
    particles = torch.tensor([-20, 20, 21]).view(1, 3, 1, 1, 1)
    cost = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)
    hard, _ = best_particles(particles, cost, 1)
    assert hard.item() == -20  # the first of equal costs
    assert Evaluation().expected(particles, cost).item() == -20
    assert Evaluation().expected(particles[:, 1:], cost[:, 1:]).item() == pytest.approx(20.5)


def test_the_best_particles_all_differ_and_are_sorted():
    particles = torch.randint(0, 4, (2, 12, 1, 5, 6), generator=seeded())
    cost = noise(2, 1, 5, 6) + (particles[:, :, 0] - 1.2).abs()  # equal for duplicates
    kept, lowest = best_particles(particles, cost, 3)
    for b, y, x in torch.cartesian_prod(*map(torch.arange, (2, 5, 6))).tolist():
        offsets = set(particles[b, :, 0, y, x].tolist())
        expected = sorted(offsets, key=lambda offset: abs(offset - 1.2))[:3]
        assert kept[b, : len(expected), 0, y, x].tolist() == expected
    assert (lowest.diff(dim=1) >= 0).all()


# DifferentiablePatchMatchNet


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("integer", [True, False])
def test_gradients_of_the_search_pass_gradcheck(axes, integer):
    net = DifferentiablePatchMatchNet(axes, 2, samples=2, steps=(1,), integer=integer).double()
    features0 = noise(2, 1, 2, 3, dtype=torch.float64).requires_grad_()
    features1 = noise(2, 1, 3, 4, seed=1, dtype=torch.float64).requires_grad_()
    temperature = net.evaluation.log_temperature

    def unrolled(features0, features1, log_temperature):
        net.evaluation._parameters["log_temperature"] = log_temperature
        found = []
        for state in net(features0, features1, generator=seeded()):
            particles, cost = state.evaluated, state.evaluated_cost
            found.append(net.evaluation.expected(particles, cost))
            found.append(net.evaluation.log_probability(particles, cost).clamp_min(-1e8))
        found.append(net.expected(features0, features1, state.particles))
        return torch.cat([f.flatten() for f in found])

    assert torch.autograd.gradcheck(unrolled, (features0, features1, temperature))


def test_gradients_of_the_cost_reach_subpixel_particles():
    features0 = noise(1, 2, 3, 4, dtype=torch.float64)
    features1 = noise(1, 2, 3, 4, seed=1, dtype=torch.float64)
    particles = (noise(1, 2, 2, 3, 4, seed=2, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: matching_cost(features0, features1, p.clamp(-0.4, 0.4)), (particles,)
    )


def zero_gradients(temperature):
    """Return the fraction of feature gradients that are exactly zero."""
    image = smooth(1, 3, 24, 28)
    torch.manual_seed(0)
    features = [PatchFeatures(8, 7)(x).detach().requires_grad_() for x in (image, image.flip(3))]
    net = DifferentiablePatchMatchNet(iterations=3)
    with torch.no_grad():
        net.evaluation.log_temperature.fill_(temperature).log_()
    loss = torch.zeros(())
    for state in net(*features, generator=seeded()):
        expected = net.evaluation.expected(state.evaluated, state.evaluated_cost)
        loss = loss + expected.square().mean()
    loss.backward()
    return (features[0].grad == 0).float().mean().item()


def test_gradients_vanish_at_a_high_temperature_factor():
    assert DifferentiablePatchMatchNet().evaluation.log_temperature.exp().item() == pytest.approx(
        10
    )
    assert zero_gradients(10.0) < 0.05
    assert zero_gradients(1e10) > 0.9  # that of the published code


@pytest.mark.parametrize("particles", [1, 3])
def test_the_cost_never_increases(particles):
    net = DifferentiablePatchMatchNet(particles=particles, iterations=6, patch_size=3)
    image0, image1 = smooth(2, 3, 30, 41), smooth(2, 3, 26, 37, seed=7)
    costs = [state.cost for state in net(image0, image1, generator=seeded())]
    for before, after in pairwise(costs):
        assert (after <= before).all()
    assert costs[-1].mean() < 0.75 * costs[0].mean()


def test_the_window_shrinks_from_iteration_to_iteration(monkeypatch):
    radii = []
    sample_around = ParticleSampler.sample_around

    def spy(self, particles, radius, *rest):
        radii.append(radius)
        return sample_around(self, particles, radius, *rest)

    monkeypatch.setattr(ParticleSampler, "sample_around", spy)
    net = DifferentiablePatchMatchNet(iterations=5, max_displacement=8)
    list(net(noise(1, 2, 30, 40), noise(1, 2, 30, 40), generator=seeded()))
    assert radii == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize("size", [(17, 24), (16, 31)])
def test_identical_images_give_zero_flow_and_zero_cost(size, integer):
    image = noise(2, 3, *size)
    net = DifferentiablePatchMatchNet(iterations=3, integer=integer, particles=2)
    for state in net(image, image, generator=seeded()):
        assert (state.particles[:, 0] == 0).all()
        assert (state.cost[:, 0] == 0).all()


def test_zero_flow_between_identical_images_is_found_from_random_particles():
    image = smooth(1, 3, 40, 52)
    net = DifferentiablePatchMatchNet(iterations=8, patch_size=3)
    low, high = search_range((38, 50), (38, 50), 2, None, torch.device("cpu"))
    start = ParticleSampler(2)(low, high, seeded(3))
    assert (start == 0).all(dim=2).any(dim=1).float().mean() < 0.01
    *_, state = net(image, image, start=start, generator=seeded())
    assert (state.particles == 0).all(dim=2).float().mean() > 0.99


def test_the_flow_to_a_larger_image_leads_to_the_position_of_the_crop():
    image1 = smooth(2, 3, 61, 50)
    image0 = image1[:, :, 23:55, 6:47]
    net = DifferentiablePatchMatchNet(patch_size=3)
    *_, state = net(image0, image1, generator=seeded())
    found = state.particles[:, 0]
    correct = (found[:, 0] == 6) & (found[:, 1] == 23)
    assert correct.float().mean() > 0.98


def test_offsets_stay_inside_image1_and_the_maximum_displacement():
    net = DifferentiablePatchMatchNet(max_displacement=6, particles=2, iterations=3)
    x, y = torch.arange(33), torch.arange(20)[:, None]
    for state in net(noise(2, 2, 20, 33), noise(2, 2, 25, 29, seed=1), generator=seeded()):
        dx, dy = state.evaluated.unbind(dim=2)
        assert (x + dx >= 0).all()
        assert (x + dx < 29).all()
        assert (y + dy >= 0).all()
        assert (y + dy < 25).all()
        assert state.evaluated.abs().max() == 6
    assert state.evaluated.shape[1] == net.num_evaluated


def test_disparities_are_found_to_the_left_within_limits():
    image = smooth(2, 3, 20, 64)
    image0, image1 = image[..., :56], image[..., 5:61]
    net = DifferentiablePatchMatchNet(axes=1, max_displacement=12, patch_size=3)
    first, *_, last = net(image0, image1, generator=seeded())
    assert last.particles.shape == (2, 1, 1, 18, 54)
    assert (first.evaluated.min(), first.evaluated.max()) == (0, 12)
    assert (last.particles[..., 5:] == 5).float().mean() > 0.98
    low, high = torch.full((2, 1, 18, 54), 4), torch.full((2, 1, 18, 54), 6)
    for state in net(image0, image1, (low, high), generator=seeded()):
        assert state.evaluated[..., 6:].unique().tolist() == [4, 5, 6]


def test_subpixel_disparities_are_found():
    fine = smooth(1, 4, 16, 200)
    fine = torch.nn.functional.avg_pool2d(fine, (1, 9), 1, (0, 4))
    image0, image1 = fine[..., 0:160:2], fine[..., 7:167:2]  # 3.5 pixels of two samples each
    net = DifferentiablePatchMatchNet(
        axes=1, max_displacement=12, patch_size=3, integer=False, iterations=12
    )
    *_, state = net(image0, image1, generator=seeded())
    error = (state.particles[..., 5:] - 3.5).abs()
    assert error.median() < 0.1


def test_the_expected_offset_has_subpixel_resolution():
    fine = torch.nn.functional.avg_pool2d(smooth(1, 4, 20, 200), (1, 9), 1, (0, 4))
    image0, image1 = fine[..., 0:160:2], fine[..., 7:167:2]
    net = DifferentiablePatchMatchNet(patch_size=3)
    with torch.no_grad():
        net.evaluation.log_temperature.fill_(0.0)
    *_, state = net(image1, image0, generator=seeded())
    integer, expected = state.particles[:, 0], net.expected(image1, image0, state.particles)
    inside = slice(0, -6)
    improved = (expected[:, 0] - 3.5).abs() < (integer[:, 0] - 3.5).abs()
    assert improved[..., inside].float().mean() > 0.9


def test_a_batch_gives_the_results_of_single_pairs():
    image0, image1 = smooth(3, 2, 18, 23), smooth(3, 2, 21, 17, seed=3)
    net = DifferentiablePatchMatchNet(iterations=3, particles=2, patch_size=2)
    *_, both = net(image0, image1, generator=seeded())
    for i in range(3):
        *_, alone = net(image0[i : i + 1], image1[i : i + 1], generator=seeded())
        assert torch.equal(both.particles[i : i + 1], alone.particles)
        assert torch.equal(both.cost[i : i + 1], alone.cost)


def test_masked_pixels_are_neither_queries_nor_targets():
    image = smooth(1, 2, 20, 24)
    valid0, valid1 = (torch.ones(1, 20, 24, dtype=torch.bool) for _ in range(2))
    valid0[:, :4], valid1[:, 5:15, 6:18] = False, False
    *_, state = DifferentiablePatchMatchNet()(
        image, image, valid0=valid0, valid1=valid1, generator=seeded()
    )
    cost, (dx, dy) = state.cost[0, 0], state.particles[0, 0]
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
def test_invalid_options_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        DifferentiablePatchMatchNet(**settings)


# PatchFeatures


@pytest.mark.parametrize("patch", [3, 4, 7])
def test_features_depend_on_the_patch_only(patch, device, dtype):
    net, image = PatchFeatures(5, patch).to(device, dtype), noise(2, 3, 12, 15).to(device, dtype)
    features = net(image)
    assert features.shape == (2, 5, 13 - patch, 16 - patch)
    assert_close(net(image[:, :, 2 : 2 + patch, 4 : 4 + patch])[..., 0, 0], features[..., 2, 4])
    image[:, :, 2, 4] += 1
    assert not torch.isclose(net(image)[..., 2, 4], features[..., 2, 4]).all()


def test_features_are_linear_or_gain_invariant():
    net, image = PatchFeatures(24, 7), noise(2, 3, 16, 16)
    assert_close(net(0.5 * image), 0.5 * net(image))
    invariant = net(image, gain_invariant=True)
    assert_close(net(0.5 * image, gain_invariant=True), invariant, rtol=0, atol=0.02)
    assert_close(invariant.norm(dim=1), torch.ones(2, 10, 10), rtol=0, atol=0.02)


def test_basis_functions_have_norm_one_and_differ():
    basis = PatchFeatures(24, 11).basis.flatten(1)
    assert_close(basis.norm(dim=1), torch.ones(36))
    assert (basis @ basis.T - torch.eye(36)).abs().max() < 0.9


def test_gray_images_equal_colour_images_of_three_equal_channels():
    net, gray = PatchFeatures(patch_size=5), noise(1, 1, 9, 10)
    assert torch.equal(net(gray), net(gray.expand(-1, 3, -1, -1)))


def test_too_few_channels_or_too_small_patches_raise():
    for wrong in ((3, 7), (16, 2)):
        with pytest.raises(ValueError, match="at least 3 and channels at least 4"):
            PatchFeatures(*wrong)
