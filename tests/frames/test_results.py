import torch

from patchmatch.frames.results import Kind, kind_of


def test_kind_is_the_length_rounded_to_integer_pixels(device, dtype):
    displacement = torch.tensor(
        [[0.4, 0.0], [0.0, -0.5], [1.0, 1.0], [-1.4, 0.0], [1.5, 0.0], [3.0, -4.0]],
        device=device,
        dtype=dtype,
    )
    kind = kind_of(displacement.reshape(2, 3, 2))
    assert (kind.dtype, kind.device) == (torch.long, displacement.device)
    expected = [Kind.STILL, *3 * [Kind.ONE_PIXEL], Kind.LARGER, Kind.LARGER]
    assert kind.flatten().tolist() == expected


def test_kind_of_no_displacements_is_empty(device, dtype):
    assert kind_of(torch.zeros(0, 2, device=device, dtype=dtype)).shape == (0,)
