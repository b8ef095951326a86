"""Distances from each point of one cloud to the nearest of another: what every Chamfer distance is made of."""

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
        points: [N, 3], world units.
        normals: [N, 3], unit length.
    """

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]

    def __len__(self) -> int:
        return len(self.points)

    def first(self, count: int) -> Cloud:
        """The first ``count`` points: as good a sample as all of them, when points come in no order."""
        return Cloud(self.points[:count], self.normals[:count])

    def along_curve(self) -> Cloud:
        """The same points ordered along a space-filling curve: neighbours in memory make searches much faster."""
        order = curve_order(self.points)
        return Cloud(np.ascontiguousarray(self.points[order]), np.ascontiguousarray(self.normals[order]))

    @cached_property
    def index(self) -> CloudIndex:
        """What searches among the points, made once: a truth is compared with many predictions."""
        return CloudIndex(self)


class CloudIndex:
    """A cloud along a curve with the tree that is searched.

    Attributes:
        cloud: its points, in the order of the tree's indices.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud.along_curve()
        self._tree = PointTree(self.cloud.points)

    def nearest(self, points: Float[np.ndarray, "M 3"]) -> tuple[Float[np.ndarray, "M"], Int[np.ndarray, "M"]]:
        """The distance to the nearest point and its index."""
        return self._tree.nearest(points)


@dataclass(frozen=True)
class Nearest:
    """Between a predicted and a true surface sample.

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
    """Nearest neighbours both ways. The order of the results' entries is not that of the points."""
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
