"""Alignment of one object's surface with the truth: a searched rotation, one scale and a shift, then ICP.

Programs disagree about an object's front, size and centre, and many reconstruct in the input's view. Papers that
compare them align every output with its truth first, by a search over rotations and ICP. It hides errors of pose and
size, so scores after it say less; baselines need the same help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

NUM_ROTATIONS = 1000
"""Rotations of the search: neighbours are about 20 degrees apart."""
SEARCH_POINTS = 150
NUM_REFINED = 8
COARSE_POINTS, ICP_POINTS = 400, 1500
"""Points of the ICP of every candidate, and of the last one."""
ICP_STEPS = 30
_CONVERGED = 1e-6


@dataclass(frozen=True)
class Similarity:
    """x' = scale x @ rotation.T + offset.

    Attributes:
        scale: one factor, positive.
        rotation: orthonormal, never a mirror image.
        offset: of the result.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]

    def apply(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Move points, float64."""
        moved: np.ndarray = self.scale * (points @ self.rotation.T) + self.offset
        return moved


def search_similarity(points: Float[np.ndarray, "N 3"], truth: Float[np.ndarray, "M 3"]) -> Similarity:
    """The similarity that brings a surface closest to another: lowest Chamfer-L1 of their samples. Deterministic.

    The start is ranked among the candidates, too, so nothing that fits already is made worse. For each of a grid of
    rotations, centres and root mean square sizes are made equal and the distance measured; the best go through ICP with
    scale (Umeyama 1991), with nearest neighbours both ways, so that a surface cannot shrink into a part of the other.

    Args:
        points, truth: samples of the two surfaces, uniform by area; the first ``ICP_POINTS`` of each are used.
    """
    points, truth = points[:ICP_POINTS].astype(np.float64), truth[:ICP_POINTS].astype(np.float64)
    starts = [Similarity(1.0, np.eye(3), np.zeros(3)), *_starts(points, truth)]
    order = np.argsort(_distances(starts, points, truth), kind="stable")[:NUM_REFINED]
    chosen = [starts[index] for index in dict.fromkeys([0, *order.tolist()])]
    coarse = min((_icp(start, points[:COARSE_POINTS], truth[:COARSE_POINTS]) for start in chosen), key=_first)
    return min((_icp(start, points, truth) for start in (coarse[1], starts[0])), key=_first)[1]


def _first(found: tuple[float, Similarity]) -> float:
    return found[0]


def rotation_grid(count: int = NUM_ROTATIONS) -> Float[np.ndarray, "K 3 3"]:
    """The 24 rotations of a cube, then ``count`` that fill all rotations evenly (super-Fibonacci, Alexa 2022)."""
    index = np.arange(count) + 0.5
    radius, rest = np.sqrt(index / count), np.sqrt(1 - index / count)
    first, second = 2 * np.pi * index / np.sqrt(2), 2 * np.pi * index / 1.533751168755204288118041
    quaternions = np.stack(
        [radius * np.sin(first), radius * np.cos(first), rest * np.sin(second), rest * np.cos(second)], axis=1
    )
    everywhere = Rotation.from_quat(quaternions).as_matrix()
    return np.concatenate([Rotation.create_group("O").as_matrix(), everywhere])


def _starts(points: Float[np.ndarray, "N 3"], truth: Float[np.ndarray, "M 3"]) -> list[Similarity]:
    """Equal centres and sizes at every rotation of the grid."""
    center, true_center = points.mean(axis=0), truth.mean(axis=0)
    spread, true_spread = (
        float(np.sqrt(np.square(some - some.mean(axis=0)).sum(axis=1).mean())) for some in (points, truth)
    )
    scale = true_spread / max(spread, 1e-12)
    return [Similarity(scale, turn, true_center - scale * (turn @ center)) for turn in rotation_grid()]


def _distances(
    starts: Sequence[Similarity], points: Float[np.ndarray, "N 3"], truth: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, "K"]:
    """Chamfer-L1 at each similarity, of few points to all. The way back is measured in the frame of the points."""
    few, few_truth = points[:SEARCH_POINTS], truth[:SEARCH_POINTS]
    moved = np.concatenate([start.apply(few) for start in starts])
    back = np.concatenate([(few_truth - start.offset) @ start.rotation / start.scale for start in starts])
    there = cKDTree(truth).query(moved)[0].reshape(len(starts), -1).mean(axis=1)
    again = cKDTree(points).query(back)[0].reshape(len(starts), -1).mean(axis=1)
    return np.asarray(0.5 * (there + again * [start.scale for start in starts]))


def _icp(
    start: Similarity, points: Float[np.ndarray, "N 3"], truth: Float[np.ndarray, "M 3"]
) -> tuple[float, Similarity]:
    """The best iterate and its Chamfer-L1."""
    tree = cKDTree(truth)
    now, least, best = start, np.inf, start
    previous = np.inf
    for _ in range(ICP_STEPS):
        moved = now.apply(points)
        to_truth, of_points = tree.query(moved)
        to_points, of_truth = cKDTree(moved).query(truth)
        distance = 0.5 * float(to_truth.mean() + to_points.mean())
        if distance < least:
            least, best = distance, now
        if previous - distance < _CONVERGED:
            break
        previous = distance
        now = _umeyama(
            np.concatenate([points, points[_indices(of_truth)]]), np.concatenate([truth[_indices(of_points)], truth])
        )
    return least, best


def _indices(found: object) -> Int[np.ndarray, "N"]:
    return np.asarray(found, np.int64)


def _umeyama(points: Float[np.ndarray, "N 3"], targets: Float[np.ndarray, "N 3"]) -> Similarity:
    """The similarity with the least squared distance of pairs (Umeyama 1991, equations 40 to 43)."""
    center, target_center = points.mean(axis=0), targets.mean(axis=0)
    own, other = points - center, targets - target_center
    left, values, right = np.linalg.svd(other.T @ own / len(own))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    rotation = (left * signs) @ right
    scale = float((values * signs).sum() / max(np.square(own).sum(axis=1).mean(), 1e-18))
    return Similarity(scale, rotation, target_center - scale * (rotation @ center))
