"""The nearest of a cloud's points: by a tree on a CPU, by brute force on a GPU."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.geometry.point_tree import PointTree

CHUNK = 16_384
"""Query points that distances to all others are computed for at once: bounds memory."""


class PointIndex:
    """A cloud that is asked for its nearest point many times.

    Args:
        points: at least one.
    """

    def __init__(self, points: Float[Tensor, "M 3"]) -> None:
        assert len(points), "an empty cloud has no nearest point"
        self.points = points

    @cached_property
    def _tree(self) -> PointTree:
        return PointTree(self.points.detach().numpy())

    @torch.no_grad()
    def nearest(self, query: Float[Tensor, "N 3"]) -> Int[Tensor, "N"]:
        """The index of the nearest point to each; any of several that are equally near."""
        if query.device.type == "cpu":
            return torch.from_numpy(self._tree.nearest(query.detach().numpy())[1])
        # Differences, not the matrix product that cdist takes by default: its rounding is that of squared coordinates.
        parts = [
            torch.cdist(part, self.points, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
            for part in query.split(CHUNK)
        ]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=query.device)
