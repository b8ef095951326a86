"""The part of an image that shows the object, as an image of its own, and the camera of that."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera, Mesh
from raylift.geometry.cameras import pixel_centers, project

MARGIN = 0.15
"""Room around the object, in shares of its size, into which a silhouette may grow."""
_SAMPLES = 4


@dataclass(frozen=True)
class Window:
    """A square of an image, in its normalised coordinates.

    Attributes:
        u, v: centre.
        half: half its side; 1 is the whole image.
    """

    u: float
    v: float
    half: float

    def of_camera(self, camera: Camera) -> Camera:
        """The camera of the window's own image; gradients pass."""
        center = camera.principal.new_tensor([self.u, self.v])
        return replace(camera, focal=camera.focal / self.half, principal=(camera.principal - center) / self.half)

    def cut(self, image: Float[Tensor, "C H W"], size: int) -> Float[Tensor, "1 C S S"]:
        """The window's image at another size, averaged over each pixel; beyond the image it repeats the border."""
        places = pixel_centers(size * _SAMPLES, size * _SAMPLES) * self.half + torch.tensor([self.u, self.v])
        fine = torch.nn.functional.grid_sample(image[None], places[None], padding_mode="border", align_corners=False)
        return torch.nn.functional.avg_pool2d(fine, _SAMPLES)


def window_around(mesh: Mesh, camera: Camera, mask: Float[Tensor, "H W"]) -> Window:
    """The square around the silhouettes of the mask and of the mesh, with room; at most the whole image's size.

    Args:
        mask: with some foreground.
    """
    (seen,), _ = project(camera, mesh.vertices[None].detach().float())
    shown = pixel_centers(*mask.shape)[mask.detach().cpu() >= 0.5]
    points = torch.cat([shown, seen.clamp(-1, 1)])
    low, high = points.amin(0), points.amax(0)
    half = min(1.0, float((high - low).max()) / 2 * (1 + MARGIN))
    # A window that fits stays within the image.
    u, v = ((low + high) / 2).clamp(half - 1, 1 - half).tolist()
    return Window(u, v, half)
