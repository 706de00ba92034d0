"""Training and prediction with Differentiable PatchMatch."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from patchmatch.core.errors import InputError
from patchmatch.nnf.differentiable.features import PatchFeatures
from patchmatch.nnf.differentiable.loss import candidate_loss, patch_ground_truth, subpixel_loss
from patchmatch.nnf.differentiable.net import DifferentiablePatchMatchNet, SearchState
from patchmatch.nnf.differentiable.warped_pairs import WarpedBatch
from patchmatch.nnf.gain_offset import GainOffset, apply_gain_offset, estimate_gain_offset
from patchmatch.nnf.grid import crop_to_patches, pad_to_image
from patchmatch.nnf.matcher import DenseMatcher, require_seed
from patchmatch.nnf.patches import Field
from patchmatch.ops.contrast import normalize_contrast

FEATURES = ("learned", "rgb", "contrast")
#: Options of prediction, which do not depend on training and are not stored in checkpoints.
SEARCH_OPTIONS = (
    *("iterations", "patch_size", "k", "samples", "steps", "max_displacement", "features"),
    *("gain_offset", "norm", "seed", "both_ways", "tolerance"),
)
BYTES_PER_PARTICLE = 130  # measured, for every particle evaluated for a pixel in an iteration
MAX_MEMORY = 8e9  # bytes: larger searches raise an error


class DifferentiablePatchMatch(DenseMatcher):
    """Dense correspondence by Differentiable PatchMatch, with features trained through the search.

    A first search compares features that are invariant to gain. Its matches give an estimate of
    gain and offset, with which image 0 is corrected for the second search.

    Args:
        channels: Number of learned features of a pixel.
        context: Side in pixels of the patch that the learned features depend on.
        lr: Highest learning rate of AdamW; it warms up and decays over the whole training.
        weight_decay: Weight decay of AdamW.
        train_iterations: Iterations of the search in training.
        iterations: Iterations of the search in prediction.
        patch_size: Side in pixels of the patches that ``rgb`` and ``contrast`` compare.
        k: Number of different matches of each pixel, best first.
        samples: Random particles evaluated for each pixel in an iteration.
        steps: Distances in pixels of the neighbours whose particles are evaluated.
        max_displacement: Largest displacement in x and in y, in pixels; null searches all of
            image 1.
        features: What patches are compared by. ``learned``: the trained features; ``rgb``: the
            pixels, with any number of channels; ``contrast``: each channel after local contrast
            normalisation. Only ``learned`` is trained.
        gain_offset: Estimate and correct gain and offset of each channel between the images, for
            ``learned`` features.
        norm: ``l2`` sums squared differences, ``l1`` absolute ones.
        seed: Seed of the search.
        both_ways: Search image 0 for image 1 as well, and report which matches are consistent.
            Takes twice the time.
        tolerance: Largest distance in pixels between a pixel and where its match leads back, for
            both_ways.
    """

    predict_source = "--model DifferentiablePatchMatch --data.base_dir FOLDER"
    shipped_weights = "differentiable_patch_match.ckpt"

    def __init__(
        self,
        channels: int = 64,
        context: int = 15,
        lr: float = 4e-3,
        weight_decay: float = 1e-4,
        train_iterations: int = 4,
        iterations: int = 8,
        patch_size: int = 7,
        k: int = 1,
        samples: int = 4,
        steps: Sequence[int] = (1, 4),
        max_displacement: int | None = None,
        features: str = "learned",
        gain_offset: bool = True,
        norm: str = "l2",
        seed: int = 0,
        both_ways: bool = False,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(patch_size, both_ways, tolerance)
        self.save_hyperparameters(ignore=list(SEARCH_OPTIONS))
        positive = {"iterations": iterations, "train_iterations": train_iterations, "k": k}
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, got {features!r}")
        require_seed(seed)
        self.net = PatchFeatures(channels, context)
        learned = features == "learned"
        self.search = DifferentiablePatchMatchNet(
            iterations=iterations,
            particles=k,
            samples=samples,
            steps=tuple(steps),
            max_displacement=max_displacement,
            patch_size=1 if learned else patch_size,
            norm=norm,
        )
        self.lr, self.weight_decay, self.train_iterations = lr, weight_decay, train_iterations
        self.features, self.seed, self.norm = features, seed, norm
        # settings of the run, with which it may be resumed
        self.iterations, self.k, self.samples, self.steps = iterations, k, samples, tuple(steps)
        self.max_displacement = max_displacement
        self.gain_offset = gain_offset and learned
        #: Side of the patch that the cost of a pixel depends on.
        self.support = self.net.patch_size if learned else patch_size

    def bytes_per_pixel(self, channels: int) -> int:
        """Return the approximate memory that matching requires per pixel of either image."""
        return BYTES_PER_PARTICLE * self.search.num_evaluated

    def subpixel_flow(self, image0: Tensor, image1: Tensor, field: Field) -> Tensor:
        """Return the expected flow around the best match of every pixel, (B, 2, H, W) float.

        Args:
            image0: Image 0 of the field.
            image1: Image 1 of the field.
            field: A result of ``fields``.
        """
        if self.gain_offset:
            gain_offset = estimate_gain_offset(image0, image1, field.flow[:, 0])
            image0 = apply_gain_offset(image0, gain_offset)
        particles = crop_to_patches(field.flow, self.support)
        features0, features1 = self.extract_features(image0), self.extract_features(image1)
        return pad_to_image(self.search.expected(features0, features1, particles), self.support)

    def extract_features(self, image: Tensor) -> Tensor:
        """Return the feature maps of images, (B, C, H, W) in [0, 1]."""
        if self.features == "learned":
            return self.net(image)
        if self.features == "rgb":
            return image
        return normalize_contrast(image.flatten(0, 1)[:, None]).view_as(image)

    def training_step(self, batch: WarpedBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss, error = self.compute_loss(batch)
        count = len(batch["image0"])
        self.log("train/loss", loss, batch_size=count)
        self.log("train/epe", error.mean(), batch_size=len(error), prog_bar=True)
        temperature = self.search.evaluation.log_temperature.exp()
        self.log("train/temperature", temperature, batch_size=count)
        return loss

    def validation_step(self, batch: WarpedBatch, batch_idx: int) -> None:
        """Log the end-point error of a validation batch."""
        self._log_errors("val", batch)

    def test_step(self, batch: WarpedBatch, batch_idx: int) -> None:
        """Log the end-point error of a test batch."""
        self._log_errors("test", batch)

    def _log_errors(self, stage: str, batch: WarpedBatch) -> None:
        *_, field = self.fields(batch["image0"], batch["image1"])
        true_flow, valid = patch_ground_truth(batch["flow"], batch["valid"], self.support)
        flow = crop_to_patches(field.flow[:, 0], self.support)
        error = (flow - true_flow).norm(dim=1)[valid]
        self.log(f"{stage}/epe", error.mean(), batch_size=len(error), prog_bar=True)
        self.log(f"{stage}/within_one", (error < 1).float().mean(), batch_size=len(error))

    def compute_loss(self, batch: WarpedBatch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and the integer flow's end-point errors where valid.

        Gain and offset are corrected by the true matches, so that features do not have to be
        invariant to them.
        """
        image0, image1 = batch["image0"], batch["image1"]
        rounded = batch["flow"].round().long()
        gain_offset = estimate_gain_offset(image0, image1, rounded, batch["valid"])
        features0, features1 = self.net(apply_gain_offset(image0, gain_offset)), self.net(image1)
        true_flow, valid = patch_ground_truth(batch["flow"], batch["valid"], self.support)
        loss, particles = torch.zeros((), device=true_flow.device), None
        for state in self.search(features0, features1, iterations=self.train_iterations):
            loss = loss + candidate_loss(self.search, features0, features1, state, true_flow, valid)
            particles = state.particles
        assert particles is not None
        flow = self.search.expected(features0, features1, particles)
        loss = loss / self.train_iterations + subpixel_loss(flow, true_flow, valid)
        return loss, (particles[:, 0] - true_flow).norm(dim=1)[valid]

    @torch.no_grad()
    def fields(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> Iterator[Field]:
        """Yield the nearest-neighbour field after each iteration.

        The match of a pixel is that of the patch centred on it. A pixel whose patch would cross
        the border gets flow and cost of the nearest pixel with a whole patch.

        Args:
            image0: (B, C, H, W) in [0, 1].
            image1: (B, C, H1, W1); the size may differ.
            valid0: (B, H, W) bool, pixels to match; the cost of all others is infinite.
            valid1: (B, H1, W1) bool, pixels that a matched patch may be centred on.

        Raises:
            InputError: If an image is smaller than a patch, the channels do not fit, or the search
                requires too much memory.
        """
        self._require_searchable(image0, image1)
        if self.gain_offset:
            gain_offset = self.find_gain_offset(image0, image1, valid0, valid1)
            image0 = apply_gain_offset(image0, gain_offset)
        features0, features1 = self.extract_features(image0), self.extract_features(image1)
        for state in self._search(features0, features1, valid0, valid1):
            flow, cost = (pad_to_image(x, self.support) for x in (state.particles, state.cost))
            if valid0 is not None:
                cost = cost.masked_fill(~valid0[:, None], torch.inf)
            yield Field(flow, cost)

    def find_gain_offset(
        self,
        image0: Tensor,
        image1: Tensor,
        valid0: Tensor | None = None,
        valid1: Tensor | None = None,
    ) -> GainOffset:
        """Return gain and offset from image 0 to image 1, found by half the search iterations.

        Args:
            image0: As in ``fields``.
            image1: As in ``fields``.
            valid0: As in ``fields``.
            valid1: As in ``fields``.
        """
        features0, features1 = (self.net(x, gain_invariant=True) for x in (image0, image1))
        iterations = (self.search.iterations + 1) // 2
        *_, state = self._search(features0, features1, valid0, valid1, iterations)
        flow = pad_to_image(state.particles[:, 0], self.support)
        return estimate_gain_offset(image0, image1, flow, valid0)

    def _search(
        self,
        features0: Tensor,
        features1: Tensor,
        valid0: Tensor | None,
        valid1: Tensor | None,
        iterations: int | None = None,
    ) -> Iterator[SearchState]:
        """Yield the states of a search with masks on the pixel grid."""
        valid0, valid1 = (
            None if valid is None else crop_to_patches(valid, self.support)
            for valid in (valid0, valid1)
        )
        return self.search(
            features0,
            features1,
            valid0=valid0,
            valid1=valid1,
            generator=torch.Generator().manual_seed(self.seed),
            iterations=iterations,
        )

    def _require_searchable(self, image0: Tensor, image1: Tensor) -> None:
        channels0, channels1 = image0.shape[1], image1.shape[1]
        if channels0 != channels1:
            raise InputError(
                f"image 0 has {channels0} channels and image 1 has {channels1}; give both in "
                "colour or both in gray"
            )
        if self.features == "learned" and channels0 not in (1, 3):
            raise InputError(
                f"images must have 1 or 3 channels for learned features, got {channels0}; give "
                "--model.features rgb"
            )
        for i, image in enumerate((image0, image1)):
            height, width = image.shape[-2:]
            if min(height, width) < self.support:
                raise InputError(
                    f"image {i} of {width}x{height} pixels is smaller than a patch of "
                    f"{self.support}; give larger images, or --model.features rgb and a smaller "
                    "--model.patch_size"
                )
        batch, _, height, width = image0.shape
        required = self.bytes_per_pixel(channels0) * batch * height * width
        if required > MAX_MEMORY:
            scale = (MAX_MEMORY / required) ** 0.5
            raise InputError(
                f"image 0 of {width}x{height} pixels would require {required / 1e9:.0f} GB of "
                f"memory, at most {MAX_MEMORY / 1e9:.0f} are allowed; reduce it to "
                f"{int(width * scale)}x{int(height * scale)}, or give smaller batches or fewer "
                "--model.steps"
            )
