"""Matcher that follows moving objects through videos."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from patchmatch.core.clips import Clip
from patchmatch.core.errors import InputError
from patchmatch.core.matcher import Matcher
from patchmatch.io import to_rgb_uint8
from patchmatch.objects.block_motion import BlockMotion
from patchmatch.objects.follower import FollowedFrame, Follower
from patchmatch.objects.results import FrameObjects
from patchmatch.writing.annotated_video import frame_rate

CAMERA = {"auto": None, "true": True, "false": False}
MIN_SIDE = 32  # pixels


class ObjectTracker(Matcher):
    """Moving objects, boxed and followed through a video.

    Each frame is compared with the frame before and with a memory of the scene: the recent colors
    of the background at every pixel. It has nothing to train.

    Args:
        camera: Whether the camera moves: true, false, or auto, which finds out.
        shadows: Whether shadows are left out.
        min_area: Pixels of the smallest object; null for 0.03% of the frame. Not below
            20 pixels of the reduced frame.
        max_size: Longest side in pixels to which frames are reduced before they are compared;
            results are in pixels of the frame.
    """

    predict_config = "config_moving_objects_predict.yaml"
    is_sequential = True

    def __init__(
        self,
        camera: str | bool = "auto",
        shadows: bool = True,
        min_area: int | None = None,
        max_size: int = 800,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        choice = str(camera).lower()
        if choice not in CAMERA:
            raise ValueError(f"camera must be auto, true or false, got {camera}")
        if min_area is not None and min_area < 1:
            raise ValueError(f"min_area must be at least 1 pixel, got {min_area}")
        if max_size < 64:
            raise ValueError(f"max_size must be at least 64 pixels, got {max_size}")
        self.camera, self.shadows = choice, shadows
        self.min_area, self.max_size = min_area, max_size
        self._measure = BlockMotion(lambda: self.device)
        self._follower: Follower | None = None
        self._said: set[str] = set()  # notes on the camera of this sequence
        self._source: str | None = None
        self._last_frame: str | None = None

    def on_predict_start(self) -> None:
        """Check that the frames come in order."""
        if self.trainer.world_size > 1:
            raise InputError(
                "ObjectTracker: objects are followed from frame to frame, which needs one process, "
                f"got {self.trainer.world_size}; give --trainer.devices 1 --trainer.num_nodes 1"
            )
        self._source = None

    def predict_step(self, batch: Clip, batch_idx: int) -> list[FrameObjects]:
        """Return the objects of the later frame of every pair of a clip, in order."""
        later = [second for _, second in batch["pairs"]]
        if len(set(later)) < len(later) or any(s - f != 1 for f, s in batch["pairs"]):
            raise InputError(
                f"{batch['source']}: objects are followed from frame to frame; give --data.gaps [1]"
            )
        if batch["source"] != self._source:
            self._begin(batch)
        found: dict[int, FollowedFrame] = {}
        start = 0
        if self._last_frame in batch["names"]:  # the last frame of the clip before
            start = batch["names"].index(self._last_frame) + 1
        is_gray = all(image.ndim == 2 for image in batch["images"])
        for position in range(start, len(batch["images"])):
            image = to_rgb_uint8(batch["images"][position])
            if is_gray:
                image = np.ascontiguousarray(image[..., 0])
            if min(image.shape[:2]) < MIN_SIDE:
                batch["notes"].append(
                    f"{batch['source']}: frames of {image.shape[1]}x{image.shape[0]} pixels are "
                    f"too small to follow objects in; give frames of at least {MIN_SIDE} pixels"
                )
                continue
            found[position] = self._follow(image, batch)
        self._last_frame = batch["names"][-1] if batch["names"] else None
        moved = frozenset[int]().union(*(frame.moved for frame in found.values()))
        batch["pairs"] = [pair for pair in batch["pairs"] if pair[1] in found]
        return [_results(found[i], i, batch, moved) for _, i in batch["pairs"]]

    def _begin(self, batch: Clip) -> None:
        self._source, self._last_frame, self._said = batch["source"], None, set()
        self._follower = Follower(
            self._measure,
            CAMERA[self.camera],
            shadows=self.shadows,
            min_area=self.min_area,
            max_size=self.max_size,
            fps=frame_rate(batch["times"]),
        )

    def _follow(self, image: np.ndarray, batch: Clip) -> FollowedFrame:
        assert self._follower is not None
        moved_before = self._follower.camera_moves
        frame = self._follower(image)
        note = self._follower.camera_problem
        if self._follower.camera_moves and not moved_before and self.camera == "auto":
            note = (
                "the camera moves; its motion is measured and undone "
                "(--model.camera false for a camera on a tripod)"
            )
        if note and note not in self._said:
            self._said.add(note)
            batch["notes"].append(f"{batch['source']}: {note}")
        return frame


def _results(
    frame: FollowedFrame, position: int, batch: Clip, moved: frozenset[int]
) -> FrameObjects:
    things = frame.things
    strength = torch.tensor([thing.strength for thing in things], dtype=torch.float32)
    return FrameObjects(
        source=batch["source"],
        frame=batch["names"][position],
        time=batch["times"][position],
        track=torch.tensor([thing.track for thing in things], dtype=torch.long),
        boxes=_stacked([thing.box for thing in things], 4),
        displacement=_stacked([thing.displacement for thing in things], 2),
        area=torch.tensor([thing.area for thing in things], dtype=torch.long),
        score=strength / (strength + 2),
        moved=torch.tensor([thing.track in moved for thing in things], dtype=torch.bool),
        labels=torch.from_numpy(frame.labels),
        camera=None if frame.camera is None else torch.from_numpy(frame.camera).float(),
    )


def _stacked(rows: Sequence[np.ndarray], columns: int) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float32).reshape(-1, columns))
