import math

import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from patchmatch.motion.lucas_kanade import registration_step


def test_step_agrees_with_a_computed_example():
    # [[2, 1], [1, 3]] step = -(3, -1): the step is -(2, -1)
    tensor = torch.tensor([[[1.0, 0.5, 2], [1, 0.5, 1]], [[0.5, 0.25, 0.75], [1.5, 0.75, 2.25]]])
    gradient_residual = torch.tensor([[[1.0, 0], [2, -1]], [[0.75, -0.25], [2.25, -0.75]]])
    found = registration_step(
        tensor, gradient_residual, torch.ones(2, 2), damping=0.0, max_step=9.0
    )
    assert_close(found, torch.tensor([[-2.0, 1], [-2, 1]]))


def test_steps_agree_with_linalg_solve(device, dtype):
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(3, 2, 5, 2, generator=generator)
    tensor = torch.stack([g[..., 0] ** 2, g[..., 0] * g[..., 1], g[..., 1] ** 2], dim=-1)
    gradient_residual = torch.randn(3, 2, 5, 2, generator=generator)
    weights = torch.rand(3, 2, 5, generator=generator)
    given = (x.to(device, dtype) for x in (tensor, gradient_residual, weights))
    found = registration_step(*given, damping=0.01, max_step=100.0)
    assert found.dtype == dtype
    found = found.float().cpu()
    for i in range(3):
        for k in range(2):
            xx, xy, yy = (weights[i, k, :, None] * tensor[i, k]).sum(dim=0)
            matrix = torch.tensor([[xx + 0.01, xy], [xy, yy + 0.01]])
            right = (weights[i, k, :, None] * gradient_residual[i, k]).sum(dim=0)
            assert_close(found[i, k], -torch.linalg.solve(matrix, right), rtol=1e-3, atol=1e-4)


def test_convention_the_step_points_from_frame0_to_frame1():
    x = torch.arange(64.0)
    frame0, frame1 = torch.sin(x / 5), torch.sin((x - 0.2) / 5)  # moved to the right by 0.2
    gradient = torch.cos(x / 5) / 5
    nothing = torch.zeros(())
    tensor = torch.stack([(gradient**2).mean(), nothing, nothing])[None]
    gradient_residual = torch.stack([(gradient * (frame1 - frame0)).mean(), nothing])[None]
    found = registration_step(tensor, gradient_residual, torch.ones(1), damping=1e-9)
    assert_close(found, torch.tensor([0.2, 0]), rtol=0, atol=0.01)


def test_subwindow_of_zero_weight_is_ignored():
    tensor = torch.tensor([[[1.0, 0, 1], [5, 2, 7]], [[2, 0.5, 1], [9, 1, 8]]])
    gradient_residual = torch.tensor([[[0.1, 0.3], [9, -9]], [[0.2, 0.1], [-9, 9]]])
    weights = torch.tensor([[1.0, 0], [1, 0]])
    single = registration_step(tensor[:, :1], gradient_residual[:, :1], weights[:, :1])
    assert_close(registration_step(tensor, gradient_residual, weights), single)


def test_step_is_clipped_to_the_longest():
    tensor = torch.tensor([[[1.0, 0, 1]], [[1, 0, 1]]])
    gradient_residual = torch.tensor([[[40.0, -0.2]], [[-0.1, -40]]])
    found = registration_step(
        tensor, gradient_residual, torch.ones(2, 1), damping=0.0, max_step=0.5
    )
    assert_close(found, torch.tensor([[-0.5, 0.2], [0.1, 0.5]]))


def test_step_without_texture_is_zero():
    found = registration_step(torch.zeros(2, 3, 3), torch.zeros(2, 3, 2), torch.ones(2, 3))
    assert torch.equal(found.abs(), torch.zeros(2, 2))
    edge = torch.tensor([1.0, 0, 0]).expand(2, 3, 3)  # texture in x only
    found = registration_step(
        edge, torch.full((2, 3, 2), 0.3) * torch.tensor([1.0, 0]), torch.ones(2, 3)
    )
    assert_close(found, torch.tensor([[-0.3, 0], [-0.3, 0]]), rtol=0, atol=1e-3)
    assert not math.isnan(found.sum().item())


def test_registration_step_passes_gradcheck():
    g = torch.rand(2, 4, 2, dtype=torch.float64) + 0.1
    tensor = torch.stack([g[..., 0] ** 2 + 1, g.prod(dim=-1), g[..., 1] ** 2 + 1], dim=-1)
    gradient_residual = 0.2 * torch.rand(2, 4, 2, dtype=torch.float64)
    weights = torch.rand(2, 4, dtype=torch.float64) + 0.5
    inputs = [x.requires_grad_() for x in (tensor, gradient_residual, weights)]
    assert gradcheck(registration_step, inputs)


def test_registration_step_accepts_an_empty_batch():
    found = registration_step(torch.zeros(0, 4, 3), torch.zeros(0, 4, 2), torch.zeros(0, 4))
    assert found.shape == (0, 2)


def test_step_is_zero_where_gradients_are_at_the_noise_level():
    tensor = torch.tensor([[0.5, 0.0, 0.5]]).expand(3, 1, 3)
    gradient_residual = torch.tensor([[0.2, -0.1]]).expand(3, 1, 2)
    noise = torch.tensor([1.0, 0.5, 0.01]).unsqueeze(1)  # the same noise, half of it, nearly none
    step = registration_step(tensor, gradient_residual, torch.ones(3, 1), noise, damping=0.0)
    assert_close(step[0], torch.zeros(2))
    assert_close(
        step[1:], registration_step(tensor, gradient_residual, torch.ones(3, 1), damping=0.0)[1:]
    )
