"""Places that make themselves: pieces of pictures, seen from several sides in several lights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from patchmatch.core.errors import InputError
from patchmatch.synthetic.dataset import require_positive
from patchmatch.synthetic.image_source import PhotoDataModule
from patchmatch.synthetic.views import draw_homography, jitter_illumination, warp_view
from patchmatch.templates.places import (
    Key,
    PlaceBatch,
    PlaceBatches,
    PlaceSet,
    each_view_once,
    place_loader,
    require_batches,
    require_views,
)

PLAIN = 8.0  # grey levels of 255: a place that deviates less looks like others, such as sky


class SyntheticViews(PlaceSet):
    """Views of pieces of pictures; each depends on the seed and its key alone.

    Args:
        pictures: (H, W, 3) uint8 RGB; what is plain or smaller than a place is left out.
        seed: Seed of the views.
        side: Side of a place and of its views in pixels.
        turn: Largest rotation of a view in degrees.
        zoom: Largest change of size, at least 1.
        tilt: How far a corner of a view may leave its place, in sides.
        light: Share of views with each disturbance of light and camera.
    """

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        seed: int,
        side: int = 96,
        turn: float = 25.0,
        zoom: float = 1.4,
        tilt: float = 0.12,
        light: float = 0.5,
    ) -> None:
        self.pictures, self.seed, self.side = list(pictures), seed, side
        self.turn, self.zoom, self.tilt, self.light = turn, zoom, tilt, light
        #: Of every place: the number of its picture, x and y of its top left pixel.
        self.corners = [
            (number, x, y)
            for number, picture in enumerate(self.pictures)
            for y in _starts(picture.shape[0], side)
            for x in _starts(picture.shape[1], side)
            if picture[y : y + side, x : x + side].mean(axis=2).std() >= PLAIN
        ]

    def __len__(self) -> int:
        return len(self.corners)

    def view(self, key: Key) -> dict[str, Any]:
        """Return one view of a place; the first one of a place is the gallery's."""
        _, place, view = key
        rng = np.random.default_rng((self.seed, *key))
        number, x, y = self.corners[place]
        homography = draw_homography(self.side, self.turn, self.zoom, self.tilt, rng)
        image = warp_view(self.pictures[number], (x, y), homography, self.side)
        image = jitter_illumination(image, self.light, rng)
        return {
            "image": torch.from_numpy(image).movedim(-1, 0).contiguous(),
            "place": place,
            "view": view,
            "query": view > 0,
            "homography": torch.from_numpy(homography).float(),
        }


class SyntheticPlaces(PhotoDataModule):
    """Places made from photographs, with known correspondences between their views.

    The photographs are split, not the views: what is validated or tested on was never trained on.
    A place is a piece of a photograph; no two overlap.

    Args:
        source: ``photographs`` (those inside scikit-image and scikit-learn, as far as they are
            installed; heaps of digits if they are not), ``embedded`` or ``mnist`` (heaps of
            digits), or a folder of any images.
        data_dir: Folder of downloaded data.
        batches: Batches in an epoch of training; every epoch makes fresh views.
        places: Places in a batch.
        views: Views of each place in a batch, and in the validation and test sets. There the
            first is the gallery's, the others are queries.
        canvases: Pictures composed of the training digits, a fifth of it for each other set.
        side: Side of a place and of its views in pixels.
        turn: Largest rotation of a view in degrees.
        zoom: Largest change of size, at least 1.
        tilt: How far a corner of a view may leave its place, in sides.
        light: Share of views with each disturbance of light and camera.
        num_workers: Processes that make views; 0 makes them in the main process.
        seed: Seed of canvases and views; the same whatever the number of workers.
    """

    batch_type = PlaceBatch

    def __init__(
        self,
        source: str = "photographs",
        data_dir: str = "data",
        batches: int = 40,
        places: int = 8,
        views: int = 4,
        canvases: int = 200,
        side: int = 96,
        turn: float = 25.0,
        zoom: float = 1.4,
        tilt: float = 0.12,
        light: float = 0.5,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        require_positive(batches=batches, canvases=canvases)
        require_views(side, light)
        if not 0 <= turn <= 180:
            raise ValueError(f"turn must lie between 0 and 180 degrees, got {turn}")
        if not 1 <= zoom <= 4:
            raise ValueError(f"zoom must lie between 1 and 4, got {zoom}")
        if not 0 <= tilt <= 0.2:
            raise ValueError(f"tilt must lie between 0 and 0.2 sides, got {tilt}")
        require_batches(places, views)
        super().__init__(source, data_dir, (batches, 1), canvases, places, num_workers, seed)
        self.views, self.side = views, side
        self.seen = {"turn": turn, "zoom": zoom, "tilt": tilt, "light": light}

    def _make(self, split: str) -> SyntheticViews:
        pictures = self._split_images(split)
        made = SyntheticViews(pictures, self._seed(split), self.side, **self.seen)
        if len(made) < self.batch_size:
            raise InputError(
                f"{self.source}: its {split} pictures hold {len(made)} places of {self.side}x"
                f"{self.side} pixels, a batch needs {self.batch_size}; give more or larger "
                "pictures, a smaller --data.side, or fewer --data.places"
            )
        return made

    def _loader(self, split: str) -> DataLoader[Any]:
        made, process = self.sets[split], self.rank_and_world_size
        if split == "train":
            sampler = PlaceBatches(
                len(made), self.batch_size, self.views, self.sizes["train"], made.seed, *process
            )
            return place_loader(made, sampler, self.num_workers)
        keys = [(0, place, view) for place in range(len(made)) for view in range(self.views)]
        return each_view_once(made, keys, self.batch_size * self.views, process, self.num_workers)


def _starts(length: int, side: int) -> list[int]:
    """Return where as many pieces as fit begin, spread evenly."""
    count = length // side
    left = length - count * side
    return [i * side + left * (i + 1) // (count + 1) for i in range(count)]
