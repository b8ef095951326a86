"""Thin-plate splines: the smoothest maps of the plane between given point pairs (Bookstein 1989)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.cameras import pixel_centers


@dataclass(frozen=True)
class ThinPlate:
    """B maps of the plane, T(p) = A [p, 1] + sum over g of w_g U(||p - c_g||), with U(r) = r^2 log r^2.

    Attributes:
        centers: c_g.
        weights: w_g; all zero if the map is affine.
        affine: transposed A, with rows for u, v and 1.
    """

    centers: Float[Tensor, "G 2"]
    weights: Float[Tensor, "B G 2"]
    affine: Float[Tensor, "B 3 2"]

    def __call__(self, points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
        """Apply T to each point; differentiable."""
        bends = _kernel((points[:, :, None] - self.centers).square().sum(dim=-1))
        return bends @ self.weights + points @ self.affine[:, :2] + self.affine[:, 2:]


def fit_thin_plate(centers: Float[Tensor, "G 2"], targets: Float[Tensor, "B G 2"]) -> ThinPlate:
    """Fit the splines that map each centre exactly to its target.

    Args:
        centers: three or more centres, not collinear.
        targets: targets of each map.
    """
    count = len(centers)
    border = torch.cat([centers, centers.new_ones(count, 1)], dim=1)
    system = centers.new_zeros(count + 3, count + 3)
    system[:count, :count] = _kernel((centers[:, None] - centers).square().sum(dim=-1))
    system[:count, count:] = border
    system[count:, :count] = border.mT
    wanted = torch.cat([targets, targets.new_zeros(len(targets), 3, 2)], dim=1)
    # Not ``solve``, which looks whether the system is singular: that of a grid is not.
    solved, _ = torch.linalg.solve_ex(system, wanted)
    return ThinPlate(centers, solved[:, :count], solved[:, count:])


def control_grid(
    side: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "G 2"]:
    """side x side control points over [-1, 1]^2, its border included."""
    axis = torch.linspace(-1, 1, side, device=device, dtype=dtype)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def warp_maps(maps: Float[Tensor, "B C H W"], warp: ThinPlate) -> Float[Tensor, "B C H W"]:
    """Warp maps: the new value at pixel p is the old one at T(p), bilinear; 0 where T(p) is outside."""
    height, width = maps.shape[-2:]
    pixels = pixel_centers(height, width, maps.device, maps.dtype).reshape(1, -1, 2).expand(len(maps), -1, -1)
    grid = warp(pixels).reshape(len(maps), height, width, 2)
    return torch.nn.functional.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)


def _kernel(squared: Tensor) -> Tensor:
    # r^2 log r^2 tends to 0 with r, and the clamp keeps its slope finite there.
    return squared * squared.clamp(min=1e-12).log()
