"""What tuning gained: the table of docs/benchmarks.md, "Tuned features".

patchmatch fit -c configs/config_template_train.yaml
python3 dev/benchmark_tuning.py --checkpoint CHECKPOINT
python3 dev/benchmark_tuning.py --checkpoint CHECKPOINT --weights vgg19.pth --pairs FOLDER

Compares the features of a checkpoint with the same ones before they were tuned. Places are found
again among those of photographs that nobody trained on; templates are cut out of the same
photographs and sought in other views of them; --pairs adds those of benchmark_templates.py.
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
    interval,
    measure,
    ours,
    read_pairs,
    scores_of_others,
    success,
)

from patchmatch.synthetic.views import draw_homography, jitter_illumination, warp_view
from patchmatch.templates.backbones import read_weights
from patchmatch.templates.matcher import TemplateMatcher
from patchmatch.templates.place_matcher import PlaceMatcher
from patchmatch.templates.retrieval import Retrieval
from patchmatch.templates.synthetic_places import SyntheticPlaces
from patchmatch.templates.tuned_net import TunedFeatures

EACH = 20  # templates of a photograph
SIDES = (32, 100)  # of a template in pixels
TURN, ZOOM, TILT, LIGHT = 15.0, 1.25, 0.06, 0.5  # of the view in which it is sought
PLAIN = 12.0  # grey levels: a template that deviates less is not asked for
CALIBRATION = 20  # batches, for mean and deviation of channels that were never trained


def made_pairs(pictures: list[np.ndarray], seed: int = 0) -> list[Pair]:
    """Cut templates out of pictures, and make other views of these in which they are sought."""
    pairs = []
    for number, picture in enumerate(pictures):
        side = min(picture.shape[:2])
        for i in range(EACH):
            rng = np.random.default_rng((seed, number, i))
            x0, y0 = (int(rng.integers(0, length - side + 1)) for length in picture.shape[1::-1])
            homography = draw_homography(side, TURN, ZOOM, TILT, rng)
            scene = jitter_illumination(warp_view(picture, (x0, y0), homography, side), LIGHT, rng)
            place = picture[y0 : y0 + side, x0 : x0 + side]
            while True:
                width, height = (int(length) for length in rng.integers(*SIDES, 2))
                x, y = int(rng.integers(side - width)), int(rng.integers(side - height))
                template = place[y : y + height, x : x + width]
                right, below = x + width, y + height
                corners = np.array([[x, y], [right, y], [right, below], [x, below]]) - 0.5
                seen = cv2.perspectiveTransform(corners[None], homography)[0] + 0.5
                if seen.min() >= 0 and seen.max() <= side and template.std() >= PLAIN:
                    break
            truth = (*seen.min(axis=0).tolist(), *seen.max(axis=0).tolist())
            pairs.append(Pair(str(number), template, np.uint8(255 * scene), truth))
    return pairs


@torch.no_grad()
def untuned(matcher: PlaceMatcher, weights: str | None, data: SyntheticPlaces) -> TunedFeatures:
    """Return the features of a checkpoint as they were before."""
    had = matcher.hparams
    net = TunedFeatures(had["features"], had["layers"], had["stride"], 0, had["embedding"])
    read_weights(net.backbone, had["features"], weights)
    net.train()
    for i, batch in enumerate(data.train_dataloader()):
        if i < CALIBRATION:
            net(batch["image"])
    return net.eval()


@torch.no_grad()
def retrieval(
    net: TunedFeatures, embed: Callable[[list[Tensor]], Tensor], data: SyntheticPlaces
) -> list[float]:
    """Return recall at 1, 5, 10 and average precision on the places of the test set."""
    metric = Retrieval()
    for batch in data.test_dataloader():
        embedding = F.normalize(embed(net(batch["image"])), dim=1)
        metric.update(embedding, batch["place"], batch["query"])
    return [value.item() for value in metric.compute().values()]


def templates(
    matcher: TemplateMatcher, pairs: list[Pair], threshold: float, alarms: bool
) -> list[str]:
    """Return AUC with true and own size, right answers kept, and false alarms if asked for."""
    find, measured, wrong = ours(matcher), [], []
    for i, pair in enumerate(pairs):  # all that is sought in a scene, for it is described once
        measured.append(measure([pair], find)[:3])
        if alarms:
            wrong += scores_of_others(pairs, i, find)
    true_size, own_size, scores = np.concatenate(measured, axis=1)
    names, cells = [pair.sequence for pair in pairs], []
    for overlaps in (true_size, own_size):
        low, high = interval(success(overlaps), names)
        cells.append(f"{success(overlaps).mean():.3f} ({low:.2f} to {high:.2f})")
    right = own_size > 0.3
    cells.append(f"{(scores[right] >= threshold).sum()} of {right.sum()}")
    if alarms:
        cells.append(f"{sum(score >= threshold for score in wrong)} of {len(wrong)}")
    return cells


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="what fit wrote")
    parser.add_argument("--weights", help="file with the weights of the network before")
    parser.add_argument("--pairs", type=Path, help="folder of pairs, as benchmark_templates.py has")
    parser.add_argument("--source", default="photographs", help="as data.source in training")
    parser.add_argument("--alarms", action="store_true", help="count false alarms too")
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    data = SyntheticPlaces(options.source, batches=CALIBRATION)
    data.setup("fit")
    data.setup("test")
    tuned = PlaceMatcher.load_from_checkpoint(options.checkpoint, map_location="cpu").eval()
    plain = untuned(tuned, options.weights, data)
    title = f"{len(data.sets['test'])} places"
    table = Table("features", "recall@1", "@5", "@10", "AP", title=title)
    for name, net, embed in (
        ("before, pooled", plain, plain.pooled),
        ("tuned, pooled", tuned.net, tuned.net.pooled),
        ("tuned, embedding", tuned.net, tuned.net.embedding),
    ):
        table.add_row(name, *(f"{value:.3f}" for value in retrieval(net, embed, data)))
    console.print(table)
    sets = {"made of the test photographs": made_pairs(data.sets["test"].pictures)}
    if options.pairs is not None:
        sets[str(options.pairs.name)] = read_pairs(options.pairs)
    always = {"threshold": 0.0, "max_detections": 1, "stride": tuned.hparams["stride"]}
    before = {"features": tuned.hparams["features"], "layers": tuned.hparams["layers"]}
    finders = {
        "before": TemplateMatcher(**before, weights=options.weights, **always).eval(),
        "tuned": TemplateMatcher(options.checkpoint, **always).eval(),
    }
    for title, pairs in sets.items():
        table = Table("features", "AUC, true size", "AUC, own size", "right and kept",
                      "false alarms", title=f"{len(pairs)} templates, {title}")  # fmt: skip
        for name, finder in finders.items():
            cells = templates(finder, pairs, options.threshold, options.alarms)
            table.add_row(name, *cells)
            Console(width=140, stderr=True).print(name, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
