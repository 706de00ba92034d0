import pytest
import torch

from patchmatch.frames.common_motion import moves_alike
from patchmatch.frames.results import FrameChanges, Kind, kind_of


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


def changes(displacement, matched, camera=None):
    count = len(displacement)
    return FrameChanges(
        source="run", frame0="a", frame1="b",
        boxes=torch.tensor([[8 * i, 0, 8 * i + 8, 6] for i in range(count)]),
        displacement=torch.tensor(displacement),
        kind=torch.full((count,), Kind.LARGER), score=torch.ones(count),
        matched=torch.tensor(matched), confidence=torch.ones(count),
        camera=None if camera is None else torch.tensor(camera),
    )  # fmt: skip


def test_unmatched_blocks_have_no_displacement():
    found = changes([[1.0, 2.0], [1.0, 1.0]], [True, False])
    assert found.displacement[0].tolist() == [1, 2]
    assert found.displacement[1].isnan().all()
    assert found.total_displacement[1].isnan().all()


def test_convention_boxes_of_frame1_are_where_the_content_is():
    motion = [[5.4, -3.0], [1.0, 1.0], [9.0, 9.0], [float("inf"), 0.0]]
    boxes = changes(motion, [True, True, False, True]).boxes1
    assert boxes[0].tolist() == [5, -3, 13, 3]
    assert boxes[1:].tolist() == [[8, 0, 16, 6], [16, 0, 24, 6], [24, 0, 32, 6]]


def test_convention_total_displacement_includes_the_camera():
    found = changes([[0.0, 1.0], [0.0, 0.0]], [True, True], [[4.0, 2.0], [float("nan"), 0.0]])
    assert found.total_displacement.tolist() == [[4, 3], [0, 0]]
    assert found.boxes1.tolist() == [[4, 3, 12, 9], [8, 0, 16, 6]]


@pytest.mark.parametrize(
    ("motion", "alike"),
    [
        ([[6.0, -3.0]] * 3 + [[0.0, 0.0]] * 2, True),
        ([[6.0, -3.0]] * 2 + [[0.0, 0.0]] * 3, False),
        ([[0.5, 0.5]] * 5, False),  # less than a pixel
        ([[9.0, 0.0], [-9.0, 0.0], [0.0, 9.0], [0.0, -9.0], [5.0, 5.0]], False),
    ],
)
def test_motion_is_alike_if_most_blocks_share_it(motion, alike):
    assert moves_alike(changes(motion, [True] * 5)) is alike
    assert not moves_alike(changes(motion, [False] * 5))
