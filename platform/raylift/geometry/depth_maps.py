"""The visible surface of a depth map: a position and a normal per pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import camera_centers, pixel_centers, unproject


def pixel_at(uv: Float[Tensor, "B N 2"], height: int, width: int) -> Int[Tensor, "B N"]:
    """The flat index (row by row) of the pixel that contains each point; beyond the border, of the border's pixel."""
    u, v = uv.unbind(-1)
    column = (u * (width / 2) + width / 2).clamp(0, width - 1).nan_to_num(width // 2).long()
    row = (v * (height / 2) + height / 2).clamp(0, height - 1).nan_to_num(height // 2).long()
    return row * width + column


def depth_at(depth: Float[Tensor, "B 1 H W"], pixels: Int[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Depths at pixels by flat index: never averaged."""
    return depth.flatten(1).gather(1, pixels)


def positions_at(depth: Float[Tensor, "B 1 H W"], camera: Camera, pixels: Int[Tensor, "B N"]) -> Float[Tensor, "B N 3"]:
    """World positions of pixels' centres at their depths; meaningless where the depth is 0."""
    height, width = depth.shape[-2:]
    centers = pixel_centers(height, width, depth.device, depth.dtype).reshape(-1, 2)
    return unproject(camera, centers[pixels], depth_at(depth, pixels))


def surface_at(
    depth: Float[Tensor, "B 1 H W"], camera: Camera, pixels: Int[Tensor, "B N"]
) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N 3"]]:
    """World positions and unit normals, towards the camera, of pixels by flat index.

    The normal is that of the plane through a pixel and one neighbour along each axis: of the two along an axis, the one
    nearer in depth, so that a plane is measured exactly up to its edges. It is 0 where the depth is 0 or no neighbour
    along an axis has depth.
    """
    position = positions_at(depth, camera, pixels)
    across = _difference(depth, camera, pixels, position, vertical=False)
    down = _difference(depth, camera, pixels, position, vertical=True)
    # In the image x is right and y is down, so across x down points away from the camera.
    normal = torch.linalg.cross(down, across)
    towards = camera_centers(camera)[:, None] - position
    if camera.projection == "orthographic":
        towards = -camera.rotation[:, None, 2].expand_as(position)
    # Rays that graze the surface: visible surfaces face the camera, whatever the rounding of differences.
    facing = torch.where((normal * towards).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    length = normal.square().sum(-1, keepdim=True).sqrt()
    known = (depth_at(depth, pixels)[..., None] > 0) & (length > 0)
    return position, normal * torch.where(known, facing / length.clamp(min=1e-20), 0.0)


class DepthSurface:
    """``surface_at`` of one depth map for many queries: every pixel is computed at most once.

    Training queries a few hundred points per view, an extraction hundreds of thousands. The map of all pixels is
    computed once the number of queries reaches the number of pixels.

    Args:
        depth: z in world units, 0 where nothing is seen.
        camera: camera of each depth map.
    """

    def __init__(self, depth: Float[Tensor, "B 1 H W"], camera: Camera) -> None:
        self._depth, self._camera = depth, camera
        self._num_asked = 0
        self._of_pixels: tuple[Tensor, Tensor] | None = None

    def __getitem__(self, picked: slice) -> DepthSurface:
        """Select some of the depth maps."""
        return DepthSurface(self._depth[picked], self._camera[picked])

    def at(self, pixels: Int[Tensor, "B N"]) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N 3"]]:
        """World positions and unit normals; see ``surface_at``."""
        num_pixels = self._depth[0].numel()
        self._num_asked += pixels.shape[1]
        if self._of_pixels is None and self._num_asked < num_pixels:
            return surface_at(self._depth, self._camera, pixels)
        if self._of_pixels is None:
            every = torch.arange(num_pixels, device=pixels.device).expand(len(pixels), -1)
            self._of_pixels = surface_at(self._depth, self._camera, every)
        position, normal = (values.gather(1, pixels[..., None].expand(-1, -1, 3)) for values in self._of_pixels)
        return position, normal


def _difference(depth: Tensor, camera: Camera, pixels: Tensor, position: Tensor, vertical: bool) -> Tensor:
    """Difference to the next or from the previous pixel along an axis, whichever is nearer in depth; else 0."""
    height, width = depth.shape[-2:]
    place, count, stride = (pixels // width, height, width) if vertical else (pixels % width, width, 1)
    here = depth_at(depth, pixels)
    steps, jumps = [], []
    for sign in (1, -1):
        inside = (place + sign >= 0) & (place + sign < count)
        beside = torch.where(inside, pixels + sign * stride, pixels)
        there = depth_at(depth, beside)
        known = inside & (there > 0) & (here > 0)
        steps.append(sign * (positions_at(depth, camera, beside) - position))
        jumps.append(torch.where(known, (there - here).abs(), torch.inf))
    nearer = torch.where((jumps[0] <= jumps[1])[..., None], steps[0], steps[1])
    return torch.where((torch.minimum(*jumps) < torch.inf)[..., None], nearer, 0.0)
