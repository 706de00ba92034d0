"""Calibrate the confidence of the shift matcher, and measure how reliable it is.

python3 dev/calibrate_shift_matcher.py
python3 dev/calibrate_shift_matcher.py --fit

Measures, on frame pairs generated from the bundled photographs, how often blocks are right by
their confidence, and draws the curve. With --fit, fits the constants of ``shift/decision.py`` by
maximum likelihood on frame pairs generated from digits, prints them and measures with them.

In a generated pair up to three things move over a still background, by one pixel or by 2 to 8, or,
rarely, the whole frame moves. Contrast, blur and noise vary, down to walls without texture.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_transfer import BUNDLED
from frame_clips import clip_of

from patchmatch import load_shift_matcher
from patchmatch.ops.blocks import block_boxes
from patchmatch.shift import decision
from patchmatch.shift.decision import Evidence, discount_noise, noise_variance
from patchmatch.shift.matcher import ShiftMatcher
from patchmatch.shift.ops import LARGER, SHIFTS, STILL
from patchmatch.synthetic.dead_leaves import dead_leaves_images
from patchmatch.synthetic.digits import load_digits

SIDE, MARGIN = 192, 10  # pixels: of a frame, and around it
REACH = 8  # pixels: the largest displacement
WHOLE_SHARE, STILL_SCENES = 0.04, 0.4  # of the pairs
UNKNOWN = -1  # the class of a block with several motions
MAJORITY, TRACE = 0.8, 0.02  # shares of a block
NOISES = {"white": 0.4, "smooth": 0.1, "signal-dependent": 0.15, "JPEG": 0.15, "white, JPEG": 0.2}
EDGES = (0.0, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999, 1.0)
BARS_SHARE = 0.1  # of the pairs
STEPS, BATCH = 600, 20_000


class Blocks(NamedTuple):
    """What the network says about N blocks, and the truth.

    Attributes:
        logits: (N, 10), before temperature and prior.
        residual: (9, C, N), in units of the noise of the frame pair.
        label: (N,) long, index into ``SHIFTS``, ``LARGER`` or ``UNKNOWN``.
    """

    logits: Tensor
    residual: Tensor
    label: Tensor


class Decision(nn.Module):
    """The decision for blocks of frames as a function of its constants."""

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(decision.TEMPERATURE)))
        self.larger, self.shift = (
            nn.Parameter(
                torch.tensor([math.log(e.ratio), e.steepness, *map(_logit, (e.low, e.high))])
            )
            for e in (decision.LARGER_EVIDENCE, decision.SHIFT_EVIDENCE)
        )

    def forward(self, blocks: Blocks, prior_still: float) -> Tensor:
        """Return the probability (N, 10) of the shifts and of ``larger``."""
        prior = torch.zeros(len(SHIFTS) + 1)
        prior[STILL] = math.log(prior_still / (1 - prior_still) * len(SHIFTS))
        probability = (blocks.logits / self.log_temperature.exp() + prior).softmax(dim=1)
        noise = torch.ones(blocks.residual.shape[1])
        return discount_noise(probability, blocks.residual, noise, *self.evidence())

    def evidence(self) -> tuple[Evidence, Evidence]:
        """Return the evidence for ``larger`` and for a shift."""
        larger, shift = (
            Evidence(p[0].exp(), p[1], p[2].sigmoid(), p[3].sigmoid())
            for p in (self.larger, self.shift)
        )
        return larger, shift


def _logit(share: float) -> float:
    share = min(share, 0.999)
    return math.log(share / (1 - share))


def fit(blocks: Blocks, prior_still: float) -> Decision:
    """Return the most likely constants of the decision."""
    torch.manual_seed(0)
    known = blocks.label != UNKNOWN
    blocks = Blocks(blocks.logits[known], blocks.residual[:, :, known], blocks.label[known])
    model = Decision()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, STEPS)
    for _ in track(range(STEPS), "fitting"):
        i = torch.randint(len(blocks.label), (BATCH,))
        probability = model(
            Blocks(blocks.logits[i], blocks.residual[:, :, i], blocks.label[i]), prior_still
        )
        loss = -probability.gather(1, blocks.label[i, None]).clamp_min(1e-9).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def generate_blocks(
    matcher: ShiftMatcher, images: Sequence[np.ndarray], count: int, title: str
) -> Blocks:
    """Match generated frame pairs; images are (H, W) float32 in [0, 1]."""
    boxes = block_boxes(SIDE, SIDE, matcher.block, matcher.stride, edges=True)
    found: list[Blocks] = []
    for index in track(range(count), title):
        rng = np.random.default_rng((1, index))
        frames, labels = generate_pair(images, rng)
        clip = clip_of(add_noise(frames, rng), matcher.device)
        with torch.inference_mode():
            (scores,) = matcher.match_frames(clip["frames"], clip["pairs"])
            residual, total = (x[:, 0].flatten(2).cpu() for x in (scores.residual, scores.total))
            residual = residual / noise_variance(residual, total)[:, None]
            logits = scores.logits[0].flatten(1).T.float().cpu()
        found.append(Blocks(logits, residual, label_blocks(labels, boxes)))
    logits, residuals, labels = zip(*found, strict=True)
    return Blocks(torch.cat(logits), torch.cat(residuals, dim=2), torch.cat(labels))


def generate_pair(
    images: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return two frames (SIDE, SIDE), and for both the class of every pixel."""
    side = SIDE + 2 * MARGIN
    scene = _surface(images, side, rng)
    if rng.random() < 0.5:
        part = cv2.GaussianBlur(_shape(side, rng).astype(np.float32), (0, 0), 1)
        scene += (_surface(images, side, rng) - scene) * part
    frames, labels = [scene, scene.copy()], [np.full((side, side), STILL) for _ in range(2)]
    kind = rng.random()
    if kind < WHOLE_SHARE:
        move, label = _displacement(rng)
        frames[1] = np.roll(scene, move, (0, 1))
        labels = [np.full((side, side), label) for _ in range(2)]
    elif kind < 1 - STILL_SCENES:
        for _ in range(int(rng.integers(1, 4))):
            surface, shape = _surface(images, side, rng), _shape(side, rng)
            move, label = _displacement(rng)
            opacity = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), rng.choice([0.3, 0.7]))
            for time, by in enumerate(((0, 0), move)):
                alpha, texture, inside = (np.roll(x, by, (0, 1)) for x in (opacity, surface, shape))
                frames[time] = frames[time] + (texture - frames[time]) * alpha
                labels[time][inside] = label
    if rng.random() < 0.3:
        frames[1] = frames[1] * (1 + rng.normal(0, 0.02))
    inner = (slice(MARGIN, -MARGIN),) * 2
    return [frame[inner] for frame in frames], [label[inner] for label in labels]


