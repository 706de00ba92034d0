import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.frames.cows.herd import arrange_herd
from patchmatch.frames.cows.sequence import IGNORE_LABEL, render_sequence

SMALL = {"height": 200, "width": 300}


@pytest.fixture(scope="module")
def clean():
    """A sequence without noise, with constant brightness and four different speeds."""
    return render_sequence(frames=4, height=330, width=600, seed=5, noise=0, light=0)


def test_same_seed_gives_same_frames():
    first = render_sequence(frames=2, seed=3, **SMALL)
    second = render_sequence(frames=2, seed=3, **SMALL)
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.labels, second.labels)


def test_another_seed_gives_other_cows_and_another_background():
    first = render_sequence(frames=2, seed=3, noise=0, **SMALL)
    second = render_sequence(frames=2, seed=4, noise=0, **SMALL)
    assert not np.array_equal(first.labels, second.labels)
    ground = (first.labels[0] == 0) & (second.labels[0] == 0)
    assert (first.frames[0] != second.frames[0])[ground].mean() > 0.5


def test_frames_labels_and_velocity_have_the_documented_shapes(clean):
    assert clean.frames.shape == (4, 330, 600, 3)
    assert clean.frames.dtype == np.uint8
    assert clean.labels.shape == (4, 330, 600)
    assert clean.labels.dtype == np.uint8
    assert clean.velocity.tolist()[0] == [0, 0]
    present = set(np.unique(clean.labels).tolist()) - {IGNORE_LABEL}
    assert present == set(range(len(clean.velocity)))


def test_default_size_has_cows_of_every_speed_inside_the_frame():
    herd = arrange_herd(12, 576, 768, seed=0, pond=np.zeros((576, 768), bool))
    velocities = [tuple(path.velocity.tolist()) for path in herd]
    assert {max(abs(dx), abs(dy)) for dx, dy in velocities} == {0, 1, 2, 3, 5}
    assert (1, 1) in velocities
    extents = np.array([path.extent for path in herd])
    assert (extents[:, :2] >= 0).all()
    assert (extents[:, 2:] <= (768, 576)).all()


def test_number_of_cows_is_proportional_to_the_area():
    counts = [
        len(arrange_herd(2, height, width, seed=0, pond=np.zeros((height, width), bool)))
        for height, width in ((192, 256), (384, 512), (576, 768))
    ]
    assert counts == [2, 4, 9]


def test_background_is_static(clean):
    for t in range(3):
        ground = (clean.labels[t] == 0) & (clean.labels[t + 1] == 0)
        assert ground.mean() > 0.5
        assert np.array_equal(clean.frames[t][ground], clean.frames[t + 1][ground])


def test_cow_pixels_move_exactly_by_the_velocity(clean):
    for k, (dx, dy) in enumerate(clean.velocity.tolist()):
        if k == 0:
            continue
        y0, x0 = np.nonzero(clean.labels[0] == k)
        y1, x1 = y0 + dy, x0 + dx
        seen = (x1 >= 0) & (x1 < 600) & (y1 >= 0) & (y1 < 330)
        y0, x0, y1, x1 = y0[seen], x0[seen], y1[seen], x1[seen]
        both = clean.labels[1][y1, x1] == k
        assert both.sum() > 3000, f"cow {k} is hardly visible"
        before, after = clean.frames[0][y0, x0][both], clean.frames[1][y1, x1][both]
        assert np.array_equal(before, after), f"cow {k}"
        if dx or dy:
            unmoved = clean.frames[1][y0, x0][both]
            assert (before != unmoved).any(axis=1).mean() > 0.7, f"cow {k} has no texture"
    assert {0, 1, 2, 3} == set(np.abs(clean.velocity).max(axis=1).tolist())


def test_labels_move_with_the_cows(clean):
    for k, (dx, dy) in enumerate(clean.velocity.tolist()):
        if k:
            y0, x0 = np.nonzero(clean.labels[0] == k)
            moved = clean.labels[1][(y0 + dy).clip(0, 329), (x0 + dx).clip(0, 599)]
            assert (moved == k).mean() > 0.9


def test_cows_are_visible_in_the_twelfth_frame():
    last = render_sequence(frames=12, seed=1, **SMALL).labels[11]
    for k in (1, 2):
        assert (last == k).sum() > 1500


def test_noise_has_the_given_standard_deviation():
    options = {"frames": 2, "seed": 0, "light": 0, **SMALL}
    clean = render_sequence(noise=0, **options).frames.astype(float)
    noisy = render_sequence(noise=3, **options).frames.astype(float)
    inner = (clean > 30) & (clean < 225)  # without clipped values
    grain = noisy - clean
    assert grain[inner].std() == pytest.approx(3, abs=0.1)
    in_both = inner[0] & inner[1]
    assert abs(np.corrcoef(grain[0][in_both], grain[1][in_both])[0, 1]) < 0.02


def test_brightness_varies_by_the_given_amplitude():
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
        ({"height": 100}, "at least 192 pixels high and 256 wide .* got 100x768; increase"),
        ({"width": 200}, "got 576x200"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"noise": -2}, "noise must be between 0 and 255 gray levels, got -2"),
        ({"noise": float("nan")}, "noise must be between 0 and 255"),
        ({"light": 1}, r"light must be in \[0, 1\)"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(InputError, match=message):
        render_sequence(**options)
