"""Pictures of volumes: the entry point of the volume renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera
from raylift.rendering.triangles import check_image_px
from raylift.rendering.volume.compiled import render_compiled
from raylift.rendering.volume.dense import render_dense
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.rays import sample_rays


@dataclass(frozen=True)
class VolumeView:
    """What V cameras see of volumes, weighted by the probability that a ray ends at each sample.

    Attributes:
        features: sum of weight * feature, not divided by alpha; ``features + (1 - alpha) * c`` is the picture on a
            background c.
        alpha: sum of weights, in [0, 1].
        depth: sum of weight * z, with z in camera axes (world units), not divided by alpha.
    """

    features: Float[Tensor, "V C H W"]
    alpha: Float[Tensor, "V 1 H W"]
    depth: Float[Tensor, "V 1 H W"]


def render_volume(
    grid: VolumeGrid,
    camera: Camera,
    image_px: int,
    num_samples: int = 48,
    grid_of_view: Int[Tensor, "V"] | None = None,
    min_weight: float = 1e-3,
    stop_transmittance: float = 1e-3,
) -> VolumeView:
    """Render volumes by compositing samples front to back, w_i = a_i prod_{j < i} (1 - a_j).

    This is equation 3 of the shelf-supervised paper: the probability of a hit is the occupancy times all earlier
    vacancies. a_i is the occupancy itself, or, for a density d and the distance s between samples,
    1 - exp(-d_i s). Each ray has ``num_samples`` samples, at the midpoints of equal parts of what the box cuts out of
    it: for kind "occupancy", alpha depends on their number. Gradients reach density, features, and the camera's focal,
    principal, rotation and translation, through the positions of the samples, which move with the ends of a ray.

    On the CPU it is compiled, in float32 or float64, and the same bits for any number of threads. Density is read
    first. Features are read where a sample, with those unread before it, weighs ``min_weight`` or more, so that no
    weight is lost: features that do not change are exact. Space where a whole ray would stop less than half of that is
    skipped, and a ray ends where less than ``stop_transmittance`` of its light is left. With the defaults, alpha
    differs by less than 2e-3 from the dense one, and in practice both by less than 1e-3, for features between 0 and 1.
    Empty space still gets its gradient, with the colour of what is read behind it. A sample that ends a ray gets none
    from what it hides, which matters for occupancies alone, where a sigmoid damps it by 1 - a. With 0 for both, all is
    exact.

    Args:
        grid: B volumes; its device selects the implementation. On an NVIDIA GPU Triton kernels do the same, but sum the
            gradients of cells in no fixed order and do not check values; without Triton it is the dense renderer.
        camera: V cameras, perspective or orthographic.
        image_px: side of the image in pixels.
        grid_of_view: index of the volume that each view shows; view v shows volume v by default.

    Raises:
        ConfigError: impossible sizes or thresholds.
        DataError: cameras that do not fit the volumes, or values that are not finite.
    """
    check_image_px(image_px)
    if num_samples < 1:
        raise ConfigError(f"num_samples is {num_samples}", "use at least 1 sample per ray, such as 48")
    for name, value in (("min_weight", min_weight), ("stop_transmittance", stop_transmittance)):
        if not 0 <= value < 1:
            raise ConfigError(f"{name} is {value}", "use 0 (exact) or a little more, such as 1e-3")
    owner = _owners(grid, len(camera), grid_of_view)
    dtype = torch.promote_types(grid.density.dtype, torch.float32)
    device = grid.density.device
    with torch.autocast(device.type, enabled=False):
        grid = replace(grid, density=grid.density.to(dtype), features=grid.features.to(dtype))
        rays = sample_rays(camera.to(device, dtype), image_px, grid.half_extent, num_samples)
        if device.type == "cpu":
            _check_values(grid, camera)
            seen, alpha, depth = render_compiled(grid, rays, owner, num_samples, min_weight, stop_transmittance)
        elif device.type == "cuda" and find_spec("triton") is not None:
            from raylift.rendering.volume.fused import render_fused

            seen, alpha, depth = render_fused(grid, rays, owner, num_samples, min_weight, stop_transmittance)
        else:
            seen, alpha, depth = render_dense(grid, rays, owner, num_samples)
    square = (image_px, image_px)
    return VolumeView(
        seen.unflatten(-1, square), alpha[:, None].unflatten(-1, square), depth[:, None].unflatten(-1, square)
    )


def _owners(grid: VolumeGrid, num_views: int, grid_of_view: Tensor | None) -> Int[Tensor, "V"]:
    """The volume of each view, checked."""
    if grid_of_view is None:
        if num_views != len(grid):
            raise DataError(f"{num_views} cameras do not fit {len(grid)} volumes", "pass grid_of_view")
        return torch.arange(num_views, device=grid.density.device)
    owner = grid_of_view.to(grid.density.device, torch.int64)
    if owner.shape != (num_views,):
        raise DataError(f"grid_of_view has shape {tuple(owner.shape)}", f"use one volume for each of {num_views} views")
    if owner.device.type == "cpu" and num_views and not 0 <= int(owner.min()) <= int(owner.max()) < len(grid):
        raise DataError(f"grid_of_view is from {int(owner.min())} to {int(owner.max())}", f"use 0 to {len(grid) - 1}")
    return owner


def _check_values(grid: VolumeGrid, camera: Camera) -> None:
    grid.check_values()
    parts = (camera.focal, camera.principal, camera.rotation, camera.translation)
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise DataError("a camera is not finite", "a diverged pose gives such values: use a lower learning rate")
    if not bool((camera.focal != 0).all()):
        raise DataError("a camera has focal length 0", "use a focal length above 0")
