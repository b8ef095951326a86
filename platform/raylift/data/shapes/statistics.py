"""Statistics of one object, and likely problems with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from raylift.core.types import GRID_HALF_EXTENT
from raylift.data.shapes.record import load_object, load_views
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry


@dataclass(frozen=True)
class ObjectStatistics:
    """Statistics of one object.

    Attributes:
        coverage: mean share of the image that the silhouette covers.
        volume: volume of the true shape, cubed object units, estimated from the IoU points.
        num_faces: faces of the true surface.
        num_cloud_points: points of the merged cloud.
        longest_edge: longest edge of the true surface's bounding box; close to 1.
        cloud_gap: median distance of cloud points to the true surface; near 0 when both agree.
        near_surface: share of supervised points nearer to the surface than the truncation.
    """

    entry: ObjectEntry
    coverage: float
    volume: float
    num_faces: int
    num_cloud_points: int
    longest_edge: float
    cloud_gap: float
    near_surface: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems that a human should check."""
        found = []
        if self.coverage < 0.01:
            found.append(f"its silhouette covers {self.coverage:.2%} of the image")
        if self.volume < 1e-4:
            found.append(f"its volume is {self.volume:.1e}: is it a sheet?")
        if abs(self.longest_edge - 1) > 0.05:
            found.append(f"its longest edge is {self.longest_edge:.3f} instead of 1: parts cannot be seen from outside")
        if self.cloud_gap > 0.02:
            found.append(f"its cloud is {self.cloud_gap:.3f} away from its surface")
        return tuple(found)


def object_statistics(dataset: ShardedDataset, entry: ObjectEntry) -> ObjectStatistics:
    """The statistics of one object.

    Raises:
        DataError: its shard is damaged.
    """
    columns = ["cloud_points", "iou_points", "iou_inside", "mesh_vertices", "mesh_faces", "surface_points"]
    columns += [f"sample_sdf_{index}" for index in range(len(dataset.manifest.sigmas))]
    record = load_object(dataset, entry.id, columns)
    vertices = record.array("mesh_vertices")
    cloud = record.array("cloud_points")
    gaps, _ = cKDTree(record.surface_points).query(cloud[:: max(1, len(cloud) // 2000)])
    sdf = np.concatenate([record.array(name) for name in columns if name.startswith("sample_sdf")])
    coverage = [float((view.rgba[..., 3] / 255.0).mean()) for view in load_views(dataset, entry.id)]
    return ObjectStatistics(
        entry=entry,
        coverage=float(np.mean(coverage)),
        volume=float(record.iou_inside.mean()) * (2 * GRID_HALF_EXTENT) ** 3,
        num_faces=len(record.stored("mesh_faces")),
        num_cloud_points=len(cloud),
        longest_edge=float((vertices.max(axis=0) - vertices.min(axis=0)).max()),
        cloud_gap=float(np.median(gaps)),
        near_surface=float((np.abs(sdf) < 0.0999).mean()),
    )
