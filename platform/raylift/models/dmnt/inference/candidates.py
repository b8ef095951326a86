"""Candidates of a fit: one image explained by one category at one pose and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.rotations import axis_angle_to_matrix

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

    def moved(self, step: Float[Tensor, "M 6"]) -> Candidates:
        """Candidates at other poses; see ``moved_camera``."""
        return replace(self, camera=moved_camera(self.camera, step))


def moved_camera(camera: Camera, step: Float[Tensor, "M 6"]) -> Camera:
    """Change a pose by a step in its tangent space, with gradients: x -> exp([w]) R x + exp(s) t, image shifted by o.

    Args:
        step: (w, s, o): rotation vector in camera axes, radians; logarithm of the distance's factor; shift of the
            image, half image sizes. Zeros change nothing.
    """
    return replace(
        camera,
        rotation=axis_angle_to_matrix(step[:, :3]) @ camera.rotation,
        translation=camera.translation * step[:, 3:4].exp(),
        principal=camera.principal + step[:, 4:],
    )
