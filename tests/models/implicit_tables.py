"""A planted truth: little tables of boxes whose shapes, colours and depths are known in closed form.

Each has a top and two side panels, symmetric about x = 0, of its own sizes and colours, seen by a camera of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.types import GRID_HALF_EXTENT, Batch, Camera
from raylift.geometry.cameras import orbit, pixel_rays, to_camera_axes
from raylift.models.implicit.config import ImplicitConfig

NUM_BOXES = 3


class Tables:
    """``count`` tables, always the same for a seed.

    Attributes:
        center, half: of the boxes, world units, [B, 3 boxes, 3].
        paint: RGB of the boxes, [B, 3 boxes, 3]: the panels of a table are alike.
    """

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        width, depth, height, thick = (
            low + (high - low) * torch.rand(count, generator=draw)
            for low, high in ((0.25, 0.48), (0.2, 0.45), (0.2, 0.45), (0.04, 0.08))
        )
        zero = torch.zeros(count)
        top = torch.stack([zero, height - thick, zero], -1), torch.stack([width, thick, depth], -1)
        panels = [
            (torch.stack([side * (width - thick), zero, zero], -1), torch.stack([thick, height, depth], -1))
            for side in (-1, 1)
        ]
        self.center = torch.stack([top[0], *(panel[0] for panel in panels)], 1)
        self.half = torch.stack([top[1], *(panel[1] for panel in panels)], 1)
        paint = torch.rand(count, 2, 3, generator=draw)
        self.paint = paint[:, [0, 1, 1]]
        self.camera = Camera.stack(
            [orbit(float(360 * torch.rand((), generator=draw)), 15 + float(30 * torch.rand((), generator=draw)))
             for _ in range(count)]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.center)

    def distances(self, points: Tensor) -> Tensor:
        """To each box, [B, N, 3 boxes]."""
        away = (points[:, :, None] - self.center[:, None]).abs() - self.half[:, None]
        return away.clamp(min=0).norm(dim=-1) + away.amax(-1).clamp(max=0)

    def sdf_and_color(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Of the union (its distance inside is a bound), and the paint of the nearest box."""
        distance, nearest = self.distances(points).min(-1)
        return distance, self.paint.gather(1, nearest[..., None].expand(-1, -1, 3))

    def render(self, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image on white, mask and depth of every table by its camera."""
        origins, directions = (rays.flatten(1, 2)[:, :, None] for rays in pixel_rays(self.camera, side, side))
        first = (self.center[:, None] - self.half[:, None] - origins) / directions
        second = (self.center[:, None] + self.half[:, None] - origins) / directions
        enter, leave = torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)
        along, which = torch.where(enter < leave, enter, torch.inf).min(-1)
        seen = torch.isfinite(along)
        hit = origins[:, :, 0] + torch.where(seen, along, 0.0)[..., None] * directions[:, :, 0]
        depth = torch.where(seen, to_camera_axes(self.camera, hit)[..., 2], 0.0)
        color = torch.where(seen[..., None], self.paint.gather(1, which[..., None].expand(-1, -1, 3)), 1.0)
        shape = (len(self), 1, side, side)
        return color.mT.reshape(len(self), 3, side, side), seen.float().reshape(shape), depth.reshape(shape)

    def surface(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Points within 0.002 of the surface, [B, count, 3], and their colours."""
        draw = torch.Generator().manual_seed(seed)
        index = torch.randint(NUM_BOXES, (len(self), 8 * count), generator=draw)
        cube = 2 * torch.rand(len(self), 8 * count, 3, generator=draw) - 1
        axis = torch.randint(3, index.shape, generator=draw)[..., None]
        cube.scatter_(-1, axis, cube.gather(-1, axis).sign())
        center, half = (value.gather(1, index[..., None].expand(-1, -1, 3)) for value in (self.center, self.half))
        points = center + half * cube
        outer = self.distances(points).amin(-1).abs() < 0.002
        points = torch.stack([own[which][:count] for own, which in zip(points, outer, strict=True)])
        return points, self.sdf_and_color(points)[1]

    def batch(self, config: ImplicitConfig, points_seed: int) -> Batch:
        """Everything that a recipe may ask of them; half of the points near the surface."""
        draw = torch.Generator().manual_seed(points_seed)
        near, _ = self.surface(config.points // 2, points_seed)
        near = near + 0.03 * torch.randn(near.shape, generator=draw)
        anywhere = 1.1 * torch.rand(len(self), config.points // 2, 3, generator=draw) - GRID_HALF_EXTENT
        points = torch.cat([near, anywhere], 1)
        sdf, color = self.sdf_and_color(points)
        image, mask, depth = self.render(config.image_px)
        fields = {"image": image, "mask": mask, "depth": depth, "points": points, "sdf": sdf, "color": color}
        request = config.conditioning.voxel_request()
        if request is not None:
            told = self.grid(request.resolution)
            fields["voxels"] = (told < 0).float() if request.source == "gt_occupancy" else told.clamp(-0.1, 0.1) / 0.1
        if config.num_told_points:
            fields["told_points"], fields["told_colors"] = self.surface(config.num_told_points, points_seed + 1)
        ids = tuple(f"table{index}#0" for index in range(len(self)))
        return Batch(ids, torch.arange(len(self)), fields, self.camera)

    def grid(self, resolution: int) -> Tensor:
        """Signed distances at cell centres, [B, 1, R, R, R]."""
        axis = -GRID_HALF_EXTENT + (torch.arange(resolution) + 0.5) * 2 * GRID_HALF_EXTENT / resolution
        cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(1, -1, 3)
        return self.sdf_and_color(cells.expand(len(self), -1, -1))[0].reshape(len(self), 1, *[resolution] * 3)


def iou(guess: Tensor, truth: Tensor) -> float:
    """Mean over tables of inside against inside, bool [B, N]."""
    return float(((guess & truth).sum(1) / (guess | truth).sum(1).clamp(min=1)).mean())
