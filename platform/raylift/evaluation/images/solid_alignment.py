"""One yaw, mirror and scale of a model's world, fitted to the true solids of training objects, then frozen.

A model that learns from images alone chooses its front and its size, and where only silhouettes count, even its
handedness. Aligning each scored object by itself (ICP) would hide errors of the shape; here one placement is fitted per
category, to training objects alone, and applied unchanged to held-out ones. It maximises the mean IoU of solids, so it
needs no camera; where cameras are known, the search starts from their alignment.

Fitted are three choices: a rotation about the vertical axis, whether the world is mirrored (x to -x; with a yaw, any
upright mirror), and one scale. The centre is that of the median bounding box, as in ``images.alignment``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Mesh
from raylift.evaluation.images.alignment import ALL, LEAST_IN_CATEGORY, TrainingView, WorldAlignments, median_box
from raylift.evaluation.images.true_solids import Solid32
from raylift.geometry.voxels import grid_points
from raylift.metrics.box_volume import BoxVolume
from raylift.metrics.pose_alignment import yaw_rotation
from raylift.metrics.scores import mean_of
from raylift.metrics.shape_pair import SOLID_RESOLUTION

NUM_YAWS = 24
SCALES = (0.7, 0.85, 1.0, 1.18, 1.4)
"""Factors of the scale that fits the median box, in the coarse search."""
NUM_REFINED = 3
REFINEMENTS = ((7.5, 1.08), (3.75, 1.04), (1.9, 1.02), (0.9, 1.01))
"""Steps of yaw in degrees and of scale, from coarse to fine."""
MAX_VOLUMES = 96
"""Maximum number of training images whose shapes the fit uses."""
_STRIDE = 2
"""The coarse search uses every second voxel per axis."""


@dataclass(frozen=True)
class SolidAlignment:
    """A vertex v of the model becomes ``v @ matrix + offset`` in the true world.

    Attributes:
        matrix: scale times a rotation, which may be mirrored; float64.
        offset: world units.
        mirrored: whether it changes handedness.
        yaw_deg: yaw after the alignment of the cameras.
        training_iou: mean IoU with the true solids of the training images it was fitted to.
        num_images: their number.
    """

    matrix: Float[Tensor, "3 3"]
    offset: Float[Tensor, "3"]
    mirrored: bool
    yaw_deg: float
    training_iou: float
    num_images: int

    def place(self, mesh: Mesh) -> Mesh:
        """Place a shape in the true world, with faces still counter-clockwise seen from outside."""
        vertices = (mesh.vertices.detach().cpu().double() @ self.matrix + self.offset).float()
        if not self.mirrored:
            return replace(mesh, vertices=vertices)
        uvs = None if mesh.corner_uvs is None else mesh.corner_uvs.flip(1)
        return replace(mesh, vertices=vertices, faces=mesh.faces.flip(1), corner_uvs=uvs)


class SolidAlignments:
    """The alignments of all categories.

    Args:
        views: predictions for training images; those without a volume are ignored.
        truth: the true solid of an image; None if unknown.
        cameras: alignments of the cameras, from which the search starts.
    """

    def __init__(
        self, views: Sequence[TrainingView], truth: Callable[[str], Solid32 | None], cameras: WorldAlignments
    ) -> None:
        by_category: dict[str, list[_Example]] = {}
        for view in views:
            solid = None if view.volume is None else truth(view.image_id)
            if view.volume is not None and solid is not None:
                example = _Example(view.vertices, view.volume, solid)
                by_category.setdefault(view.category, []).append(example)
        enough = {name: own for name, own in sorted(by_category.items()) if len(own) >= LEAST_IN_CATEGORY}
        everything = [example for _, own in sorted(by_category.items()) for example in own]
        fits = {name: _Search(own, _start(cameras, name)).best() for name, own in enough.items()}
        if everything:
            one_category = len(by_category) == 1 and len(fits) == 1
            fits[ALL] = next(iter(fits.values())) if one_category else _Search(everything, _start(cameras, ALL)).best()
        self.by_category: Mapping[str, SolidAlignment] = fits

    def of(self, category: str) -> SolidAlignment | None:
        """A category's alignment, or that of all images; None if no training image has a known shape."""
        return self.by_category.get(category, self.by_category.get(ALL))

    @property
    def note(self) -> str:
        """Note for the report on how shapes were aligned."""
        if not self.by_category:
            return "solid32: no training image has a known shape, so nothing is aligned or scored"
        parts = [
            f"{name or 'all'}: yaw {fit.yaw_deg:.0f} degrees after that of the cameras"
            f"{', mirrored' if fit.mirrored else ''}, IoU {fit.training_iou:.3f} on {fit.num_images} training images"
            for name, fit in self.by_category.items()
        ]
        return f"solid32: one yaw, mirror and scale, fitted on the training split and frozen ({'; '.join(parts)})"


