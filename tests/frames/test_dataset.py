import pickle
import re

import numpy as np
import pytest
import torch
from made_frames import Source, gap_pairs, pair_names, video_of, write_frames

from patchmatch.frames.data import open_clips
from patchmatch.frames.dataset import Clips, LiveClips, make_clip
from patchmatch.io import find_sequences


def clips(folder, pairs=4):
    dataset = Clips(find_sequences(folder).sequences, pairs)
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.parametrize("count", [2, 5, 8, 9, 12])
def test_every_consecutive_pair_is_there_once_and_in_natural_order(tmp_path, count):
    write_frames(tmp_path, count)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(count - 1)]
    assert pair_names(clips(tmp_path)) == expected


def test_frames_are_gray_floats_and_pictures_are_untouched(tmp_path):
    write_frames(tmp_path, 3)
    (clip,) = clips(tmp_path)
    assert [frame.shape for frame in clip["frames"]] == [(1, 30, 40)] * 3
    assert clip["frames"][2].dtype == torch.float32
    assert clip["frames"][2].max() == pytest.approx(2 / 255)
    assert clip["images"][2].shape == (30, 40, 3)
    assert clip["images"][2].dtype == np.uint8


@pytest.mark.parametrize("broken", [0, 3, 4, 5, 9])
def test_a_broken_frame_costs_its_own_pairs_only_and_is_told_once(tmp_path, broken):
    write_frames(tmp_path, 10)
    path = tmp_path / f"frame_{broken}.png"
    path.write_bytes(path.read_bytes()[:50])
    found = clips(tmp_path)
    expected = [(f"frame_{i}", f"frame_{i + 1}") for i in range(9) if broken not in (i, i + 1)]
    assert pair_names(found) == expected
    notes = [note for clip in found for note in clip["notes"]]
    assert len(notes) == 1
    assert f"frame_{broken}.png" in notes[0]


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("gaps", [(1,), (2, 3)])
@pytest.mark.parametrize("odd", [[0], [4], [4, 5, 6], [5, 6, 7, 8]])
def test_a_change_of_size_costs_the_pairs_across_it_whatever_the_clips(tmp_path, odd, gaps, frames):
    write_frames(tmp_path, 9)
    for i in odd:
        write_frames(tmp_path, 1, size=(20, 25), first=i)
    found = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    expected = [
        (f"frame_{i - gap}", f"frame_{i}")
        for i in range(9)
        for gap in gaps
        if i >= gap and (i in odd) == (i - gap in odd)
    ]
    assert pair_names(found) == expected
    assert [clip["index"] for clip in found] == list(range(len(found)))
    for clip in found:
        for frame, picture in zip(clip["frames"], clip["images"], strict=True):
            assert frame.shape[1:] == picture.shape[:2]
    notes = [note for clip in found for note in clip["notes"]]
    changes = [(i, "25x20" if i in odd else "40x30") for i in range(1, 9)]
    assert [re.findall(r"frame (frame_.) on the size is (\w+);", note) for note in notes] == [
        [(f"frame_{i}", size)] for i, size in changes if (i in odd) != (i - 1 in odd)
    ]


def test_a_clip_without_a_readable_frame_is_empty_and_says_why(tmp_path):
    write_frames(tmp_path, 6)
    for i in range(5):
        (tmp_path / f"frame_{i}.png").write_text("no picture")
    first, second = clips(tmp_path)
    assert first["pairs"] == []
    assert len(first["notes"]) == 5
    assert second["pairs"] == []


def test_sequences_never_mix(tmp_path):
    write_frames(tmp_path / "a", 3)
    write_frames(tmp_path / "b", 2, size=(50, 60))
    found = clips(tmp_path)
    assert [(c["source"], len(c["pairs"])) for c in found] == [("a", 2), ("b", 1)]
    assert all(c["several"] for c in found)


@pytest.mark.parametrize("gaps", [(1,), (1, 2, 4), (4,), (2, 3), (7, 12)])
@pytest.mark.parametrize("count", [5, 13, 21])
@pytest.mark.parametrize("frames", [1, 3, 8])
def test_every_pair_of_every_gap_is_there_once_and_by_its_later_frame(
    tmp_path, gaps, count, frames
):
    write_frames(tmp_path, count)
    found = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    assert pair_names(found) == gap_pairs(count, gaps)
    assert [clip["index"] for clip in found] == list(range(len(found)))
    for clip in found:
        for picture, name in zip(clip["images"], clip["names"], strict=True):
            assert name == f"frame_{picture[0, 0, 0]}"


