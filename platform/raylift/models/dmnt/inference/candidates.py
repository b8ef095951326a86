"""Candidates of a fit: one image explained by one category at one pose and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from raylift.core.types import Camera
from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.models.dmnt.inference.config import OffsetKind

POSE_SIZE = 6


@dataclass(frozen=True)
class Candidates:
    """M candidates, of any images, refined as one batch.

    Attributes:
        image: index of each candidate's image.
        category: index of its category.
        camera: its camera, perspective.
        latent: its shape in standard deviations from the category's mean; 0 is the mean.
    """

    image: Int[Tensor, "M"]
    category: Int[Tensor, "M"]
    camera: Camera
    latent: Float[Tensor, "M L"]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, picked: Tensor) -> Candidates:
        return Candidates(self.image[picked], self.category[picked], self.camera[picked], self.latent[picked])

    def moved(self, step: Float[Tensor, "M 6"], offset: OffsetKind) -> Candidates:
        """Candidates at other poses; see ``moved_camera``."""
        return replace(self, camera=moved_camera(self.camera, step, offset))


def moved_camera(camera: Camera, step: Float[Tensor, "M 6"], offset: OffsetKind) -> Camera:
    """Change a pose by a step in its tangent space, with gradients: x -> exp([w]) R x + exp(s) t, then shifted by o.

    Args:
        step: (w, s, o): rotation vector in camera axes, radians; logarithm of the distance's factor; shift of the
            object's centre in the image, half image sizes. Zeros change nothing.
        offset: what moves by o.
    """
    turned = replace(
        camera,
        rotation=axis_angle_to_matrix(step[:, :3]) @ camera.rotation,
        translation=camera.translation * step[:, 3:4].exp(),
    )
    return shifted_camera(turned, step[:, 4:], offset)


def shifted_camera(camera: Camera, shift: Float[Tensor, "M 2"], offset: OffsetKind) -> Camera:
    """Move the object's centre in the image, in half image sizes, with gradients."""
    if offset == "principal":
        return replace(camera, principal=camera.principal + shift)
    across = shift * camera.translation[:, 2:] / camera.focal
    return replace(camera, translation=camera.translation + pad(across, (0, 1)))