@dataclass(frozen=True)
class _Example:
    vertices: Float[Tensor, "V 3"]
    volume: BoxVolume
    truth: Solid32


@dataclass(frozen=True)
class _Candidate:
    yaw_deg: float
    mirrored: bool
    factor: float


def _start(cameras: WorldAlignments, category: str) -> Float[Tensor, "3 3"]:
    known = cameras.of(category)
    return torch.eye(3, dtype=torch.float64) if known is None else known.pose.rotation


class _Search:
    """Exhaustive over yaws, mirrors and scales on every second voxel, then coordinate descent on all voxels."""

    def __init__(self, examples: Sequence[_Example], start: Float[Tensor, "3 3"]) -> None:
        self._examples, self._start = examples, start
        self._boxes: dict[tuple[float, bool], tuple[float, Tensor]] = {}
        self._points = grid_points(SOLID_RESOLUTION, 0.5).astype(np.float64)
        every = np.arange(SOLID_RESOLUTION) % _STRIDE == 0
        coarse = (every[:, None, None] & every[:, None] & every).ravel()
        self._coarse_points, self._coarse_truths = self._points[coarse], [one.truth[coarse] for one in examples]

    def best(self) -> SolidAlignment:
        """The candidate of the largest mean IoU; the first wins ties."""
        grid = [
            _Candidate(360.0 / NUM_YAWS * step, mirrored, factor)
            for mirrored in (False, True)
            for step in range(NUM_YAWS)
            for factor in SCALES
        ]
        scores = np.array([self._score(candidate, coarse=True) for candidate in grid])
        order = np.argsort(-scores, kind="stable")[:NUM_REFINED]
        refined = [self._refine(grid[index]) for index in order]
        score, winner = max(refined, key=lambda pair: pair[0])
        matrix, offset = self._placement(winner)
        return SolidAlignment(
            matrix, offset, winner.mirrored, (winner.yaw_deg + 180) % 360 - 180, score, len(self._examples)
        )

    def _refine(self, candidate: _Candidate) -> tuple[float, _Candidate]:
        best = self._score(candidate, coarse=False), candidate
        for yaw, ratio in REFINEMENTS:
            for _ in range(3):
                now = best[1]
                turned = [replace(now, yaw_deg=now.yaw_deg + step) for step in (-yaw, yaw)]
                scaled = [replace(now, factor=now.factor * by) for by in (1 / ratio, ratio)]
                tried = [(self._score(other, coarse=False), other) for other in turned + scaled]
                best = max([best, *tried], key=lambda pair: pair[0])
                if best[1] == now:
                    break
        return best

    def _score(self, candidate: _Candidate, coarse: bool) -> float:
        matrix, offset = (tensor.numpy() for tensor in self._placement(candidate))
        back = np.linalg.inv(matrix)
        if coarse:
            points, truths = self._coarse_points, self._coarse_truths
        else:
            points, truths = self._points, [one.truth for one in self._examples]
        return mean_of(
            [one.volume.overlap(points, truth, back, offset) for one, truth in zip(self._examples, truths, strict=True)]
        )

    def _placement(self, candidate: _Candidate) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
        turn = self._start @ yaw_rotation(torch.tensor(candidate.yaw_deg, dtype=torch.float64))
        if candidate.mirrored:
            turn = turn * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
        key = candidate.yaw_deg, candidate.mirrored
        if key not in self._boxes:
            self._boxes[key] = median_box([one.vertices for one in self._examples], turn)
        scale, center = self._boxes[key]
        return candidate.factor * scale * turn, -candidate.factor * scale * center
