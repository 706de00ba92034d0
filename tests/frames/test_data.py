import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from synthetic_frames import SyntheticStream, gap_pairs, pair_names, write_frame_video, write_frames

from patchmatch.core.errors import InputError
from patchmatch.frames.data import Frames, open_clips


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_keep_the_order(tmp_path, workers):
    write_frames(tmp_path, 12)
    data = Frames(str(tmp_path), batch_size=2, num_workers=workers)
    data.setup("predict")
    read = list(data.predict_dataloader())
    assert pair_names(read) == [(f"frame_{i}", f"frame_{i + 1}") for i in range(11)]
    assert all(isinstance(p, np.ndarray) for clip in read for p in clip["images"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "batch_size must be at least 1"),
        ("num_workers", -1, "num_workers must"),
        ("gaps", (), "gaps must be distinct integers of at least 1"),
        ("gaps", (0, 1), "gaps must be distinct integers of at least 1"),
        ("gaps", (2, 2), "gaps must be distinct integers of at least 1"),
        ("max_frames", 1, "max_frames must be at least 2"),
    ],
)
def test_invalid_options_raise(name, value, message):
    with pytest.raises(ValueError, match=message):
        Frames(**{name: value})


def test_frames_without_ground_truth_cannot_be_fitted():
    with pytest.raises(InputError, match="no ground truth"):
        Frames().setup("fit")


def test_frames_after_max_frames_are_not_read(tmp_path):
    write_frames(tmp_path, 9)
    (tmp_path / "frame_5.png").write_text("not an image")
    clips, _ = open_clips(str(tmp_path), 4, (1, 2), max_frames=5)
    read = list(clips)
    assert pair_names(read) == gap_pairs(5, (1, 2))
    assert [note for clip in read for note in clip["notes"]] == []


def test_sequences_shorter_than_all_gaps_are_skipped_with_a_note(tmp_path):
    write_frames(tmp_path / "long", 6)
    write_frames(tmp_path / "short", 3)
    clips, notes = open_clips(str(tmp_path), 4, (4, 5))
    assert notes == ()
    read = list(clips)
    assert {clip["source"] for clip in read} == {"long"}
    assert read[0]["notes"] == ["short: no two of its frames are 4 apart; sequence skipped"]
    with pytest.raises(InputError, match="no two of its frames are 9 apart; give smaller gaps"):
        open_clips(str(tmp_path), 4, (9,))


def test_video_frames_have_their_time_stamps(tmp_path):
    times = [0, 0.1, 0.15, 1.2, 1.25, 3]
    data = Frames(
        str(write_frame_video(tmp_path / "a.mp4", 6, times=times)), batch_size=3, gaps=(1, 2)
    )
    data.setup("predict")
    time_of = {}
    for clip in data.predict_dataloader():
        time_of |= dict(zip(clip["names"], clip["times"], strict=True))
    assert list(time_of) == [f"{i:06d}" for i in range(6)]
    assert list(time_of.values()) == pytest.approx(times, abs=1e-4)


def test_skipped_videos_are_noted_in_the_first_clip(tmp_path):
    write_frames(tmp_path / "good", 4)
    (tmp_path / "bad.mp4").touch()
    clips, notes = open_clips(str(tmp_path), 2)
    first, second = clips
    assert notes == ()
    assert [note for note in first["notes"] if "bad.mp4: the file is empty" in note]
    assert second["notes"] == []


