"""Average shapes carved by the input: unlearned baselines, with parameters chosen on training data.

* carved by the silhouette: inside where the average occupancy exceeds a level and the point projects into the
  silhouette;
* carved by depth: the same outside of the free space in front of the visible surface, and, if that helps, of its
  mirror image; a layer just behind the visible surface is inside.

Level, layer thickness and mirroring are chosen on training objects by leave-one-out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from raylift.core.types import Field
from raylift.data.feed.stream import evaluation_views
from raylift.evaluation.shapes.retrieval import packed_iou
from raylift.evaluation.shapes.target import spread
from raylift.evaluation.shapes.training_shapes import TrainingShapes
from raylift.evaluation.shapes.visible_evidence import VisibleEvidence
from raylift.geometry.voxels import grid_points
from raylift.networks.point_sampling import sample_volume

GRID = 32
LEVELS = (0.02, *(round(0.04 * step, 2) for step in range(1, 20)))
LAYERS = (0.0, 0.02, 0.04, 0.06, 0.09, 0.12)
TOLERANCES = (0.0, 0.01, 0.02)
"""World units, both."""
MAX_OBJECTS = 100
VIEWS_OF_EACH = 2
OCCUPANCY_SLOPE, COVERAGE_SLOPE = 0.03, 0.01
"""Factors from occupancy, which changes by 1 within a cell, and coverage, within a pixel, to lengths."""

Average = Callable[[VisibleEvidence, int | None], Float[np.ndarray, "C"]]
"""(visible evidence, training object to leave out) -> average occupancy per cell."""


@dataclass(frozen=True)
class CarvingRule:
    """Parameters for converting an average to a shape.

    Attributes:
        level: average occupancy above which a cell is inside.
        layer: thickness of the inside layer behind the visible surface, world units; 0 without depth.
        tolerance: distance in front of its pixel's surface beyond which a point is in free space, world units.
        mirrored: whether free space is also mirrored.
        training_iou: mean IoU with the training objects' grids, each left out of its own average.
    """

    level: float
    layer: float = 0.0
    tolerance: float = 0.0
    mirrored: bool = False
    training_iou: float = 0.0

    def values(
        self, average: Float[Tensor, "N"], points: Float[Tensor, "N 3"], seen: VisibleEvidence
    ) -> Float[Tensor, "N"]:
        """Field values at points with known average occupancy: below 0 inside, about world units near the surface."""
        by_average = OCCUPANCY_SLOPE * (self.level - average)
        if seen.depth is None:
            return torch.maximum(by_average, 2 * COVERAGE_SLOPE * seen.outside_silhouette(points))
        gap = seen.gap(points)
        free = torch.maximum(gap, seen.mirrored_gap(points)) if self.mirrored else gap
        carved = torch.maximum(by_average, free - self.tolerance)
        if self.layer > 0:
            carved = torch.minimum(carved, torch.maximum(gap, -gap - self.layer))
        return carved.clamp(-0.1, 0.1)

    def field(self, average: Float[np.ndarray, "C"], seen: VisibleEvidence) -> Field:
        """The shape, coloured by the nearest visible points if there is depth, else by the projected pixels."""
        volume = torch.from_numpy(average).float().view(1, 1, GRID, GRID, GRID)
        colors = seen.pixel_colors if seen.depth is None else seen.nearest_colors

        def values(points: Tensor) -> Tensor:
            return self.values(_read(volume, points), points, seen)

        return Field(lambda points: (values(points), colors(points)), values=values)


def choose_rule(shapes: TrainingShapes, average: Average, image_px: int, with_depth: bool) -> CarvingRule:
    """The rule with the largest leave-one-out mean IoU on training objects; ties go to the first.

    Uses at most ``MAX_OBJECTS`` objects, evenly spread, with ``VIEWS_OF_EACH`` views each.
    """
    layers, carvings = (LAYERS, tuple(product(TOLERANCES, (False, True)))) if with_depth else ((0.0,), ((0.0, False),))
    rules = [
        CarvingRule(level, layer, tolerance, mirrored)
        for level, (tolerance, mirrored), layer in product(LEVELS, carvings, layers)
    ]
    points = torch.from_numpy(grid_points(GRID))
    totals, count = np.zeros(len(rules)), 0
    for index in spread(MAX_OBJECTS, len(shapes)):
        truth = np.packbits(shapes.inside(index))
        for view in evaluation_views(shapes.entries[index], VIEWS_OF_EACH):
            seen = shapes.evidence(index, view, image_px, with_depth)
            occupancy = average(seen, index)
            above = np.stack([np.packbits(occupancy > level) for level in LEVELS])
            kept, behind = _carved_and_layers(points, seen, carvings, layers)
            # In the order of the rules: levels, then carvings, then layers.
            inside = (above[:, None, None] & kept[None, :, None]) | behind[None, None]
            totals += packed_iou(truth, inside.reshape(len(rules), -1))
            count += 1
    best = int(totals.argmax())
    return replace(rules[best], training_iou=float(totals[best] / count))


def _carved_and_layers(
    points: Float[Tensor, "C 3"],
    seen: VisibleEvidence,
    carvings: Sequence[tuple[float, bool]],
    layers: Sequence[float],
) -> tuple[UInt8[np.ndarray, "F P"], UInt8[np.ndarray, "L P"]]:
    """Cells that each carving keeps, and cells in each layer behind the visible surface, one bit per cell."""
    if seen.depth is None:
        kept = seen.outside_silhouette(points) < 0
        return np.packbits(kept.numpy())[None], np.packbits(torch.zeros_like(kept).numpy())[None]
    gap = seen.gap(points)
    free = {False: gap, True: torch.maximum(gap, seen.mirrored_gap(points))}
    return (
        np.stack([np.packbits((free[mirrored] < tolerance).numpy()) for tolerance, mirrored in carvings]),
        np.stack([np.packbits(((gap < 0) & (gap > -layer)).numpy()) for layer in layers]),
    )


def told_grid_field(grid: Float[Tensor, "1 R R R"], source: str, scale: float, seen: VisibleEvidence | None) -> Field:
    """The conditioning grid, trilinearly interpolated: signed distance cut at 0, occupancy at 0.5.

    Args:
        source: "gt_sdf" or "gt_occupancy".
        scale: world units per unit of a distance grid.
        seen: evidence for pixel colours; None colours grey.
    """
    volume = grid[None].float()

    def values(points: Tensor) -> Tensor:
        read = _read(volume, points)
        return scale * read if source == "gt_sdf" else OCCUPANCY_SLOPE * (0.5 - read)

    def query(points: Tensor) -> tuple[Tensor, Tensor]:
        return values(points), torch.full_like(points, 0.5) if seen is None else seen.pixel_colors(points)

    return Field(query, values=values)


def _read(volume: Float[Tensor, "1 1 R R R"], points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    return sample_volume(volume, points[None])[0, :, 0]
