"""Boxes of many proportions with exact distances, and their silhouettes: small worlds to look shapes up in."""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.examples import Examples
from raylift.core.types import Camera
from raylift.geometry.cameras import orbit_poses, pixel_rays, project, to_camera_axes
from raylift.geometry.voxels import grid_points

AXIS = (0.12, 0.3, 0.5)
SIZES = torch.tensor([(x, y, z) for x in AXIS for y in AXIS for z in AXIS if max(x, y, z) == 0.5])
"""Half edges of boxes whose longest edge is 1."""


def box_distance(points: Tensor, size: Tensor) -> Tensor:
    """Signed distances [N] of points [N, 3] to the box of half edges ``size``."""
    outside = points.abs() - size
    return outside.clamp(min=0).norm(dim=-1) + outside.amax(-1).clamp(max=0)


def surface_points(size: Tensor, count: int, seed: int) -> Tensor:
    """Points on a box's faces, by area."""
    draws = torch.Generator().manual_seed(seed)
    points = (2 * torch.rand(count, 3, generator=draws) - 1) * size
    areas = torch.stack([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    face = torch.multinomial(areas, count, replacement=True, generator=draws)
    sign = torch.where(torch.rand(count, generator=draws) < 0.5, -1.0, 1.0)
    points[torch.arange(count), face] = sign * size[face]
    return points


def coverage(size: Tensor, camera: Camera, px: int) -> Tensor:
    """Silhouette [1, px, px] in {0, 1}: a pixel is covered if its ray meets the box (slabs)."""
    return (depth(size, camera, px) > 0).float()


def depth(size: Tensor, camera: Camera, px: int) -> Tensor:
    """z in camera axes [1, px, px] where a pixel's ray enters the box, 0 where it misses it."""
    origin, direction = (part[0] for part in pixel_rays(camera, px, px))
    near, far = ((side * size - origin) / direction for side in (-1.0, 1.0))
    enter, leave = torch.minimum(near, far).amax(-1), torch.maximum(near, far).amin(-1)
    z = to_camera_axes(camera, (origin + enter[..., None] * direction).reshape(1, -1, 3))[0, :, 2]
    return torch.where(enter < leave, z.reshape(px, px), 0.0)[None]


def cameras(count: int, seed: int) -> Camera:
    draws = torch.Generator().manual_seed(seed)
    return orbit_poses(360 * torch.rand(count, generator=draws), 5 + 50 * torch.rand(count, generator=draws))


def examples(num_views: int = 6, num_points: int = 300, px: int = 32, resolution: int = 16) -> Examples:
    """Every box, seen by cameras of its own."""
    cells = torch.from_numpy(grid_points(resolution))
    silhouettes, owners = [], []
    for index, size in enumerate(SIZES):
        seen = cameras(num_views, index)
        for view in range(num_views):
            silhouettes.append(coverage(size, seen[view], px)[0])
            owners.append(index)
    return Examples(
        torch.stack([box_distance(cells, size).reshape(*[resolution] * 3) for size in SIZES]),
        torch.stack([surface_points(size, num_points, index) for index, size in enumerate(SIZES)]),
        torch.stack(silhouettes),
        torch.tensor(owners),
        torch.arange(len(SIZES)),
        {f"box{index}": index for index in range(len(SIZES))},
        tuple(f"box{index}" for index in range(len(SIZES))),
        {f"box{index}": 0 for index in range(len(SIZES))},
    )


__all__ = ["SIZES", "box_distance", "cameras", "coverage", "depth", "examples", "project", "surface_points"]
