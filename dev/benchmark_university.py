"""Benchmark embeddings of places on University-1652: docs/templates.md, "Tuning the features".

python3 dev/benchmark_university.py --university FOLDER --weights vgg19.pth

The queries are drone views, the gallery is the satellite view of each place of FOLDER/test. The
embedding of PlaceMatcher is trained by its triplet loss with frozen features (``--model.head 0``):
on generated views of photographs, and on half of the places for the queries of the other half,
both ways. The features are computed once, of the images and of VIEWS distorted views of each.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch.templates.backbones import load_backbone
from patchmatch.templates.losses import triplet_loss
from patchmatch.templates.places import PlaceBatch
from patchmatch.templates.retrieval import retrieval_sums
from patchmatch.templates.synthetic_places import SyntheticPlaces
from patchmatch.templates.university1652 import PlaceImageDataset, University1652

VIEWS, LIGHT = 2, 0.3  # distorted views of each image, and the share of each distortion
MADE_BATCHES = 30  # of 8 places with 4 views
LENGTH = 128  # of the embedding
STEPS, PLACES = 300, 16  # of the training, and in each batch
LR, DECAY = 1e-3, 1e-2  # of AdamW, as in PlaceMatcher


class Moments(NamedTuple):
    """Mean and variance of every channel of views.

    Attributes:
        mean: (N, D) of each kind of features.
        variance: The same.
        place: (N,) number of the place.
        query: (N,) bool, queries; the others are the gallery.
    """

    mean: list[Tensor]
    variance: list[Tensor]
    place: Tensor
    query: Tensor

    def __getitem__(self, rows: Tensor) -> "Moments":
        """Return some of the views."""
        parts = ([m[rows] for m in self.mean], [v[rows] for v in self.variance])
        return Moments(*parts, self.place[rows], self.query[rows])


@torch.inference_mode()
def moments_of(backbone: nn.Module, batches: Iterable[PlaceBatch]) -> Moments:
    """Return the moments of all views of batches."""
    means, variances, places, queries = [], [], [], []
    for batch in batches:
        maps = backbone(batch["image"])
        means.append([m.mean(dim=(2, 3)) for m in maps])
        variances.append([m.var(dim=(2, 3)) for m in maps])
        places.append(batch["place"])
        queries.append(batch["query"])
    joined = ([torch.cat(kind) for kind in zip(*all_, strict=True)] for all_ in (means, variances))
    return Moments(*joined, torch.cat(places), torch.cat(queries))


def pool(of: Moments, like: Moments) -> Tensor:
    """Return mean and deviation of every channel, as ``TunedFeatures.pooled``.

    Args:
        of: The views.
        like: Views by which channels are standardised.
    """
    kinds = []
    for mean, variance, m, v in zip(of.mean, of.variance, like.mean, like.variance, strict=True):
        std = (v.mean(dim=0) + m.var(dim=0)).add(1e-5).sqrt()
        both = ((mean - m.mean(dim=0)) / std, (variance / std**2).add(1e-6).sqrt() - 1)
        kinds.append(F.normalize(torch.cat(both, dim=1), dim=1))
    return torch.cat(kinds, dim=1) * len(kinds) ** -0.5


def train(pooled: Tensor, place: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """Return an embedding trained by the triplet loss on views of places."""
    torch.manual_seed(seed)
    embed = nn.Linear(pooled.shape[1], LENGTH, bias=False)
    nn.init.orthogonal_(embed.weight)
    optimizer = torch.optim.AdamW(embed.parameters(), LR, weight_decay=DECAY)
    names = place.unique()
    for _ in range(STEPS):
        chosen = names[torch.randperm(len(names))[:PLACES]]
        rows = torch.isin(place, chosen)
        loss = triplet_loss(F.normalize(embed(pooled[rows]), dim=1), place[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return embed.requires_grad_(requires_grad=False)


def recall(vectors: Tensor, of: Moments, asked: Tensor) -> list[Tensor]:
    """Return hits at 1, 5 and 10, sum of average precisions, and count, of the asked places."""
    vectors = F.normalize(vectors, dim=1)
    queries = of.query & torch.isin(of.place, asked)
    hits, precision, count = retrieval_sums(
        vectors[queries], of.place[queries], vectors[~of.query], of.place[~of.query]
    )
    return [*hits, precision, count]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--university", required=True, help="folder of University-1652")
    parser.add_argument("--weights", required=True, help="file with the weights of VGG-19")
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone(weights=options.weights)
    university = University1652(options.university)
    university.setup("test")
    images = university.sets["test"].images
    clean = moments_of(backbone, track(university.test_dataloader(), "images"))
    distorted = PlaceImageDataset(images, university.side, seed=0, light=LIGHT)
    keys = [
        (epoch, place, number)
        for epoch in range(VIEWS)
        for place in range(len(distorted.places))
        for number in range(2)
    ]
    views = (torch.utils.data.default_collate([distorted.view(key)]) for key in track(keys))
    seen = moments_of(backbone, views)
    made_data = SyntheticPlaces(batches=MADE_BATCHES)
    made_data.setup("fit")
    made = moments_of(backbone, track(made_data.train_dataloader(), "generated places"))
    names = clean.place.unique()
    names = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(0))]
    halves = names[::2], names[1::2]
    rows = {"features of VGG-19": recall(pool(clean, made), clean, names)}
    embed = train(pool(made, made), made.place, 0)
    rows["embedding of generated places"] = recall(embed(pool(clean, made)), clean, names)
    rows["features, standardised by the other half"] = []
    rows["embedding of the other half"] = []
    for asked, known in (halves, halves[::-1]):
        of_known = seen[torch.isin(seen.place, known)]
        embed = train(pool(of_known, of_known), of_known.place, 0)
        pooled = pool(clean, of_known)
        for name, vectors in zip(list(rows)[2:], (pooled, embed(pooled)), strict=True):
            found = recall(vectors, clean, asked)
            rows[name] = [sum(both) for both in zip(rows[name] or [0] * 5, found, strict=True)]
    table = Table("vectors", "recall@1", "@5", "@10", "AP", title=f"gallery of {len(names)}")
    for name, (*sums, count) in rows.items():
        table.add_row(name, *(f"{float(value / count):.3f}" for value in sums))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
