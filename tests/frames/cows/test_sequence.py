import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.herd import place_herd
from patchmatch.frames.cows.sequence import UNDECIDED, render_sequence

SMALL = {"height": 200, "width": 300}


@pytest.fixture(scope="module")
def clean():
    """A sequence without noise and with constant light, wide enough for four kinds of speed."""
    return render_sequence(frames=4, height=330, width=600, seed=5, noise=0, light=0)


def test_same_seed_gives_same_frames():
    first = render_sequence(frames=2, seed=3, **SMALL)
    second = render_sequence(frames=2, seed=3, **SMALL)
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.labels, second.labels)


def test_another_seed_gives_other_cows_and_another_pasture():
    first = render_sequence(frames=2, seed=3, noise=0, **SMALL)
    second = render_sequence(frames=2, seed=4, noise=0, **SMALL)
    assert not np.array_equal(first.labels, second.labels)
    ground = (first.labels[0] == 0) & (second.labels[0] == 0)
    assert (first.frames[0] != second.frames[0])[ground].mean() > 0.5


def test_shapes_and_types_are_those_of_the_contract(clean):
    assert clean.frames.shape == (4, 330, 600, 3)
    assert clean.frames.dtype == np.uint8
    assert clean.labels.shape == (4, 330, 600)
    assert clean.labels.dtype == np.uint8
    assert clean.velocity.tolist()[0] == [0, 0]
    present = set(np.unique(clean.labels).tolist()) - {UNDECIDED}
    assert present == set(range(len(clean.velocity)))


def test_default_size_has_cows_of_every_speed_inside_the_picture():
    herd = place_herd(12, 576, 768, seed=0, pond=np.zeros((576, 768), bool))
    velocities = [tuple(place.velocity.tolist()) for place in herd]
    assert {max(abs(dx), abs(dy)) for dx, dy in velocities} == {0, 1, 2, 3, 5}
    assert (1, 1) in velocities
    ways = np.array([place.way for place in herd])
    assert (ways[:, :2] >= 0).all()
    assert (ways[:, 2:] <= (768, 576)).all()


def test_number_of_cows_grows_with_the_area():
    counts = [
        len(place_herd(2, height, width, seed=0, pond=np.zeros((height, width), bool)))
        for height, width in ((192, 256), (384, 512), (576, 768))
    ]
    assert counts == [2, 4, 9]


def test_background_never_moves(clean):
    for t in range(3):
        ground = (clean.labels[t] == 0) & (clean.labels[t + 1] == 0)
        assert ground.mean() > 0.5
        assert np.array_equal(clean.frames[t][ground], clean.frames[t + 1][ground])


def test_every_cow_moves_by_exactly_its_velocity(clean):
    for k, (dx, dy) in enumerate(clean.velocity.tolist()):
        if k == 0:
            continue
        y0, x0 = np.nonzero(clean.labels[0] == k)
        y1, x1 = y0 + dy, x0 + dx
        seen = (x1 >= 0) & (x1 < 600) & (y1 >= 0) & (y1 < 330)
        y0, x0, y1, x1 = y0[seen], x0[seen], y1[seen], x1[seen]
        both = clean.labels[1][y1, x1] == k
        assert both.sum() > 3000, f"cow {k} is hardly visible"
        here, there = clean.frames[0][y0, x0][both], clean.frames[1][y1, x1][both]
        assert np.array_equal(here, there), f"cow {k}"
        if dx or dy:
            stayed = clean.frames[1][y0, x0][both]
            assert (here != stayed).any(axis=1).mean() > 0.7, f"cow {k} has no texture"
    assert {0, 1, 2, 3} == set(np.abs(clean.velocity).max(axis=1).tolist())


def test_masks_move_with_the_cows_too(clean):
    for k, (dx, dy) in enumerate(clean.velocity.tolist()):
        if k:
            y0, x0 = np.nonzero(clean.labels[0] == k)
            there = clean.labels[1][(y0 + dy).clip(0, 329), (x0 + dx).clip(0, 599)]
            assert (there == k).mean() > 0.9


def test_cows_are_still_there_in_the_twelfth_frame():
    last = render_sequence(frames=12, seed=1, **SMALL).labels[11]
    for k in (1, 2):
        assert (last == k).sum() > 1500


def test_noise_has_the_deviation_asked_for():
    options = {"frames": 2, "seed": 0, "light": 0, **SMALL}
    quiet = render_sequence(noise=0, **options).frames.astype(float)
    noisy = render_sequence(noise=3, **options).frames.astype(float)
    inner = (quiet > 30) & (quiet < 225)  # where nothing is clipped
    grain = noisy - quiet
    assert grain[inner].std() == pytest.approx(3, abs=0.1)
    in_both = inner[0] & inner[1]
    assert abs(np.corrcoef(grain[0][in_both], grain[1][in_both])[0, 1]) < 0.02


def test_light_rises_and_falls_by_the_part_asked_for():
    options = {"frames": 12, "seed": 0, "noise": 0, **SMALL}
    constant = render_sequence(light=0, **options).frames.astype(float)
    varied = render_sequence(light=0.1, **options).frames.astype(float)
    inner = (constant > 60) & (constant < 220)
    gains = [(varied[t][inner[t]] / constant[t][inner[t]]).mean() for t in range(12)]
    assert max(gains) == pytest.approx(1.1, abs=0.006)
    assert min(gains) == pytest.approx(0.9, abs=0.006)
    assert np.abs(np.diff(gains)).max() < 0.06


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, "frames must be at least 2 .* got 1"),
        ({"height": 100}, "at least 192 pixels high and 256 wide .* got 100x768; enlarge"),
        ({"width": 200}, "got 576x200"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"noise": -2}, "noise must be between 0 and 255 grey levels, got -2"),
        ({"noise": float("nan")}, "noise must be between 0 and 255"),
        ({"light": 1}, "light must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_rendered_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        render_sequence(**options)
