"""Fit the confidence of the flow of pixels on synthetic scenes of digits.

python3 dev/calibrate_flow.py [--scenes 32]

Prints the constants of patchmatch/motion/dense_confidence.py, and how well the confidence
separates correct from wrong pixels of other scenes: the area under the ROC curve, and the expected
calibration error in ten bins. A pixel is correct if its error is below one pixel and it is visible
in the later frame.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchmatch import load_motion_matcher
from patchmatch.motion.data import MovingDigits, MovingScenes
from patchmatch.motion.dense import dense_flow
from patchmatch.motion.dense_confidence import STEP, confidence_features, targets_inside
from patchmatch.motion.layered_scenes import degrade_frames, make_scene
from patchmatch.motion.matcher import MotionMatcher

WITHIN = 1.0  # pixels


def measured(
    matcher: MotionMatcher, scenes: MovingScenes, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of pixels (N, 4), and whether their flow is correct (N,)."""
    features, correct = [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        scene = make_scene(scenes.textures, scenes.masks, scenes.side, rng)
        frames = [
            torch.from_numpy(frame.astype(np.float32) / 255)[None, None]
            for frame in degrade_frames(scene.frame0, scene.frame1, rng)
        ]
        with torch.inference_mode():
            features0, features1 = (matcher.net.extract_features(frame) for frame in frames)
            pair, logits = matcher.pixel_inputs(frames[0], features0, features1)
        flow = dense_flow(pair)
        found = np.stack(confidence_features(pair, flow, logits), axis=-1)
        error = np.linalg.norm(flow - scene.flow, axis=-1)
        inside = targets_inside(flow)[::STEP, ::STEP]
        features.append(found[inside])
        correct.append(((error < WITHIN) & scene.visible)[::STEP, ::STEP][inside])
    return np.concatenate(features), np.concatenate(correct)


def calibration_error(probability: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error in ten bins."""
    bins = np.minimum((probability * 10).astype(int), 9)
    weighted = [
        abs(probability[bins == i].mean() - correct[bins == i].mean()) * (bins == i).mean()
        for i in np.unique(bins)
    ]
    return float(sum(weighted))


def main() -> None:
    """Print the constants and their quality."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=32, help="scenes to fit on, and to test on")
    options = parser.parse_args()
    matcher = load_motion_matcher(device="cpu").matcher
    data = MovingDigits(canvases=80, train_scenes=options.scenes, eval_scenes=options.scenes)
    for stage in ("fit", "test"):
        data.setup(stage)
    fitted = LogisticRegression(C=10, max_iter=500)
    features, correct = measured(matcher, data.sets["train"], options.scenes, 5)
    fitted.fit(features, correct)
    print("WEIGHTS =", [round(float(weight), 3) for weight in fitted.coef_[0]])
    print("BIAS =", round(float(fitted.intercept_[0]), 3))
    features, correct = measured(matcher, data.sets["test"], options.scenes, 6)
    probability = fitted.predict_proba(features)[:, 1]
    print(
        f"other scenes: {correct.mean():.1%} of the pixels are correct, area under the ROC curve "
        f"{roc_auc_score(correct, probability):.3f}, calibration error "
        f"{calibration_error(probability, correct):.3f}"
    )


if __name__ == "__main__":
    main()
