"""Benchmark tuned features against the same features before: docs/templates.md, "Tuned features".

patchmatch fit -c template
python3 dev/benchmark_tuning.py --checkpoint CHECKPOINT
python3 dev/benchmark_tuning.py --checkpoint CHECKPOINT --weights vgg19.pth --pairs FOLDER

Measures retrieval of places from the test photographs, and template matching: templates are cut
from the same photographs and searched in other views of them. --pairs adds the pairs of
benchmark_templates.py.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_templates import (  # type: ignore[import-not-found]
    Pair,
    detector_of,
    interval,
    measure,
    mismatched_scores,
    read_pairs,
    success,
)

from patchmatch.synthetic.views import draw_homography, jitter_illumination, warp_view
from patchmatch.templates.backbones import load_backbone_weights
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.retrieval import Retrieval
from patchmatch.templates.synthetic_places import SyntheticPlaces
from patchmatch.templates.tuned_net import TunedFeatures

TEMPLATES_PER_PHOTO = 20
SIDES = (32, 100)  # smallest and largest side of a template in pixels
TURN, ZOOM, TILT, LIGHT = 15.0, 1.25, 0.06, 0.5  # of the views, as in SyntheticPlaces
MIN_STD = 12.0  # gray levels: flatter templates are skipped
CALIBRATION = 20  # batches for the channel statistics of the untuned features


def synthetic_pairs(images: list[np.ndarray], seed: int = 0) -> list[Pair]:
    """Cut templates from images, and generate another view of each image as the scene."""
    pairs = []
    for number, image in enumerate(images):
        side = min(image.shape[:2])
        for i in range(TEMPLATES_PER_PHOTO):
            rng = np.random.default_rng((seed, number, i))
            x0, y0 = (int(rng.integers(0, length - side + 1)) for length in image.shape[1::-1])
            homography = draw_homography(side, TURN, ZOOM, TILT, rng)
            scene = jitter_illumination(warp_view(image, (x0, y0), homography, side), LIGHT, rng)
            crop = image[y0 : y0 + side, x0 : x0 + side]
            while True:
                width, height = (int(length) for length in rng.integers(*SIDES, 2))
                x, y = int(rng.integers(side - width)), int(rng.integers(side - height))
                template = crop[y : y + height, x : x + width]
                right, below = x + width, y + height
                corners = np.array([[x, y], [right, y], [right, below], [x, below]]) - 0.5
                moved = cv2.perspectiveTransform(corners[None], homography)[0] + 0.5
                if moved.min() >= 0 and moved.max() <= side and template.std() >= MIN_STD:
                    break
            truth = (*moved.min(axis=0).tolist(), *moved.max(axis=0).tolist())
            pairs.append(Pair(str(number), template, np.uint8(255 * scene), truth))
    return pairs


@torch.no_grad()
def untuned(matcher: PlaceMatcher, weights: str | None, data: SyntheticPlaces) -> TunedFeatures:
    """Return the features of a checkpoint before tuning, with calibrated channel statistics."""
    settings = matcher.hparams
    name, layers, stride = settings["features"], settings["layers"], settings["stride"]
    net = TunedFeatures(name, layers, stride, 0, settings["embedding"])
    load_backbone_weights(net.backbone, name, weights)
    net.train()
    for i, batch in enumerate(data.train_dataloader()):
        if i < CALIBRATION:
            net(batch["image"])
    return net.eval()


@torch.no_grad()
def retrieval(
    net: TunedFeatures, embed: Callable[[list[Tensor]], Tensor], data: SyntheticPlaces
) -> list[float]:
    """Return recall at 1, 5 and 10, and average precision, on the places of the test set."""
    metric = Retrieval()
    for batch in data.test_dataloader():
        embedding = F.normalize(embed(net(batch["image"])), dim=1)
        metric.update(embedding, batch["place"], batch["query"])
    return [value.item() for value in metric.compute().values()]


def templates(
    matcher: TemplateMatcher, pairs: list[Pair], threshold: float, alarms: bool
) -> list[str]:
    """Return the cells of a row: AUC with true and own size, correct and kept, false alarms."""
    find, measured, wrong = detector_of(matcher), [], []
    for i, pair in enumerate(pairs):  # scene by scene, to reuse its features
        measured.append(measure([pair], find)[:3])
        if alarms:
            wrong += mismatched_scores(pairs, i, find)
    true_size, own_size, scores = np.concatenate(measured, axis=1)
    names, cells = [pair.sequence for pair in pairs], []
    for overlaps in (true_size, own_size):
        low, high = interval(success(overlaps), names)
        cells.append(f"{success(overlaps).mean():.3f} ({low:.2f} to {high:.2f})")
    correct = own_size > 0.3
    cells.append(f"{(scores[correct] >= threshold).sum()} of {correct.sum()}")
    if alarms:
        cells.append(f"{sum(score >= threshold for score in wrong)} of {len(wrong)}")
    return cells


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="checkpoint of PlaceMatcher")
    parser.add_argument("--weights", help="file with the weights of the network before tuning")
    parser.add_argument("--pairs", type=Path, help="folder of pairs, as for benchmark_templates.py")
    parser.add_argument("--source", default="photographs", help="data.source of the training")
    parser.add_argument("--alarms", action="store_true", help="count false alarms as well")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    data = SyntheticPlaces(options.source, batches=CALIBRATION)
    data.setup("fit")
    data.setup("test")
    tuned = PlaceMatcher.load_from_checkpoint(options.checkpoint, map_location="cpu").eval()
    untuned_net = untuned(tuned, options.weights, data)
    title = f"{len(data.sets['test'])} places"
    table = Table("features", "recall@1", "@5", "@10", "AP", title=title)
    for name, net, embed in (
        ("before, pooled", untuned_net, untuned_net.pooled),
        ("tuned, pooled", tuned.net, tuned.net.pooled),
        ("tuned, embedding", tuned.net, tuned.net.embedding),
    ):
        table.add_row(name, *(f"{value:.3f}" for value in retrieval(net, embed, data)))
    console.print(table)
    sets = {"from the test photographs": synthetic_pairs(data.sets["test"].images)}
    if options.pairs is not None:
        sets[str(options.pairs.name)] = read_pairs(options.pairs)
    shared = {"threshold": 0.0, "max_detections": 1, "stride": tuned.hparams["stride"]}
    before = {"features": tuned.hparams["features"], "layers": tuned.hparams["layers"]}
    finders = {
        "before": TemplateMatcher(**before, weights=options.weights, **shared).eval(),
        "tuned": TemplateMatcher(options.checkpoint, **shared).eval(),
    }
    for title, pairs in sets.items():
        table = Table("features", "AUC, true size", "AUC, own size", "correct and kept",
                      "false alarms", title=f"{len(pairs)} templates, {title}")  # fmt: skip
        for name, finder in finders.items():
            cells = templates(finder, pairs, options.threshold, options.alarms)
            table.add_row(name, *cells)
            Console(width=140, stderr=True).print(name, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
