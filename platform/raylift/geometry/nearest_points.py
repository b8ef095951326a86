"""The nearest of a cloud's points: by a tree on a CPU, by brute force on a GPU."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from raylift.geometry.point_tree import PointTree

CHUNK = 16_384
"""Number of query points per block of distances: bounds memory."""


class PointIndex:
    """A point cloud for many nearest-point queries.

    Args:
        points: points, at least one.
    """

    def __init__(self, points: Float[Tensor, "M 3"]) -> None:
        assert len(points), "an empty cloud has no nearest point"
        self.points = points

    @cached_property
    def _tree(self) -> PointTree:
        return PointTree(self.points.detach().numpy())

    @cached_property
    def _tree_of_several(self) -> cKDTree:
        # Sliding-midpoint splits: a quarter of the build time of balanced ones, no slower to search on surfaces.
        return cKDTree(self.points.detach().numpy(), balanced_tree=False, compact_nodes=False)

    @torch.no_grad()
    def nearest(self, query: Float[Tensor, "N 3"]) -> Int[Tensor, "N"]:
        """The index of the nearest point to each; any of several that are equally near."""
        if query.device.type == "cpu":
            return torch.from_numpy(self._tree.nearest(query.detach().numpy())[1])
        parts = [_distances(part, self.points).argmin(dim=1) for part in query.split(CHUNK)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=query.device)

    @torch.no_grad()
    def several_nearest(self, query: Float[Tensor, "N 3"], count: int) -> Int[Tensor, "N K"]:
        """The indices of the ``count`` nearest points to each, nearest first; all of them if there are fewer."""
        count = min(count, len(self.points))
        if count == 1:
            return self.nearest(query)[:, None]
        if query.device.type == "cpu":
            _, found = self._tree_of_several.query(query.detach().numpy(), k=count, workers=torch.get_num_threads())
            return torch.from_numpy(found).long()
        parts = [_distances(part, self.points).topk(count, largest=False).indices for part in query.split(CHUNK)]
        return torch.cat(parts) if parts else torch.empty(0, count, dtype=torch.int64, device=query.device)


def _distances(query: Float[Tensor, "N 3"], points: Float[Tensor, "M 3"]) -> Float[Tensor, "N M"]:
    """Distances from differences: cdist's default matrix product rounds like squared coordinates."""
    return torch.cdist(query, points, compute_mode="donot_use_mm_for_euclid_dist")
