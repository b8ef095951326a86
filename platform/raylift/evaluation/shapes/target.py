"""The ground truth of an object that a reconstruction is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Mesh
from raylift.data.shapes.record import ViewRecord, load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.meshes import shape_of
from raylift.evaluation.shapes.surface_color import NUM_POINTS, colors_of
from raylift.metrics.nearest import Cloud
from raylift.metrics.shape_pair import TargetShape

TRUTH_COLUMNS = (
    "mesh_vertices",
    "mesh_faces",
    "mesh_colors",
    "surface_points",
    "surface_normals",
    "iou_points",
    "iou_inside",
    "occupancy32",
)


@dataclass(frozen=True)
class ShapeTarget:
    """One held-out object.

    Attributes:
        truth: true shape, ready for comparison.
        mesh: true mesh with colours, for rendering.
        occupancy32: bool [32, 32, 32].
        views: stored views for comparing colour.
        color_points: points on the true surface, uniform by area, at most ``surface_color.NUM_POINTS``.
        colors: true colours at these points: those of the nearest vertex of the true mesh.
    """

    id: str
    category: str
    truth: TargetShape
    mesh: Mesh
    occupancy32: np.ndarray
    views: tuple[ViewRecord, ...]
    color_points: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"]


def load_held_out(dataset: ShardedDataset, object_id: str, num_views: int, seed: int) -> ShapeTarget:
    """Load an object with ``num_views`` of its views, evenly spread over those stored.

    Raises:
        DataError: a damaged shard, or a true shape without faces.
    """
    record = load_object(dataset, object_id, TRUTH_COLUMNS)
    mesh = record.mesh
    normals = record.surface_normals.astype(np.float64)
    # Stored with eight bits per axis: normalise again before taking cosines.
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    surface = Cloud(record.surface_points.astype(np.float64), normals)
    color_points = torch.from_numpy(record.surface_points[:NUM_POINTS].copy())
    ask = colors_of(mesh)
    truth = TargetShape(object_id, shape_of(mesh), surface, record.iou_points, record.iou_inside, seed)
    return ShapeTarget(
        object_id,
        record.category,
        truth,
        mesh,
        record.occupancy32 > 0.5,
        tuple(load_view(dataset, object_id, view) for view in spread(num_views, record.entry.num_views)),
        color_points,
        torch.ones_like(color_points) if ask is None else ask(color_points),
    )


def spread(count: int, total: int) -> list[int]:
    """``count`` of ``total`` indices (all, if there are fewer), evenly spread, starting with the first."""
    return sorted({index * total // count for index in range(count)}) if total else []
