"""Things followed through generated videos: pauses, shadows, light, cuts, cameras."""

import cv2
import numpy as np
import pytest
from sliding_square import sliding

from patchmatch.objects.follower import Follower
from patchmatch.objects.tracking_metrics import score_tracks
from patchmatch.synthetic.videos import make_video


def no_blocks(frame0, frame1, block):
    raise AssertionError("the motion of blocks is needed for moving cameras only")


def follow(images, measure=no_blocks, **options):
    follower = Follower(measure, **options)
    return [follower(image) for image in images]


def moved_things(results):
    moved = frozenset().union(*(result.moved for result in results))
    return [[thing for thing in result.things if thing.track in moved] for result in results]


def test_a_moving_square_is_one_track_with_its_box_and_displacement():
    images, boxes = sliding()
    results = moved_things(follow(images, camera=False))
    assert {thing.track for things in results for thing in things} == {results[-1][0].track}
    for things, box in zip(results[8:], boxes[8:], strict=True):
        (thing,) = things
        np.testing.assert_allclose(thing.box, box, atol=2.5)
        np.testing.assert_allclose(thing.displacement, (3, 0), atol=0.6)
        assert thing.area == pytest.approx(400, rel=0.3)


def test_a_thing_that_pauses_stays_a_thing():
    images, boxes = sliding(frames=120, start=10, pause=range(25, 100))
    results = moved_things(follow(images, camera=False))
    for things, box in zip(results[30:], boxes[30:], strict=True):
        assert len(things) == 1
        np.testing.assert_allclose(things[0].box, box, atol=3)
    assert len({things[0].track for things in results[30:]}) == 1


def test_the_place_that_a_thing_left_heals():
    images, _ = sliding(frames=48, start=40, pause=range(15))  # stands still at first
    results = follow(images, camera=False)
    assert not (results[-1].labels[36:64, 36:66] > 0).any()
    assert len(moved_things(results)[-1]) == 1


def test_convention_an_object_keeps_its_track_while_it_is_hidden():
    images, _ = sliding(frames=45, start=10)
    for image in images:
        image[:, 70:80] = 30
    results = moved_things(follow(images, camera=False))
    assert len({thing.track for things in results for thing in things}) == 1
    assert all(results[3:])


def test_an_empty_static_video_has_no_things():
    images, _ = sliding(frames=30, start=-40, speed=0)
    assert not any(moved_things(follow(images, camera=False)))


def test_identical_frames_have_no_things():
    images, _ = sliding(frames=1)
    results = follow(images * 20, camera=False)
    assert not any(result.things for result in results)


def test_a_slow_change_of_the_light_is_not_a_thing():
    images, _ = sliding(frames=60, start=-40, speed=0)
    images = [
        (image * (1 + 0.25 * np.sin(i / 15))).clip(0, 255).astype(np.uint8)
        for i, image in enumerate(images)
    ]
    assert not any(moved_things(follow(images, camera=False)))


def test_flicker_is_not_a_thing():
    images, _ = sliding(frames=40, start=-40, speed=0)
    images = [(image * (1 if i % 2 else 0.8)).astype(np.uint8) for i, image in enumerate(images)]
    assert not any(moved_things(follow(images, camera=False)))


def test_a_flash_is_passed_over_and_the_track_goes_on():
    images, _ = sliding()
    images[20] = np.full_like(images[20], 255)
    results = moved_things(follow(images, camera=False))
    assert not results[20]
    assert {t.track for t in results[19]} == {t.track for t in results[23]} != set()


def test_after_a_cut_the_scene_is_learned_anew():
    images, _ = sliding(frames=30)
    rng = np.random.default_rng(7)
    other = cv2.resize(rng.uniform(0, 255, (12, 20)).astype(np.float32), (160, 96))
    cut = [(other + rng.normal(0, 1, other.shape)).clip(0, 255).astype(np.uint8) for _ in range(30)]
    results = follow(images + cut, camera=False)
    assert moved_things(results)[29]
    assert not any(result.things for result in results[30:])


def test_tracks_end_at_a_cut_and_the_things_after_it_are_others():
    first, second = (make_video(seed, frames=40, things=2) for seed in (3, 4))
    images = [*first.frames, *second.frames]
    tracks = [{t.track for t in things} for things in moved_things(follow(images, camera=False))]
    before, after = set().union(*tracks[:40]), set().union(*tracks[40:])
    assert before
    assert after
    assert not before & after
    assert not any(tracks[40:43])


