import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchmatch.core.errors import InputError
from patchmatch.io import FolderSequence, FoundSequences, VideoSequence, find_sequences, write_image


def make_frames(folder: Path, count: int = 2) -> Path:
    for index in range(count):
        write_image(folder / f"{index}.png", np.full((5, 7), index, np.uint8))
    return folder


def make_video(path: Path, count: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 16))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((16, 32, 3), 50 * index, np.uint8))
    writer.release()
    return path


def names(found: FoundSequences) -> list[str]:
    return [sequence.name for sequence in found.sequences]


def test_folder_of_frames_is_one_sequence(tmp_path):
    found = find_sequences(str(make_frames(tmp_path / "küche 1", 3)))
    assert names(found) == ["küche 1"]
    assert len(found.sequences[0]) == 3
    assert found.notes == ()


def test_working_directory_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(make_frames(tmp_path / "here"))
    assert names(find_sequences(".")) == ["here"]


def test_video_is_one_sequence(tmp_path):
    found = find_sequences(make_video(tmp_path / "clip a.AVI"))
    assert names(found) == ["clip a"]
    assert isinstance(found.sequences[0], VideoSequence)


def test_frames_subfolders_and_videos_are_found_in_natural_order(tmp_path):
    source = make_frames(tmp_path / "run")
    for name in ("cam10", "cam2", ".hidden"):
        make_frames(source / name)
    make_video(source / "b.avi")
    make_video(source / "a.avi")
    make_frames(source / "cam2" / "deeper")
    found = find_sequences(source)
    assert names(found) == ["run", "cam2", "cam2_deeper", "cam10", "a", "b"]
    assert [type(sequence) for sequence in found.sequences] == [FolderSequence] * 4 + [
        VideoSequence
    ] * 2
    assert found.notes == ()


def test_names_are_unique_ignoring_case(tmp_path):
    source = make_frames(tmp_path / "clip")
    make_frames(source / "clip")
    make_video(source / "Clip.avi")
    make_video(source / "clip_2.avi")
    assert names(find_sequences(source)) == ["clip", "clip_2", "Clip_3", "clip_2_2"]


def test_names_are_valid_file_names(tmp_path):
    folder = tmp_path / 'a:b "c"?'
    try:
        make_frames(folder)
    except (InputError, OSError):
        pytest.skip("this system does not allow such names")
    assert names(find_sequences(folder)) == ["a_b _c__"]


def test_ignored_files_are_noted(tmp_path):
    source = make_frames(tmp_path / "run")
    make_video(source / "a.avi")
    for name in ("n1.txt", "n2.txt", "n10.txt", "n11.txt", "Thumbs.db"):
        (source / name).write_text("x")
    make_video(source / "sub" / "b.avi")
    found = find_sequences(source)
    assert names(found) == ["run", "a", "sub_b"]
    assert found.notes == (f"{source}: ignored n1.txt, n2.txt, n10.txt and 1 more",)
    assert found.skipped == ()


def test_sequence_of_one_frame_among_longer_ones_is_skipped_and_noted(tmp_path):
    make_frames(tmp_path / "good")
    make_frames(tmp_path / "short", 1)
    make_video(tmp_path / "one.avi", 1)
    found = find_sequences(tmp_path)
    assert names(found) == ["good"]
    reason = "expected at least two frames, got one; add frames, or give the folder with all frames"
    assert found.skipped == (
        f"folder skipped: {tmp_path / 'short'}: {reason}",
        f"video skipped: {tmp_path / 'one.avi'}: {reason}",
    )


def test_sequences_of_one_frame_only_raise(tmp_path):
    make_frames(tmp_path / "a", 1)
    with pytest.raises(InputError, match="a: expected at least two frames, got one; add frames"):
        find_sequences(tmp_path / "a")
    make_frames(tmp_path / "b", 1)
    with pytest.raises(InputError, match=r"a: expected at least two frames, .* \(and 1 more\)"):
        find_sequences(tmp_path)
    with pytest.raises(InputError, match=r"one\.avi: expected at least two frames, got one"):
        find_sequences(make_video(tmp_path / "one.avi", 1))


def test_single_image_raises_and_its_folder_is_named(tmp_path):
    folder = make_frames(tmp_path / "frames")
    with pytest.raises(InputError, match=r"0\.png: expected at least two.*for example \S*frames$"):
        find_sequences(folder / "0.png")


def test_missing_source_raises(tmp_path):
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        find_sequences(tmp_path / "absent")


def test_other_file_type_raises(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"a\.txt: expected a folder or a video; .*\.mp4"):
        find_sequences(tmp_path / "a.txt")


