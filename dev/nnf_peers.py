"""Other implementations of nearest-neighbour fields, measured by benchmark_nnf.py."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

PATCH = 7
Method = Callable[[Tensor, Tensor], Tensor]  # images (1, 3, H, W) to flow (1, 2, H, W)


def scanline_patch_match(iterations: int) -> Method:
    """Return PatchMatch in the scanline order of Barnes et al. (2009), compiled by numba."""
    import numba

    # numba compiles these to faster code than a Generator
    seed, draw = np.random.seed, np.random.randint

    @numba.njit(fastmath=True)
    def cost_of(a: Any, b: Any, y0: int, x0: int, y1: int, x1: int, bound: float) -> float:
        total = np.float32(0)
        for dy in range(PATCH):
            for dx in range(PATCH):
                for channel in range(3):
                    difference = a[y0 + dy, x0 + dx, channel] - b[y1 + dy, x1 + dx, channel]
                    total += difference * difference
            if total >= bound:
                break
        return total

    @numba.njit(fastmath=True)
    def search(a: Any, b: Any, iterations: int) -> Any:
        seed(0)
        height, width = a.shape[0] - PATCH + 1, a.shape[1] - PATCH + 1
        rows, columns = b.shape[0] - PATCH + 1, b.shape[1] - PATCH + 1
        targets = np.empty((height, width, 2), np.int64)
        costs = np.empty((height, width), np.float32)
        for y in range(height):
            for x in range(width):
                targets[y, x, 0] = draw(0, rows)
                targets[y, x, 1] = draw(0, columns)
                costs[y, x] = cost_of(a, b, y, x, targets[y, x, 0], targets[y, x, 1], np.inf)
        for number in range(iterations):
            step = 1 if number % 2 == 0 else -1  # even iterations run forwards, odd ones backwards
            for i in range(height):
                y = i if step == 1 else height - 1 - i
                for j in range(width):
                    x = j if step == 1 else width - 1 - j
                    best, best_y, best_x = costs[y, x], targets[y, x, 0], targets[y, x, 1]
                    for axis in range(2):
                        ny, nx = (y - step, x) if axis == 0 else (y, x - step)
                        if 0 <= ny < height and 0 <= nx < width:
                            ty, tx = targets[ny, nx, 0] + y - ny, targets[ny, nx, 1] + x - nx
                            if 0 <= ty < rows and 0 <= tx < columns:
                                cost = cost_of(a, b, y, x, ty, tx, best)
                                if cost < best:
                                    best, best_y, best_x = cost, ty, tx
                    radius = max(rows, columns)
                    while radius >= 1:
                        ty = draw(max(0, best_y - radius), min(rows, best_y + radius + 1))
                        tx = draw(max(0, best_x - radius), min(columns, best_x + radius + 1))
                        cost = cost_of(a, b, y, x, ty, tx, best)
                        if cost < best:
                            best, best_y, best_x = cost, ty, tx
                        radius //= 2
                    costs[y, x], targets[y, x, 0], targets[y, x, 1] = best, best_y, best_x
        return targets

    def find(image0: Tensor, image1: Tensor) -> Tensor:
        a, b = (np.ascontiguousarray(i[0].movedim(0, -1).numpy()) for i in (image0, image1))
        return pad_flow(search(a, b, iterations), image0)

    return find


def pad_flow(targets: np.ndarray, image0: Tensor) -> Tensor:
    """Return the flow (1, 2, H, W) to the top-left corners (h, w, 2) of matched patches."""
    height, width = targets.shape[:2]
    own = np.stack(np.mgrid[:height, :width], axis=-1)
    flow = np.ascontiguousarray((targets - own)[..., ::-1])  # dy, dx to dx, dy
    before = PATCH // 2
    after = PATCH - 1 - before
    flow = np.pad(flow, ((before, after), (before, after), (0, 0)), mode="edge")
    return torch.from_numpy(flow).movedim(-1, 0)[None]


def unfold_patches(image: Tensor) -> np.ndarray:
    """Return the patches as rows."""
    return torch.nn.functional.unfold(image, PATCH)[0].T.contiguous().numpy()


def inverted_lists(image0: Tensor, image1: Tensor) -> Tensor:
    """Search 32 principal components by faiss in 16 of 256 inverted lists."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows0, rows1 = unfold_patches(image0), unfold_patches(image1)
    reduction = faiss.PCAMatrix(rows1.shape[1], 32)
    reduction.train(rows1[:: max(1, len(rows1) // 20000)])
    points0, points1 = reduction.apply(rows0), reduction.apply(rows1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(32), 32, 256)
    index.cp.niter = 5
    index.train(points1[:: max(1, len(points1) // 20000)])
    index.add(points1)
    index.nprobe = 16
    _, found = index.search(points0, 4)
    costs = np.stack([np.square(rows0 - rows1[k]).sum(axis=1) for k in found.T], axis=1)
    best = np.take_along_axis(found, costs.argmin(axis=1)[:, None], axis=1)[:, 0]
    columns = image1.shape[-1] - PATCH + 1
    targets = np.stack([best // columns, best % columns], axis=-1)
    grid = image0.shape[-2] - PATCH + 1, image0.shape[-1] - PATCH + 1
    return pad_flow(targets.reshape(*grid, 2), image0)