@pytest.mark.parametrize("broken", [0, 1, 5, 8])
@pytest.mark.parametrize("gaps", [(1, 2, 4), (7,)])
def test_a_broken_frame_is_told_once_whatever_the_gaps(tmp_path, broken, gaps):
    write_frames(tmp_path, 16)
    (tmp_path / f"frame_{broken}.png").write_text("no picture")
    found = list(Clips(find_sequences(tmp_path).sequences, 3, gaps))
    name = f"frame_{broken}"
    assert pair_names(found) == [pair for pair in gap_pairs(16, gaps) if name not in pair]
    notes = [note for clip in found for note in clip["notes"]]
    assert len(notes) == 1
    assert f"{name}.png" in notes[0]


def test_in_order_each_frame_is_read_once_and_pictures_are_the_clip_s_own(tmp_path, monkeypatch):
    write_frames(tmp_path, 20)
    (sequence,) = find_sequences(tmp_path).sequences
    read, read_one = [], sequence.read
    monkeypatch.setattr(sequence, "read", lambda n: (read.append(n), read_one(n))[1])
    for clip in Clips([sequence], 3, (1, 4)):
        for picture, name in zip(clip["images"], clip["names"], strict=True):
            assert name == f"frame_{picture[0, 0, 0]}"
            picture[:] = 99
    assert read == list(range(20))


def test_a_clip_is_the_same_in_any_order_and_in_another_process(tmp_path):
    write_frames(tmp_path / "a", 9)
    write_frames(tmp_path / "b", 7)
    data = Clips(find_sequences(tmp_path).sequences, 2, (1, 3))
    expected = [(c["source"], pair_names([c])) for c in data]
    copy = pickle.loads(pickle.dumps(data))
    for index in (6, 0, 3, 2, 1, 5):
        clip = copy[index]
        assert (clip["source"], pair_names([clip])) == expected[index]
        assert clip["index"] == index


def test_a_cut_off_video_says_so_in_one_clip(tmp_path):
    path = video_of(tmp_path / "a.mp4", 60)
    path.write_bytes(path.read_bytes()[:-120])
    found = list(open_clips(str(path), 4)[0])
    notes = [note for clip in found for note in clip["notes"]]
    assert len(notes) == 1
    assert "the video is truncated or damaged" in notes[0]
    assert found[0]["notes"] == notes


@pytest.mark.parametrize("gaps", [(1,), (1, 2, 4), (3,), (7, 9)])
@pytest.mark.parametrize("frames", [1, 4, 50])
def test_live_frames_make_the_pairs_that_the_same_frames_in_a_folder_make(tmp_path, gaps, frames):
    write_frames(tmp_path, 17)
    folder = list(Clips(find_sequences(tmp_path).sequences, frames, gaps))
    live = list(LiveClips(Source([(30, 40)] * 17), frames, gaps))
    expected = [(int(a[6:]), int(b[6:])) for a, b in pair_names(folder)]
    assert [(int(a), int(b)) for a, b in pair_names(live)] == expected
    assert [clip["index"] for clip in live] == list(range(len(live)))
    for clip in live:
        assert [p[0, 0, 0] / 10 for p in clip["images"]] == pytest.approx(clip["times"])
        assert [f"{p[0, 0, 0]:06d}" for p in clip["images"]] == clip["names"]


def test_live_times_go_when_their_frames_go(monkeypatch):
    kept = []

    def watched(**given):
        kept.append((len(given["pictures"]), len(given["time_of"].__self__)))
        return make_clip(**given)

    monkeypatch.setattr("patchmatch.frames.dataset.make_clip", watched)
    list(LiveClips(Source([(30, 40)] * 40), 4))
    assert max(max(counts) for counts in kept) <= 5
    assert all(pictures == times for pictures, times in kept)


def test_a_live_source_that_breaks_off_gives_what_came_and_says_so():
    found = list(LiveClips(Source([(30, 40)] * 5, "camera 0: unplugged"), 4))
    assert len(pair_names(found)) == 4
    assert [note for clip in found for note in clip["notes"]] == ["camera 0: unplugged"]


def test_no_live_pair_reaches_over_a_change_of_size():
    found = list(LiveClips(Source([(30, 40)] * 3 + [(20, 40)] * 3), 4, (1, 2)))
    names = [(int(a), int(b)) for a, b in pair_names(found)]
    assert names == [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
    (note,) = [note for clip in found for note in clip["notes"]]
    assert (
        note == "camera_0: from frame 000003 on the size is 40x20; no pair reaches over the change"
    )
