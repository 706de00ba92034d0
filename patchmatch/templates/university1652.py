"""University-1652 (Zheng et al., ACM MM 2020) in its own layout: buildings from four sides."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from patchmatch.core.data import MatchingData
from patchmatch.core.errors import InputError
from patchmatch.io import IMAGE_SUFFIXES, natural_key, read_image, to_rgb_uint8
from patchmatch.synthetic.dataset import STAGES, require_positive
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

VIEWS = ("satellite", "street", "drone", "google")
SPLIT_SEED = 0  # fixed, so that no later seed moves a place from training to validation
TURN, ZOOM, TILT = 10.0, 1.15, 0.05  # of the views that are trained on


class Picture(NamedTuple):
    """A picture of a place."""

    path: Path
    place: int
    view: int  #: index into ``VIEWS``
    query: bool


class PlaceImages(PlaceSet):
    """Pictures of places, read one by one.

    Args:
        pictures: What there is.
        side: To which both sides of a picture are reduced, in pixels.
        seed: Seed of the choice of views and of their disturbances.
        light: Share of views that are disturbed, and slightly warped; None leaves all as they are.
    """

    def __init__(
        self, pictures: list[Picture], side: int, seed: int, light: float | None = None
    ) -> None:
        self.pictures, self.side, self.seed, self.light = pictures, side, seed, light
        of_place: dict[int, dict[int, list[Picture]]] = {}
        for picture in pictures:
            of_place.setdefault(picture.place, {}).setdefault(picture.view, []).append(picture)
        #: Of every place that has two pictures at least: those of each kind of view.
        self.places = [
            list(kinds.values()) for kinds in of_place.values() if sum(map(len, kinds.values())) > 1
        ]

    def __len__(self) -> int:
        return len(self.pictures)

    def view(self, key: Key | int) -> dict[str, Any]:
        """Return a picture by its index, or a view of a place by epoch, place and number."""
        if isinstance(key, int):
            return self._read(self.pictures[key], None)
        epoch, place, number = key
        order = self._order(np.random.default_rng((self.seed, epoch, place)), place)
        chosen = order[number % len(order)]
        return self._read(chosen, np.random.default_rng((self.seed, *key)))

    def _order(self, rng: np.random.Generator, place: int) -> list[Picture]:
        """Return the pictures of a place in random order, the kinds of views in turn."""
        kinds = [[kind[i] for i in rng.permutation(len(kind))] for kind in self.places[place]]
        kinds = [kinds[i] for i in rng.permutation(len(kinds))]
        longest = max(map(len, kinds))
        return [kind[i] for i in range(longest) for kind in kinds if i < len(kind)]

    def _read(self, picture: Picture, rng: np.random.Generator | None) -> dict[str, Any]:
        pixels = to_rgb_uint8(read_image(picture.path))
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
            "place": picture.place,
            "view": picture.view,
            "query": picture.query,
            "homography": torch.full((3, 3), torch.nan),
        }


class University1652(MatchingData):
    """Buildings seen from satellites, drones, the street and the web, in the set's own layout.

    ``train/{satellite,street,drone,google}/ID/`` and
    ``test/{query,gallery}_{satellite,street,drone}/ID/`` hold the pictures of the place ID. Places
    without pictures are passed over. The validation set is made of whole places of ``train``.

    Args:
        base_dir: The folder with ``train`` and ``test``.
        query: Which view is sought.
        gallery: Among which views it is sought; another one than ``query``.
        val_share: Share of the places that are left for validation.
        batches: Batches in an epoch of training; null for as many as the places fill.
        places: Places in a batch.
        views: Pictures of each.
        side: To which both sides of a picture are reduced, in pixels.
        light: Share of views with each disturbance of light and camera, in training.
        num_workers: Processes that read pictures; 0 reads in the main process.
        seed: Seed of what is left to chance in training.
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
        require_batches(places, views)
        if batches is not None:
            require_positive(batches=batches)
        for name, value in (("query", query), ("gallery", gallery)):
            if value not in VIEWS:
                raise ValueError(f"{name} must be one of {', '.join(VIEWS)}, got {value!r}")
        if query == gallery:
            raise ValueError(f"query and gallery must be different views, both are {query}")
        if not 0 < val_share < 1:
            raise ValueError(f"val_share must lie between 0 and 1, got {val_share}")
        require_views(side, light)
        self.base_dir, self.query, self.gallery = Path(base_dir), query, gallery
        self.val_share, self.batches, self.places, self.views = val_share, batches, places, views
        self.side, self.light, self.seed = side, light, seed
        self.sets: dict[str, PlaceImages] = {}

    def setup(self, stage: str) -> None:
        """List the pictures of the splits that a stage needs."""
        if stage not in STAGES:
            raise InputError("University1652 holds places to learn from; it predicts nothing")
        for split in STAGES[stage]:
            if split not in self.sets:
                pictures = self._test() if split == "test" else self._train(split)
                light = self.light if split == "train" else None
                self.sets[split] = PlaceImages(pictures, self.side, self.seed, light)
        if stage == "fit" and len(self.sets["train"].places) < self.places:
            raise InputError(
                f"{self.base_dir}: has {len(self.sets['train'].places)} places with two pictures "
                f"to train on, a batch needs {self.places}; give fewer --data.places"
            )

    def _train(self, split: str) -> list[Picture]:
        """Return the pictures of the places of ``train`` that are trained or validated on."""
        folders = {view: self.base_dir / "train" / view for view in VIEWS}
        found = {view: pictures_of(folder) for view, folder in folders.items() if folder.is_dir()}
        names = sorted({name for of_view in found.values() for name in of_view}, key=natural_key)
        if len(names) < 2:
            raise InputError(
                f"{self.base_dir}: holds pictures of {len(names)} places under train/"
                f"{{{','.join(VIEWS)}}}/ID/, at least 2 are needed to train and validate"
            )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
        count = min(len(names) - 1, max(1, round(self.val_share * len(names))))
        chosen = set(order[:count] if split == "val" else order[count:])
        wanted = VIEWS if split == "train" else (self.query, self.gallery)
        return [
            Picture(path, place, VIEWS.index(view), view == self.query)
            for place, name in enumerate(names)
            if place in chosen
            for view in wanted
            for path in found.get(view, {}).get(name, [])
        ]

    def _test(self) -> list[Picture]:
        """Return the queries and the gallery of the test set."""
        roles = {"query": self.query, "gallery": self.gallery}
        found = {}
        for role, view in roles.items():
            folder = self.base_dir / "test" / f"{role}_{view}"
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder; give another --data.{role}")
            found[role] = pictures_of(folder)
        names = sorted({name for of_role in found.values() for name in of_role}, key=natural_key)
        return [
            Picture(path, place, VIEWS.index(roles[role]), role == "query")
            for place, name in enumerate(names)
            for role in roles
            for path in found[role].get(name, [])
        ]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of places, whose pictures are drawn anew in every epoch."""
        data, (rank, processes) = self.sets["train"], self.rank_and_world_size
        count = len(data.places)
        sampler = PlaceBatches(
            count, self.places, self.views, self.batches or count // self.places, self.seed,
            rank, processes,
        )  # fmt: skip
        return place_loader(data, sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the pictures of the validation set, each once."""
        return self._each_once("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the pictures of the test set, each once."""
        return self._each_once("test")

    def _each_once(self, split: str) -> DataLoader[Any]:
        data, size = self.sets[split], self.places * self.views
        return each_view_once(
            data, range(len(data)), size, self.rank_and_world_size, self.num_workers
        )


def pictures_of(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures in each folder of a folder, in natural order; empty ones are left out."""
    found = {}
    for place in folder.iterdir():
        if place.is_dir():
            paths = [p for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
            if paths:
                found[place.name] = sorted(paths, key=lambda path: natural_key(path.name))
    return found
