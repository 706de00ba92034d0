"""Synthetic places: crops of images, seen from several viewpoints under several illuminations."""

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
    PlaceBatch,
    PlaceBatchSampler,
    PlaceDataset,
    ViewKey,
    evaluation_loader,
    place_loader,
    require_batch_size,
    require_view_options,
)

MIN_STD = 8.0  # gray levels of 255: flatter crops, such as sky, cannot be distinguished


class SyntheticViews(PlaceDataset):
    """Views of crops of images. Each view depends on the seed and its key only.

    Args:
        images: (H, W, 3) uint8 RGB; flat crops, and images smaller than a place, are skipped.
        seed: Seed of the views.
        side: Side of a place and of its views in pixels.
        turn: Maximum rotation of a view in degrees.
        zoom: Maximum scale factor of a view, at least 1; the minimum is its inverse.
        tilt: Maximum displacement of a corner of a view, in sides.
        light: Probability of each photometric distortion.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        seed: int,
        side: int = 96,
        turn: float = 25.0,
        zoom: float = 1.4,
        tilt: float = 0.12,
        light: float = 0.5,
    ) -> None:
        self.images, self.seed, self.side = list(images), seed, side
        self.turn, self.zoom, self.tilt, self.light = turn, zoom, tilt, light
        #: Of every place: number of its image, x and y of its top-left pixel.
        self.corners = [
            (number, x, y)
            for number, image in enumerate(self.images)
            for y in _crop_starts(image.shape[0], side)
            for x in _crop_starts(image.shape[1], side)
            if image[y : y + side, x : x + side].mean(axis=2).std() >= MIN_STD
        ]

    def __len__(self) -> int:
        return len(self.corners)

    def view(self, key: ViewKey) -> dict[str, Any]:
        """Return one view of a place; view 0 is in the gallery, the others are queries."""
        _, place, view = key
        rng = np.random.default_rng((self.seed, *key))
        number, x, y = self.corners[place]
        homography = draw_homography(self.side, self.turn, self.zoom, self.tilt, rng)
        image = warp_view(self.images[number], (x, y), homography, self.side)
        image = jitter_illumination(image, self.light, rng)
        return {
            "image": torch.from_numpy(image).movedim(-1, 0).contiguous(),
            "place": place,
            "view": view,
            "query": view > 0,
            "homography": torch.from_numpy(homography).float(),
        }


class SyntheticPlaces(PhotoDataModule):
    """Synthetic places from photographs, with known correspondences between their views.

    A place is a crop of a photograph; crops do not overlap. Its views are random homographies of
    the crop with random photometric distortions. Training, validation and test use different
    photographs.

    Args:
        source: ``photographs`` (those bundled with scikit-image and scikit-learn; dead-leaves
            images of digits if these are not installed), ``embedded`` or ``mnist`` (dead-leaves
            images of digits), or a folder of images.
        data_dir: Folder for downloaded data.
        batches: Batches in a training epoch. Each epoch generates new views.
        places: Places in a batch, at least 2.
        views: Views of each place, at least 2. In validation and test the first view belongs to
            the gallery, and the others are queries.
        canvases: Number of dead-leaves images for training; validation and test have a fifth of
            it each. Used with digits only.
        side: Side of a place and of its views in pixels, a multiple of 8.
        turn: Maximum rotation of a view in degrees.
        zoom: Maximum scale factor of a view, at least 1; the minimum is its inverse.
        tilt: Maximum random displacement of each corner of a view, as a fraction of the side; it
            simulates perspective.
        light: Probability of each photometric distortion of a view: gain and gamma, colour cast,
            blur, and strong noise; shadows have half of it.
        num_workers: Processes that generate views; 0 uses the main process.
        seed: Seed of images and views; results do not depend on ``num_workers``.
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
        require_view_options(side, light)
        if not 0 <= turn <= 180:
            raise ValueError(f"turn must lie between 0 and 180 degrees, got {turn}")
        if not 1 <= zoom <= 4:
            raise ValueError(f"zoom must lie between 1 and 4, got {zoom}")
        if not 0 <= tilt <= 0.2:
            raise ValueError(f"tilt must lie between 0 and 0.2 sides, got {tilt}")
        require_batch_size(places, views)
        super().__init__(source, data_dir, (batches, 1), canvases, places, num_workers, seed)
        self.views, self.side = views, side
        self.view_options = {"turn": turn, "zoom": zoom, "tilt": tilt, "light": light}

    def _make(self, split: str) -> SyntheticViews:
        images = self._split_images(split)
        data = SyntheticViews(images, self._seed(split), self.side, **self.view_options)
        if len(data) < self.batch_size:
            raise InputError(
                f"{self.source}: the {split} images contain {len(data)} places of {self.side}x"
                f"{self.side} pixels, a batch needs {self.batch_size}; give more or larger "
                "images, a smaller --data.side, or fewer --data.places"
            )
        return data

    def _loader(self, split: str) -> DataLoader[Any]:
        data, process = self.sets[split], self.rank_and_world_size
        if split == "train":
            sampler = PlaceBatchSampler(
                len(data), self.batch_size, self.views, self.sizes["train"], data.seed, *process
            )
            return place_loader(data, sampler, self.num_workers)
        keys = [(0, place, view) for place in range(len(data)) for view in range(self.views)]
        size = self.batch_size * self.views
        return evaluation_loader(data, keys, size, process, self.num_workers)


def _crop_starts(length: int, side: int) -> list[int]:
    """Return the first pixel of each crop along an axis: as many as fit, evenly spaced."""
    count = length // side
    left = length - count * side
    return [i * side + left * (i + 1) // (count + 1) for i in range(count)]
