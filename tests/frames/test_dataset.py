import pickle
import re

import numpy as np
import pytest
import torch
from synthetic_frames import SyntheticStream, gap_pairs, pair_names, write_frame_video, write_frames

from patchmatch.frames.data import open_clips
from patchmatch.frames.dataset import Clips, LiveClips, make_clip
from patchmatch.io import find_sequences


def read_clips(folder, pairs=4):
    dataset = Clips(find_sequences(folder).sequences, pairs)
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.parametrize("count", [2, 5, 8, 9, 12])
def test_every_consecutive_pair_occurs_once_in_natural_order(tmp_path, count):
    write_frames(tmp_path, count)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(count - 1)]
    assert pair_names(read_clips(tmp_path)) == expected


def test_frames_are_gray_floats_and_images_are_unchanged(tmp_path):
    write_frames(tmp_path, 3)
    (clip,) = read_clips(tmp_path)
    assert [frame.shape for frame in clip["frames"]] == [(1, 30, 40)] * 3
    assert clip["frames"][2].dtype == torch.float32
    assert clip["frames"][2].max() == pytest.approx(2 / 255)
    assert clip["images"][2].shape == (30, 40, 3)
    assert clip["images"][2].dtype == np.uint8


@pytest.mark.parametrize("broken", [0, 3, 4, 5, 9])
def test_unreadable_frame_removes_only_its_pairs_and_is_reported_once(tmp_path, broken):
    write_frames(tmp_path, 10)
    path = tmp_path / f"frame_{broken}.png"
    path.write_bytes(path.read_bytes()[:50])
    clips = read_clips(tmp_path)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(9) if broken not in (i, i + 1)]
    assert pair_names(clips) == expected
    notes = [note for clip in clips for note in clip["notes"]]
    assert len(notes) == 1
    assert f"frame_{broken}.png" in notes[0]


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("gaps", [(1,), (2, 3)])
@pytest.mark.parametrize("odd", [[0], [4], [4, 5, 6], [5, 6, 7, 8]])
def test_size_change_removes_only_the_pairs_across_it(tmp_path, odd, gaps, frames):
    write_frames(tmp_path, 9)
    for i in odd:
        write_frames(tmp_path, 1, size=(20, 25), first=i)
    clips = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    expected = [
        (f"frame_{i - gap}", f"frame_{i}")
        for i in range(9)
        for gap in gaps
        if i >= gap and (i in odd) == (i - gap in odd)
    ]
    assert pair_names(clips) == expected
    assert [clip["index"] for clip in clips] == list(range(len(clips)))
    for clip in clips:
        for frame, image in zip(clip["frames"], clip["images"], strict=True):
            assert frame.shape[1:] == image.shape[:2]
    notes = [note for clip in clips for note in clip["notes"]]
    changes = [(i, "25x20" if i in odd else "40x30") for i in range(1, 9)]
    assert [re.findall(r"changes to (\w+) at frame (frame_.);", note) for note in notes] == [
        [(size, f"frame_{i}")] for i, size in changes if (i in odd) != (i - 1 in odd)
    ]


def test_clip_without_readable_frames_is_empty_and_has_notes(tmp_path):
    write_frames(tmp_path, 6)
    for i in range(5):
        (tmp_path / f"frame_{i}.png").write_text("not an image")
    first, second = read_clips(tmp_path)
    assert first["pairs"] == []
    assert len(first["notes"]) == 5
    assert second["pairs"] == []


def test_clips_contain_one_sequence(tmp_path):
    write_frames(tmp_path / "a", 3)
    write_frames(tmp_path / "b", 2, size=(50, 60))
    clips = read_clips(tmp_path)
    assert [(c["source"], len(c["pairs"])) for c in clips] == [("a", 2), ("b", 1)]
    assert all(c["several"] for c in clips)


@pytest.mark.parametrize("gaps", [(1,), (1, 2, 4), (4,), (2, 3), (7, 12)])
@pytest.mark.parametrize("count", [5, 13, 21])
@pytest.mark.parametrize("frames", [1, 3, 8])
def test_every_pair_of_every_gap_occurs_once_ordered_by_its_later_frame(
    tmp_path, gaps, count, frames
):
    write_frames(tmp_path, count)
    clips = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    assert pair_names(clips) == gap_pairs(count, gaps)
    assert [clip["index"] for clip in clips] == list(range(len(clips)))
    for clip in clips:
        for image, name in zip(clip["images"], clip["names"], strict=True):
            assert name == f"frame_{image[0, 0, 0]}"