@pytest.mark.parametrize("flicker", [0.1, 0.3])
def test_light_that_jumps_in_every_frame_is_not_a_thing(flicker):
    video = make_video(6, frames=40, things=0, flicker=flicker)
    follower = Follower(no_blocks, camera=None)  # nor a motion of the camera
    assert not any(follower(image).moved for image in video.frames)


def test_frames_of_another_size_begin_anew_with_new_numbers():
    small, _ = sliding(frames=20)
    large, _ = sliding(frames=20, height=120, width=200)
    results = moved_things(follow(small + large, camera=False))
    first = {thing.track for things in results[:20] for thing in things}
    second = {thing.track for things in results[20:] for thing in things}
    assert first
    assert second
    assert not first & second


def test_large_frames_are_reduced_and_boxes_are_in_pixels_of_the_frame():
    images, boxes = sliding()
    large = [cv2.resize(image, None, fx=4, fy=4) for image in images]
    results = moved_things(follow(large, camera=False, max_size=160))
    np.testing.assert_allclose(results[30][0].box, 4 * np.array(boxes[30]), atol=12)
    np.testing.assert_allclose(results[30][0].displacement, (12, 0), atol=2.5)


def shifted_scene(frames=30, pan=4):
    rng = np.random.default_rng(1)
    wide = cv2.resize(rng.uniform(40, 210, (24, 90)).astype(np.float32), (720, 192))
    images, boxes = [], []
    for time in range(frames):
        image = wide[:, 20 + pan * time : 276 + pan * time].copy()
        x = 60 + 3 * time
        image[80:120, x : x + 30] = 245
        images.append(image.clip(0, 255).astype(np.uint8))
        boxes.append((x, 80, x + 30, 120))
    return images, boxes


def measured_pan(frame0, frame1, block):
    """Match blocks by brute force in x, as the motion matcher does."""
    rows, columns = frame0.shape[0] // block, frame0.shape[1] // block
    found = np.zeros((rows, columns, 2), np.float32)
    for row in range(rows):
        for column in range(columns):
            y, x = row * block, column * block
            patch = frame0[y : y + block, x : x + block]
            left = max(0, x - 10)
            cost = cv2.matchTemplate(frame1[y : y + block, left : x + block + 10], patch, 0)
            found[row, column, 0] = left + int(cost.argmin()) - x
    return found


@pytest.mark.parametrize("camera", [True, None])
def test_the_motion_of_the_camera_is_undone(camera):
    images, boxes = shifted_scene()
    follower = Follower(measured_pan, camera=camera)
    results = [follower(image) for image in images]
    assert follower.camera_moves
    np.testing.assert_allclose(results[10].camera[:2, 2], (-4, 0), atol=0.3)
    for things, box in list(zip(moved_things(results), boxes, strict=True))[15:]:
        largest = max(things, key=lambda thing: thing.area)
        np.testing.assert_allclose(largest.box, box, atol=4)
        np.testing.assert_allclose(largest.displacement, (7, 0), atol=1)  # against the scene


def test_a_camera_on_a_tripod_is_recognized():
    images, _ = sliding()
    follower = Follower(measured_pan, camera=None)
    for image in images:
        follower(image)
    assert not follower.camera_moves


def test_a_large_person_who_enters_in_parts_and_stops_is_one_thing():
    person = {"things": 1, "size": (0.5, 0.75), "people": True, "rest": 150}
    video = make_video(2, frames=200, **person)
    results = follow(list(video.frames[:80]), camera=False)
    things = moved_things(results)
    assert len({thing.track for shown in things[10:] for thing in shown}) == 1
    true = [video.labels[time] > 0 for time in range(40, 80)]
    found = [result.labels > 0 for result in results[40:80]]
    both = np.logical_and(found, true).sum()
    assert both > 0.9 * np.logical_or(found, true).sum()


def as_tracks(frames):
    return {
        time: (list(boxes), np.array(list(boxes.values()), float))
        for time, boxes in enumerate(frames)
        if boxes
    }


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 0.42), ({"light": 0.15}, 0.42), ({"waves": True}, 0.4), ({"shadows": 0.5}, 0.4)],
    ids=["plain", "light", "waves", "shadows"],
)
def test_things_of_generated_videos_are_found(options, least):
    matched = total = switches = tracks = 0
    for seed in (10, 11):
        video = make_video(seed, frames=60, **options)
        results = moved_things(follow(list(video.frames), camera=False))
        predicted = as_tracks([{t.track: t.box for t in things} for things in results])
        scores = score_tracks(predicted, as_tracks(video.boxes), range(1, 60), 0.3)
        matched, total = matched + 2 * scores.matched, total + scores.true + scores.predicted
        switches, tracks = switches + scores.switches, tracks + scores.true_tracks
    assert matched / total > least
    assert switches <= tracks
