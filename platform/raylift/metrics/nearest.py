"""Distances from each point of one cloud to the nearest of another, the basis of every Chamfer distance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from raylift.geometry.point_tree import PointTree, curve_order


@dataclass(frozen=True)
class Cloud:
    """Points of a surface.

    Attributes:
        points: positions [N, 3], world units.
        normals: unit normals [N, 3].
    """

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]

    def __len__(self) -> int:
        return len(self.points)

    def first(self, count: int) -> Cloud:
        """The first ``count`` points: a valid sample, if points are in random order."""
        return Cloud(self.points[:count], self.normals[:count])

    def along_curve(self) -> Cloud:
        """Order the points along a space-filling curve: locality in memory makes searches much faster."""
        order = curve_order(self.points)
        return Cloud(np.ascontiguousarray(self.points[order]), np.ascontiguousarray(self.normals[order]))

    @cached_property
    def index(self) -> CloudIndex:
        """Search index of the points, built once: a truth is compared with many predictions."""
        return CloudIndex(self)


class CloudIndex:
    """A cloud ordered along a curve, with its search tree.

    Attributes:
        cloud: points in the order of the tree's indices.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud.along_curve()
        self._tree = PointTree(self.cloud.points)

    def nearest(self, points: Float[np.ndarray, "M 3"]) -> tuple[Float[np.ndarray, "M"], Int[np.ndarray, "M"]]:
        """Return the distance to the nearest point and its index."""
        return self._tree.nearest(points)


@dataclass(frozen=True)
class Nearest:
    """Nearest-neighbour distances between a predicted and a true surface sample.

    Attributes:
        accuracy: distance of every predicted point to the nearest true one.
        completeness: distance of every true point to the nearest predicted one.
        accuracy_cosine, completeness_cosine: absolute cosine between the normals of those pairs.
    """

    accuracy: Float[np.ndarray, "P"]
    completeness: Float[np.ndarray, "T"]
    accuracy_cosine: Float[np.ndarray, "P"]
    completeness_cosine: Float[np.ndarray, "T"]


def match(predicted: Cloud, truth: Cloud) -> Nearest:
    """Find nearest neighbours in both directions. Results are not in the order of the points."""
    first, second = predicted.index, truth.index
    accuracy, of_truth = second.nearest(first.cloud.points)
    completeness, of_predicted = first.nearest(second.cloud.points)
    return Nearest(
        accuracy,
        completeness,
        _cosine(first.cloud.normals, second.cloud.normals[of_truth]),
        _cosine(second.cloud.normals, first.cloud.normals[of_predicted]),
    )


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cosine: np.ndarray = np.abs(np.einsum("nk,nk->n", first, second)).clip(0.0, 1.0)
    return cosine