def test_folder_without_frames_raises_and_its_content_is_listed(tmp_path):
    message = r"no frames .*expected .*\.png .*\.mp4 .*, got an empty folder$"
    with pytest.raises(InputError, match=message):
        find_sequences(tmp_path)
    for name in ("n1.txt", "n2.txt", "n10.txt", "n11.txt"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"got n1\.txt, n2\.txt, n10\.txt and 1 more$"):
        find_sequences(tmp_path)


def forbid_listing(monkeypatch, name: str) -> None:
    iterdir = Path.iterdir

    def fail(self):
        if self.name == name:
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", fail)


def test_source_without_read_permission_raises(tmp_path, monkeypatch):
    make_frames(tmp_path / "source")
    forbid_listing(monkeypatch, "source")
    with pytest.raises(InputError, match="source: the folder cannot be listed"):
        find_sequences(tmp_path / "source")


def test_subfolder_without_read_permission_is_skipped_and_noted(tmp_path, monkeypatch):
    make_frames(tmp_path / "day")
    make_frames(tmp_path / "lost+found")
    forbid_listing(monkeypatch, "lost+found")
    found = find_sequences(tmp_path)
    assert names(found) == ["day"]
    (note,) = found.skipped
    assert note.startswith(f"folder skipped: {tmp_path / 'lost+found'}: the folder cannot be")
    forbid_listing(monkeypatch, "day")
    with pytest.raises(InputError, match=r"day: the folder cannot be listed .* \(and 1 more\)$"):
        find_sequences(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "fake", "cut", "folder"])
def test_unreadable_video_among_good_ones_is_skipped_and_noted(tmp_path, damage):
    good = make_video(tmp_path / "good.avi").read_bytes()
    bad = tmp_path / "cam" / "bad.mp4"
    bad.parent.mkdir()
    if damage == "folder":  # a folder named like a video
        make_video(bad / "inner.avi")
        assert names(find_sequences(tmp_path)) == ["good", "cam_bad.mp4_inner"]
        return
    bad.write_bytes({"empty": b"", "fake": b"<html>404</html>", "cut": good[:300]}[damage])
    found = find_sequences(tmp_path)
    assert names(found) == ["good"]
    (note,) = found.skipped
    assert note.startswith(f"video skipped: {bad}: ")
    (tmp_path / "good.avi").unlink()
    with pytest.raises(InputError, match=r"bad\.mp4: "):
        find_sequences(tmp_path)


@pytest.mark.parametrize(
    "suffix", [".ts", ".m2ts", ".flv", ".wmv", ".3gp", ".ogv", ".h264", ".MTS", ".unknown", ""]
)
def test_video_is_recognized_by_its_content(tmp_path, suffix):
    path = make_video(tmp_path / "a.avi").rename(tmp_path / f"clip{suffix}")
    (sequence,) = find_sequences(path).sequences
    assert isinstance(sequence, VideoSequence)
    assert len(sequence) == 3
    if suffix not in ("", ".unknown"):
        assert names(find_sequences(tmp_path)) == ["clip"]


def test_long_text_is_not_a_video(tmp_path):
    (tmp_path / "a.txt").write_text("some words\n" * 1000)
    with pytest.raises(InputError, match="expected a folder or a video"):
        find_sequences(tmp_path / "a.txt")


def test_videos_below_subfolders_are_named_by_their_path(tmp_path):
    for camera in ("cam1", "cam2"):
        make_video(tmp_path / camera / "monday" / "a.avi")
    found = find_sequences(tmp_path)
    assert names(found) == ["cam1_monday_a", "cam2_monday_a"]


def test_link_to_a_parent_folder_ends(tmp_path):
    make_frames(tmp_path / "a")
    try:
        (tmp_path / "a" / "again").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system has no links")
    assert names(find_sequences(tmp_path)) == ["a"]


def test_outputs_of_runs_are_no_frames(tmp_path):
    source = make_frames(tmp_path / "run")
    make_frames(source / "topk_diffs")
    make_video(source / "annotated.avi")
    written = [*(source / "topk_diffs").iterdir(), source / "annotated.avi"]
    listed = [{"path": p.relative_to(source).as_posix(), "size": 1, "mtime_ns": 1} for p in written]
    summary = {"complete": True, "settings": {}, "files": listed}
    assert len(find_sequences(source).sequences) == 3
    (source / "summary.json").write_text(json.dumps(summary))
    found = find_sequences(source)
    assert names(found) == ["run"]
    assert found.notes == found.skipped == ()


def test_folder_has_no_times_and_no_notes(tmp_path):
    (sequence,) = find_sequences(make_frames(tmp_path / "a")).sequences
    assert (sequence.time(1), sequence.notes) == (None, ())
    sequence.close()
    with pytest.raises(IndexError, match="got 2"):
        sequence.time(2)