@pytest.mark.parametrize("broken", [0, 1, 5, 8])
@pytest.mark.parametrize("gaps", [(1, 2, 4), (7,)])
def test_unreadable_frame_is_reported_once_for_all_gaps(tmp_path, broken, gaps):
    write_frames(tmp_path, 16)
    (tmp_path / f"frame_{broken}.png").write_text("not an image")
    clips = list(Clips(find_sequences(tmp_path).sequences, 3, gaps))
    name = f"frame_{broken}"
    assert pair_names(clips) == [pair for pair in gap_pairs(16, gaps) if name not in pair]
    notes = [note for clip in clips for note in clip["notes"]]
    assert len(notes) == 1
    assert f"{name}.png" in notes[0]


def test_sequential_reading_decodes_each_frame_once_and_returns_copies(tmp_path, monkeypatch):
    write_frames(tmp_path, 20)
    (sequence,) = find_sequences(tmp_path).sequences
    numbers, read = [], sequence.read
    monkeypatch.setattr(sequence, "read", lambda n: (numbers.append(n), read(n))[1])
    for clip in Clips([sequence], 3, (1, 4)):
        for image, name in zip(clip["images"], clip["names"], strict=True):
            assert name == f"frame_{image[0, 0, 0]}"
            image[:] = 99
    assert numbers == list(range(20))


def test_random_access_and_pickling_give_the_same_clips(tmp_path):
    write_frames(tmp_path / "a", 9)
    write_frames(tmp_path / "b", 7)
    data = Clips(find_sequences(tmp_path).sequences, 2, (1, 3))
    expected = [(c["source"], pair_names([c])) for c in data]
    copy = pickle.loads(pickle.dumps(data))
    for index in (6, 0, 3, 2, 1, 5):
        clip = copy[index]
        assert (clip["source"], pair_names([clip])) == expected[index]
        assert clip["index"] == index


def test_truncated_video_is_reported_in_one_clip(tmp_path):
    path = write_frame_video(tmp_path / "a.mp4", 60)
    path.write_bytes(path.read_bytes()[:-120])
    clips = list(open_clips(str(path), 4)[0])
    notes = [note for clip in clips for note in clip["notes"]]
    assert len(notes) == 1
    assert "the video is truncated or damaged" in notes[0]
    assert clips[0]["notes"] == notes


@pytest.mark.parametrize("gaps", [(1,), (1, 2, 4), (3,), (7, 9)])
@pytest.mark.parametrize("frames", [1, 4, 50])
def test_live_pairs_equal_the_pairs_of_the_same_frames_in_a_folder(tmp_path, gaps, frames):
    write_frames(tmp_path, 17)
    folder = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    live = list(LiveClips(SyntheticStream([(30, 40)] * 17), frames, gaps))
    expected = [(int(a[6:]), int(b[6:])) for a, b in pair_names(folder)]
    assert [(int(a), int(b)) for a, b in pair_names(live)] == expected
    assert [clip["index"] for clip in live] == list(range(len(live)))
    for clip in live:
        assert [p[0, 0, 0] / 10 for p in clip["images"]] == pytest.approx(clip["times"])
        assert [f"{p[0, 0, 0]:06d}" for p in clip["images"]] == clip["names"]


def test_live_times_are_dropped_with_their_frames(monkeypatch):
    kept = []

    def counting(**arguments):
        kept.append((len(arguments["images"]), len(arguments["time_of"].__self__)))
        return make_clip(**arguments)

    monkeypatch.setattr("patchmatch.frames.dataset.make_clip", counting)
    list(LiveClips(SyntheticStream([(30, 40)] * 40), 4))
    assert max(max(counts) for counts in kept) <= 5
    assert all(images == times for images, times in kept)


def test_interrupted_live_source_yields_its_frames_and_reports_the_error():
    clips = list(LiveClips(SyntheticStream([(30, 40)] * 5, "camera 0: unplugged"), 4))
    assert len(pair_names(clips)) == 4
    assert [note for clip in clips for note in clip["notes"]] == ["camera 0: unplugged"]


def test_no_live_pair_spans_a_size_change():
    clips = list(LiveClips(SyntheticStream([(30, 40)] * 3 + [(20, 40)] * 3), 4, (1, 2)))
    names = [(int(a), int(b)) for a, b in pair_names(clips)]
    assert names == [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
    (note,) = [note for clip in clips for note in clip["notes"]]
    assert note == (
        "camera_0: the frame size changes to 40x20 at frame 000003; pairs across the change are "
        "skipped"
    )
