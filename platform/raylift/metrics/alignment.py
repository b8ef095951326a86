"""Alignment before comparison: the gradient ICP with anisotropic scale of UNICORN (Monnier et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from raylift.geometry.rotations import axis_angle_to_matrix

ICP_ITERATIONS = 100
ICP_LEARNING_RATE = 0.02
"""Learning rate of Adam, in object units and radians; it decays linearly to 0, so that the last steps converge."""


@dataclass(frozen=True)
class Alignment:
    """x' = ((x - center) * scale) @ rotation.T + center + offset.

    Attributes:
        scale: scales of the three axes, positive.
        rotation: orthonormal.
        offset: world units.
        center: centre of the aligned points.
    """

    scale: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]
    center: Float[np.ndarray, "3"]

    def apply(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Move points."""
        moved: np.ndarray = ((points - self.center) * self.scale) @ self.rotation.T + self.center + self.offset
        return moved


@torch.enable_grad()
def gradient_icp(
    points: Float[np.ndarray, "N 3"],
    truth: Float[np.ndarray, "M 3"],
    iterations: int = ICP_ITERATIONS,
    learning_rate: float = ICP_LEARNING_RATE,
) -> Alignment:
    """Scale each axis, rotate and shift points to lower their Chamfer-L1 distance to the truth.

    Each iteration pairs nearest neighbours both ways and takes one step of Adam on the pairs' mean distances. The best
    of all iterates is kept, including the start: an alignment never increases the distance. Deterministic.

    Args:
        points, truth: samples of the two surfaces; a few thousand are enough.
    """
    moving, fixed = torch.from_numpy(points).double(), torch.from_numpy(truth).double()
    center = moving.mean(dim=0)
    moving = moving - center
    # Log scale, rotation as an axis-angle vector, offset.
    state = torch.zeros(3, 3, dtype=torch.float64)
    mean, square = torch.zeros_like(state), torch.zeros_like(state)
    tree = cKDTree(truth)
    least, best = float("inf"), state
    for iteration in range(iterations + 1):
        state = state.detach().requires_grad_()
        placed = (moving * state[0].exp()) @ axis_angle_to_matrix(state[1]).T + center + state[2]
        distance = _paired_distance(placed, fixed, tree)
        if distance.item() < least:
            least, best = distance.item(), state.detach()
        if iteration == iterations:
            break
        (gradient,) = torch.autograd.grad(distance, state)
        # Adam (Kingma and Ba 2015, algorithm 1), by hand: importing torch.optim takes seconds, for nine numbers.
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
        unbiased = mean / (1 - 0.9 ** (iteration + 1)), square / (1 - 0.999 ** (iteration + 1))
        rate = learning_rate * (1 - iteration / iterations)
        state = state - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    return Alignment(best[0].exp().numpy(), axis_angle_to_matrix(best[1]).numpy(), best[2].numpy(), center.numpy())


def _paired_distance(placed: Float[Tensor, "N 3"], truth: Float[Tensor, "M 3"], tree: cKDTree) -> Float[Tensor, ""]:
    """Chamfer-L1 of two samples, differentiable in the first for fixed pairs."""
    now = placed.detach().numpy()
    of_placed, of_truth = tree.query(now)[1], cKDTree(now).query(truth.numpy())[1]
    to_truth = _length(placed - truth[torch.from_numpy(of_placed)]).mean()
    return 0.5 * (to_truth + _length(placed[torch.from_numpy(of_truth)] - truth).mean())


def _length(differences: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    # The root's derivative at 0 is infinite.
    return (differences.square().sum(dim=1) + 1e-16).sqrt()
