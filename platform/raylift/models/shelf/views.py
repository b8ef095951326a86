"""Rendered views: their cameras, their pictures, and the images that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.device_copies import upload
from raylift.core.types import Camera
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.geometry.voxels import grid_points
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march import VolumeView

SOLID_DEPTH = 0.05
"""Thickness in world units that a cell of "density" must shut out more than half of the light over to be framed."""
SOLID = 0.5


@dataclass(frozen=True)
class Pictures:
    """Premultiplied RGB and coverage of V pictures, rendered or real.

    Attributes:
        rgb: colour times coverage, in [0, 1].
        alpha: coverage in [0, 1].
    """

    rgb: Float[Tensor, "V 3 H W"]
    alpha: Float[Tensor, "V 1 H W"]

    @staticmethod
    def of_view(view: VolumeView) -> Pictures:
        """What a renderer saw. The colour of a volume is composited with its coverage, so no background is painted."""
        return Pictures(view.features, view.alpha)

    @staticmethod
    def of_images(image: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"], px: int) -> Pictures:
        """Images on white, reduced by area averages to ``px``."""
        small = functional.interpolate(image, size=px, mode="area")
        alpha = functional.interpolate(mask, size=px, mode="area")
        return Pictures((small - (1 - alpha)).clamp(min=0), alpha)

    @cached_property
    def on_white(self) -> Float[Tensor, "V 3 H W"]:
        return self.rgb + (1 - self.alpha)

    @cached_property
    def rgba(self) -> Float[Tensor, "V 4 H W"]:
        return torch.cat([self.rgb, self.alpha], dim=1)

    def detach(self) -> Pictures:
        return Pictures(self.rgb.detach(), self.alpha.detach())


def framed_camera(grid: VolumeGrid, quaternion: Float[Tensor, "B 4"], fill: float) -> WeakPerspective:
    """Cameras of given rotations that centre each solid, with its longest side ``fill`` of the image's.

    Real images are crops around their objects; novel views must be too, or a discriminator recognises them by their
    margins. The frame has no gradient: a shape must not grow to fill it. A volume without a solid cell is framed as a
    whole.
    """
    with torch.no_grad():
        density = grid.density
        hit = density if grid.kind == "occupancy" else 1 - torch.exp(-density * SOLID_DEPTH)
        solid = (hit > SOLID).flatten(1)
        solid = solid | ~solid.any(dim=1, keepdim=True)
        cells = upload(torch.from_numpy(grid_points(density.shape[1], grid.half_extent)), density.device).to(density)
        rotated = cells @ quaternion_to_matrix(quaternion.to(density)).mT[:, :, :2]
        none = float("inf")
        low = rotated.masked_fill(~solid[..., None], none).amin(dim=1)
        high = rotated.masked_fill(~solid[..., None], -none).amax(dim=1)
        scale = 2 * fill / (high - low).amax(dim=1).clamp(min=1e-6)
        return WeakPerspective(scale, -scale[:, None] * (low + high) / 2, quaternion.to(density))


def constant_camera(cameras: WeakPerspective) -> Camera:
    """The camera of these numbers, without a gradient."""
    return from_weak_perspective(WeakPerspective(*(part.detach() for part in cameras)))