@pytest.mark.parametrize("elsewhere", [False, True])
def test_outputs_of_a_writer_inside_the_input_are_no_frames(tmp_path, elsewhere):
    write_frames(tmp_path, 4)
    folder = tmp_path / "out" if elsewhere else tmp_path
    write_frames(folder / "topk_diffs" / "cam", 3)
    (folder / "annotated.mp4").touch()
    names = [f"topk_diffs/cam/frame_{i}.png" for i in range(3)] + ["annotated.mp4"]
    listed = [{"path": name, "size": 0, "mtime_ns": 0} for name in names]
    summary = {"complete": True, "settings": {}, "files": listed}
    (folder / "summary.json").write_text(json.dumps(summary))
    data = Frames(str(tmp_path))
    data.setup("predict")
    assert [sequence.folder for sequence in data.dataset.sequences] == [tmp_path]


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_clips_are_not_read_and_others_keep_their_index(tmp_path, workers):
    write_frames(tmp_path, 12)
    data = Frames(str(tmp_path), batch_size=2, num_workers=workers, gaps=(1, 2))
    data.setup("predict")
    clips = {clip["index"]: pair_names([clip]) for clip in data.predict_dataloader()}
    data.skip([0, 2, 5])
    remaining = {clip["index"]: pair_names([clip]) for clip in data.predict_dataloader()}
    assert remaining == {index: clips[index] for index in (1, 3, 4)}
    data.skip(range(6))
    assert list(data.predict_dataloader()) == []


PROCESSES = """
    import json, sys
    import pytorch_lightning as pl
    from patchmatch.frames.data import Frames

    class PairRecorder(pl.LightningModule):
        def on_predict_start(self):
            self.pairs = []
        def predict_step(self, clip, number):
            names = clip["names"]
            pairs = [[names[a], names[b]] for a, b in clip["pairs"]]
            self.pairs += [[clip["index"], clip["source"], *pair] for pair in pairs]

    def main():
        data = Frames(sys.argv[1], batch_size=int(sys.argv[2]), gaps=(1, 2))
        model = PairRecorder()
        model.pairs = []
        trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False,
                             enable_progress_bar=False, enable_model_summary=False)
        trainer.predict(model, datamodule=data, return_predictions=False)
        with open(f"{sys.argv[3]}/{trainer.global_rank}.json", "w") as file:
            json.dump(model.pairs, file)

    if __name__ == "__main__":
        main()
"""


def run_processes(tmp_path, source, batch_size):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROCESSES))
    return subprocess.run(
        [sys.executable, str(script), str(source), str(batch_size), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 50])  # five clips; one clip for two processes
def test_two_processes_predict_each_pair_once(tmp_path, batch_size):
    write_frames(tmp_path / "run" / "a", 6)
    if batch_size == 2:
        write_frames(tmp_path / "run" / "b", 4)
    done = run_processes(tmp_path, tmp_path / "run", batch_size)
    assert done.returncode == 0, done.stderr[-2000:]
    parts = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    clips, _ = open_clips(str(tmp_path / "run"), batch_size, (1, 2))
    expected = [
        [c["index"], c["source"], c["names"][a], c["names"][b]]
        for c in clips
        for a, b in c["pairs"]
    ]
    assert sorted(parts[0] + parts[1]) == sorted(expected)
    if batch_size == 2:
        assert all({source for _, source, *_ in part} == {"a", "b"} for part in parts)


@pytest.mark.slow
def test_stream_with_two_processes_raises(tmp_path):
    done = run_processes(tmp_path, "http://127.0.0.1:1/a.mp4", 2)
    assert done.returncode != 0
    assert "a camera or stream needs exactly one process, got 2; give" in done.stderr


def test_live_source_stops_after_max_frames_and_cannot_be_resumed(monkeypatch):
    endless = SyntheticStream([(30, 40)] * 10**6)
    monkeypatch.setattr("patchmatch.frames.data.LiveSequence", lambda source: endless)
    data = Frames("camera:0", batch_size=4, num_workers=2, max_frames=10)
    data.setup("predict")
    assert len(pair_names(list(data.predict_dataloader()))) == 9
    data.skip([])
    with pytest.raises(InputError, match="cannot be resumed"):
        data.skip([0])


def test_missing_camera_raises_in_setup():
    with pytest.raises(InputError, match="camera 97: there is no such camera"):
        Frames("camera:97").setup("predict")