def _surface(images: Sequence[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a part of an image with random scale, contrast and blur, (side, side)."""
    image = images[rng.integers(len(images))]
    smallest = min(image.shape)
    size = max(side, int(smallest * rng.uniform(0.7, 2.2)))
    shrink = cv2.INTER_AREA if size < smallest else cv2.INTER_CUBIC
    image = cv2.resize(image, (size, size), interpolation=shrink)
    y, x = rng.integers(0, size - side + 1, 2)
    part = np.rot90(image[y : y + side, x : x + side], int(rng.integers(4)))
    contrast = math.exp(rng.uniform(math.log(0.03), 0))
    if rng.random() < 0.4:
        sigma = math.exp(rng.uniform(math.log(0.5), math.log(8)))
        part = cv2.GaussianBlur(np.ascontiguousarray(part), (0, 0), sigma)
    return ((part - part.mean()) * contrast + rng.uniform(0.15, 0.85)).astype(np.float32)


def _shape(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a rectangle or an ellipse of 16 to 90 pixels, (side, side) bool."""
    mask = np.zeros((side, side), np.uint8)
    width, height = (int(v) for v in np.exp(rng.uniform(math.log(16), math.log(90), 2)))
    x, y = (int(v) for v in rng.integers(10, side - 10, 2))
    if rng.random() < 0.5:
        axes = (width // 2 + 1, height // 2 + 1)
        cv2.ellipse(mask, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    else:
        corner = (x - width // 2, y - height // 2)
        cv2.rectangle(mask, corner, (x + width // 2, y + height // 2), 1, -1)
    return mask.astype(bool)


def _displacement(rng: np.random.Generator) -> tuple[tuple[int, int], int]:
    """Return a displacement as dy, dx, half of them within one pixel, and its class."""
    reach = (1, REACH)[int(rng.integers(2))]
    while True:
        dx, dy = (int(d) for d in rng.integers(-reach, reach + 1, 2))
        length = max(abs(dx), abs(dy))
        if length == 1 and reach == 1:
            return (dy, dx), SHIFTS.index((dx, dy))
        if length > 1:
            return (dy, dx), LARGER


def add_noise(frames: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return the frames as gray levels from 0 to 255 with noise of a random kind."""
    kind = rng.choice(list(NOISES), p=list(NOISES.values()))
    sigma = math.exp(rng.uniform(math.log(0.5), math.log(8))) / 255
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
    if kind in ("smooth", "JPEG"):
        sigma = min(sigma, 4 / 255)
    noisy = []
    for frame in frames:
        noise = rng.normal(0, 1, frame.shape).astype(np.float32)
        if kind == "smooth":
            noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
            noise /= noise.std()
        if kind == "signal-dependent":
            noise *= np.sqrt(frame.clip(0.02, 1))
        levels = np.round(255 * (frame + sigma * noise).clip(0, 1)).astype(np.uint8)
        if "JPEG" in kind:
            code = cv2.imencode(".jpg", levels, quality)[1]
            levels = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
        noisy.append(levels.astype(np.float32))
    if rng.random() < BARS_SHARE:  # as of a film in another format
        width, level = int(rng.integers(8, SIDE // 4)), int(rng.choice([0, 16, 255]))
        for frame in noisy:
            frame[:width] = frame[-width:] = level
    return noisy


def label_blocks(labels: Sequence[np.ndarray], boxes: Tensor) -> Tensor:
    """Return the class of each block from those of the pixels of both frames."""
    classes = []
    for x0, y0, x1, y1 in boxes.tolist():
        counts = [np.bincount(x[y0:y1, x0:x1].ravel(), minlength=LARGER + 1) for x in labels]
        shares = np.stack(counts) / ((x1 - x0) * (y1 - y0))
        least = shares.min(axis=0)
        label = int(least.argmax())
        enough = 1 - TRACE if label == STILL else MAJORITY
        classes.append(label if least[label] >= enough else UNKNOWN)
    return torch.tensor(classes)


def show(probability: Tensor, label: Tensor, path: Path) -> None:
    """Print how often blocks are right by their confidence, and draw the curve."""
    clear = label != UNKNOWN
    confidence, answer = probability[clear].max(dim=1)
    right = (answer == label[clear]).double()
    moved = answer != STILL
    table = Table("confidence", "blocks", "mean", "right", "changed blocks", "mean", "right")
    points: dict[str, list[tuple[float, float]]] = {"all blocks": [], "called changed": []}
    error = 0.0
    for low, high in itertools.pairwise(EDGES):
        within = (confidence >= low) & (confidence < high if high < 1 else confidence <= high)
        row = []
        for name, chosen in zip(points, (within, within & moved), strict=True):
            count = int(chosen.sum())
            row += [str(count)]
            if count < 20:
                row += ["", ""]
                continue
            points[name].append((float(confidence[chosen].mean()), float(right[chosen].mean())))
            row += [f"{value:.3f}" for value in points[name][-1]]
        if within.any():
            error += float((confidence[within].mean() - right[within].mean()).abs() * within.sum())
        table.add_row(f"{low} to {high}", *row)
    Console(width=130).print(table, f"expected calibration error {error / len(right):.4f}")
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 3.6), layout="constrained")
    axes.plot([0.3, 1], [0.3, 1], color="gray", linewidth=1, linestyle="--")
    for (name, values), marker in zip(points.items(), "os", strict=True):
        axes.plot(*zip(*values, strict=True), marker=marker, markersize=4, label=name)
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0.3, 1.02))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    Console().print(f"curve: {path}")


def main() -> None:
    """Fit if asked to, measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ckpt_path", help="checkpoint; default: the shipped weights")
    parser.add_argument("--fit", action="store_true", help="fit the constants on digits first")
    parser.add_argument("--pairs", type=int, default=1000, help="frame pairs to measure on")
    parser.add_argument("--fit_pairs", type=int, default=2000, help="frame pairs to fit on")
    parser.add_argument("--output", type=Path, default=Path("data/shift_reliability.png"))
    args = parser.parse_args()
    matcher = load_shift_matcher(args.ckpt_path).matcher
    model = Decision()
    if args.fit:
        digits = dead_leaves_images(load_digits("embedded", "data"), 400, seed=0)
        images = [image.clip(0, 1) for image in digits]
        blocks = generate_blocks(matcher, images, args.fit_pairs, "pairs of digits")
        model = fit(blocks, matcher.prior_still).requires_grad_(False)
        Console().print(f"TEMPERATURE = {float(model.log_temperature.exp()):.2f}")
        for name, evidence in zip(("LARGER", "SHIFT"), model.evidence(), strict=True):
            values = ", ".join(f"{float(value):.2f}" for value in evidence)
            Console().print(f"{name}_EVIDENCE = Evidence({values})")
    photographs = [image for load in BUNDLED.values() for image in load()]
    images = [np.float32(x / 255) for x in photographs if min(x.shape) > SIDE // 2]
    blocks = generate_blocks(matcher, images, args.pairs, "pairs of photographs")
    with torch.inference_mode():
        show(model(blocks, matcher.prior_still), blocks.label, args.output)


if __name__ == "__main__":
    main()
