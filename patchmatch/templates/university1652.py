"""University-1652 (Zheng et al., ACM MM 2020): buildings in satellite, drone and street views."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_image, to_rgb_uint8
from patchmatch.io.frames import list_folder
from patchmatch.synthetic.dataset import STAGES, require_positive
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

VIEWS = ("satellite", "street", "drone", "google")
SPLIT_SEED = 0  # fixed: another data.seed must not move places from training to validation
TURN, ZOOM, TILT = 10.0, 1.15, 0.05  # of the random homographies in training


class PlaceImage(NamedTuple):
    """An image file of a place."""

    path: Path
    place: int
    view: int  #: index into ``VIEWS``
    query: bool


class PlaceImageDataset(PlaceDataset):
    """Image files of places.

    Args:
        images: The files.
        side: Height and width to which images are resized, in pixels.
        seed: Seed of the choice of views and of their distortions.
        light: Probability of each photometric distortion; None disables distortions and random
            homographies.
    """

    def __init__(
        self, images: list[PlaceImage], side: int, seed: int, light: float | None = None
    ) -> None:
        self.images, self.side, self.seed, self.light = images, side, seed, light
        by_place: dict[int, dict[int, list[PlaceImage]]] = {}
        for image in images:
            by_place.setdefault(image.place, {}).setdefault(image.view, []).append(image)
        #: Images of every place with at least two, in a list for each kind of view.
        self.places = [
            list(kinds.values()) for kinds in by_place.values() if sum(map(len, kinds.values())) > 1
        ]

    def __len__(self) -> int:
        return len(self.images)

    def view(self, key: ViewKey | int) -> dict[str, Any]:
        """Return an image by its index, or a random view by epoch, place and number."""
        if isinstance(key, int):
            return self._read(self.images[key], None)
        epoch, place, number = key
        order = self._order(np.random.default_rng((self.seed, epoch, place)), place)
        chosen = order[number % len(order)]
        return self._read(chosen, np.random.default_rng((self.seed, *key)))

    def _order(self, rng: np.random.Generator, place: int) -> list[PlaceImage]:
        """Return the images of a place in random order, with the kinds of views alternating."""
        kinds = [[kind[i] for i in rng.permutation(len(kind))] for kind in self.places[place]]
        kinds = [kinds[i] for i in rng.permutation(len(kinds))]
        longest = max(map(len, kinds))
        return [kind[i] for i in range(longest) for kind in kinds if i < len(kind)]

    def _read(self, source: PlaceImage, rng: np.random.Generator | None) -> dict[str, Any]:
        pixels = to_rgb_uint8(read_image(source.path))
        pixels = cv2.resize(pixels, (self.side, self.side), interpolation=cv2.INTER_AREA)
        if rng is None or self.light is None:
            image = np.float32(pixels) / 255
        else:
            homography = draw_homography(self.side, TURN, ZOOM, TILT, rng)
            image = jitter_illumination(
                warp_view(pixels, (0, 0), homography, self.side), self.light, rng
            )
        return {
            "image": torch.from_numpy(image).movedim(-1, 0).contiguous(),
            "place": source.place,
            "view": source.view,
            "query": source.query,
            "homography": torch.full((3, 3), torch.nan),
        }


class University1652(MatchingData):
    """University-1652 in its own layout: buildings seen from satellites, drones and the street.

    ``train/{satellite,street,drone,google}/ID/`` and
    ``test/{query,gallery}_{satellite,street,drone}/ID/`` contain the images of the place ID. Places
    without images are skipped. The validation set consists of whole places of ``train``.

    Args:
        base_dir: Folder that contains ``train`` and ``test``.
        query: Kind of view of the queries: satellite, street, drone or google.
        gallery: Kind of view of the gallery, different from ``query``.
        val_share: Share of the training places used for validation.
        batches: Batches in a training epoch; null for one pass over the places.
        places: Places in a batch, at least 2.
        views: Images of each place in a batch, at least 2.
        side: Height and width to which images are resized, in pixels; a multiple of 8.
        light: Probability of each photometric distortion of a training image: gain and gamma,
            colour cast, blur, and strong noise; shadows have half of it.
        num_workers: Processes that read images; 0 uses the main process.
        seed: Seed of the batches and distortions in training.
    """

    batch_type = PlaceBatch

    def __init__(
        self,
        base_dir: str = "data/University-1652",
        query: str = "drone",
        gallery: str = "satellite",
        val_share: float = 0.1,
        batches: int | None = None,
        places: int = 8,
        views: int = 4,
        side: int = 128,
        light: float = 0.3,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        require_batch_size(places, views)
        if batches is not None:
            require_positive(batches=batches)
        for name, value in (("query", query), ("gallery", gallery)):
            if value not in VIEWS:
                raise ValueError(f"{name} must be one of {', '.join(VIEWS)}, got {value!r}")
        if query == gallery:
            raise ValueError(f"query and gallery must be different views, both are {query}")
        if not 0 < val_share < 1:
            raise ValueError(f"val_share must lie between 0 and 1, got {val_share}")
        require_view_options(side, light)
        self.base_dir, self.query, self.gallery = Path(base_dir), query, gallery
        self.val_share, self.batches, self.places, self.views = val_share, batches, places, views
        self.side, self.light, self.seed = side, light, seed
        self.sets: dict[str, PlaceImageDataset] = {}

    def setup(self, stage: str) -> None:
        """List the images of the splits that a stage needs."""
        if stage not in STAGES:
            raise InputError(
                f"University1652 is a training set: expected fit, validate or test, got {stage}"
            )
        for split in STAGES[stage]:
            if split not in self.sets:
                images = self._test() if split == "test" else self._train(split)
                light = self.light if split == "train" else None
                self.sets[split] = PlaceImageDataset(images, self.side, self.seed, light)
        if stage == "fit" and len(self.sets["train"].places) < self.places:
            raise InputError(
                f"{self.base_dir}: has {len(self.sets['train'].places)} training places with two "
                f"images, a batch needs {self.places}; give fewer --data.places"
            )

    def _train(self, split: str) -> list[PlaceImage]:
        """Return the images of ``train`` that belong to the split train or val."""
        folders = {view: self.base_dir / "train" / view for view in VIEWS}
        found = {view: images_by_place(path) for view, path in folders.items() if path.is_dir()}
        names = sorted({name for places in found.values() for name in places}, key=natural_key)
        if len(names) < 2:
            raise InputError(
                f"{self.base_dir}: has images of {len(names)} places under train/"
                f"{{{','.join(VIEWS)}}}/ID/, at least 2 are needed to train and validate; give "
                "another --data.base_dir"
            )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
        count = min(len(names) - 1, max(1, round(self.val_share * len(names))))
        chosen = set(order[:count] if split == "val" else order[count:])
        kinds = VIEWS if split == "train" else (self.query, self.gallery)
        return [
            PlaceImage(path, place, VIEWS.index(view), view == self.query)
            for place, name in enumerate(names)
            if place in chosen
            for view in kinds
            for path in found.get(view, {}).get(name, [])
        ]

    def _test(self) -> list[PlaceImage]:
        """Return the queries and the gallery of the test set."""
        roles = {"query": self.query, "gallery": self.gallery}
        found = {}
        for role, view in roles.items():
            folder = self.base_dir / "test" / f"{role}_{view}"
            if not folder.is_dir():
                raise InputError(f"{folder}: folder not found; give another --data.{role}")
            found[role] = images_by_place(folder)
        names = sorted({name for places in found.values() for name in places}, key=natural_key)
        return [
            PlaceImage(path, place, VIEWS.index(roles[role]), role == "query")
            for place, name in enumerate(names)
            for role in roles
            for path in found[role].get(name, [])
        ]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of places; every epoch draws other views."""
        data, (rank, processes) = self.sets["train"], self.rank_and_world_size
        count = len(data.places)
        sampler = PlaceBatchSampler(
            count, self.places, self.views, self.batches or count // self.places, self.seed,
            rank, processes,
        )  # fmt: skip
        return place_loader(data, sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return each image of the validation set once."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return each image of the test set once."""
        return self._evaluation("test")

    def _evaluation(self, split: str) -> DataLoader[Any]:
        data, size = self.sets[split], self.places * self.views
        return evaluation_loader(
            data, range(len(data)), size, self.rank_and_world_size, self.num_workers
        )


def images_by_place(folder: Path) -> dict[str, list[Path]]:
    """Return the images in each subfolder, in natural order; empty subfolders are skipped."""
    found = {}
    for place in folder.iterdir():
        if place.is_dir():
            paths = [p for p in list_folder(place) if p.suffix.lower() in IMAGE_SUFFIXES]
            if paths:
                found[place.name] = sorted(paths, key=lambda path: natural_key(path.name))
    return found
