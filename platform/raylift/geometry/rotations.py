"""Rotations between their forms: matrix, quaternion (w, x, y, z), axis-angle; and the angle of two."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def quaternion_to_matrix(quaternion: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 3 3"]:
    """The rotation of a quaternion (w, x, y, z), which is normalised first; q and -q are the same rotation."""
    w, x, y, z = normalize(quaternion, dim=-1, eps=0.0).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*quaternion.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """The unit quaternion (w, x, y, z), w >= 0, of a rotation.

    Of the four formulas, the one with the largest divisor is used, so that no rotation is ill-conditioned
    (Shepperd 1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    # Each row is the quaternion times four times its own component on the diagonal.
    rows = [
        [1 + a + e + i, h - f, c - g, d - b],
        [h - f, 1 + a - e - i, b + d, c + g],
        [c - g, b + d, 1 - a + e - i, f + h],
        [d - b, c + g, f + h, 1 - a - e + i],
    ]
    candidates = torch.stack([torch.stack(row, -1) for row in rows], -2)
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    picked = torch.take_along_dim(candidates, best[..., None, None].expand(*best.shape, 1, 4), -2).squeeze(-2)
    unit = normalize(picked, dim=-1)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def quaternion_multiply(first: Float[Tensor, "*B 4"], second: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Hamilton's product: the rotation ``second`` followed by ``first``, as matrices multiply."""
    a, b, c, d = first.unbind(-1)
    w, x, y, z = second.unbind(-1)
    parts = [
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    ]
    return torch.stack(parts, -1)


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rodrigues' formula; the vector's length is the angle in radians. Differentiable at zero."""
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*axis_angle.shape[:-1], 3, 3)
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / safe)
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + first * cross + second * (cross @ cross)


def rotation_angle(first: Float[Tensor, "*B 3 3"], second: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B"]:
    """The geodesic angle of R^T R' in radians, in [0, pi].

    By atan2 of sine and cosine: arccos of the trace alone loses half of the digits near 0 and pi.
    """
    relative = first.mT @ second
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    skew = relative - relative.mT
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1).norm(dim=-1) / 2
    return torch.atan2(sine, cosine)
