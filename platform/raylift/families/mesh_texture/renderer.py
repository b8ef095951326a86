"""F_r: this family's meshes, which share faces and UVs, by the soft rasteriser."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.types import Camera
from raylift.families.mesh_texture.config import RenderConfig
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_render import SoftRendering, render_soft_texture, render_soft_vertices
from raylift.rendering.soft_silhouette import soft_silhouette


class Renderer(nn.Module):
    """Silhouettes and pictures of meshes of one topology, by B weak-perspective cameras.

    Args:
        faces: of every mesh.
        corner_uvs: of every mesh's corners.
        image_px: of the pictures.
        config: softness.
    """

    faces: Tensor
    corner_uvs: Tensor

    def __init__(
        self, faces: Int[Tensor, "F 3"], corner_uvs: Float[Tensor, "F 3 2"], image_px: int, config: RenderConfig
    ) -> None:
        super().__init__()
        self.image_px, self.config = image_px, config
        self.blend = SoftBlend(config.texture_sigma, config.gamma)
        # Constants that follow from the recipe are left out of checkpoints.
        self.register_buffer("faces", faces, persistent=False)
        self.register_buffer("corner_uvs", corner_uvs, persistent=False)

    def silhouette(self, vertices: Float[Tensor, "B V 3"], camera: Camera) -> Float[Tensor, "B H W"]:
        """Coverage in [0, 1]; gradients reach vertices and cameras."""
        screen = project_to_screen(precise(vertices), camera)
        config = self.config
        return soft_silhouette(screen, self.faces, self.image_px, config.sigma, faces_per_pixel=config.silhouette_faces)

    def textured(
        self,
        vertices: Float[Tensor, "B V 3"],
        texture: Float[Tensor, "B C Ht Wt"],
        camera: Camera,
        moves_shape: bool = True,
        moves_camera: bool = True,
    ) -> SoftRendering:
        """Pictures on white, with the faces at each pixel and their weights.

        Args:
            moves_shape, moves_camera: the pictures' gradients reach vertices, cameras, too.
        """
        placed = vertices if moves_shape else vertices.detach()
        return render_soft_texture(
            project_to_screen(precise(placed), camera if moves_camera else constant(camera)),
            self.faces,
            self.corner_uvs,
            precise(texture),
            self.image_px,
            self.config.faces_per_pixel,
            self.blend,
            background=(1.0,) * texture.shape[1],
            perspective=False,
        )

    def vertex_values(
        self, vertices: Float[Tensor, "B V 3"], values: Float[Tensor, "1 V C"], camera: Camera
    ) -> Float[Tensor, "B C H W"]:
        """What vertices carry, on a background of zeros."""
        screen = project_to_screen(precise(vertices), camera)
        rendering = render_soft_vertices(
            screen,
            self.faces,
            values,
            self.image_px,
            self.config.faces_per_pixel,
            self.blend,
            perspective=False,
            keep_fragments=False,
        )
        return rendering.values


def constant(camera: Camera) -> Camera:
    """The same cameras without gradient."""
    return replace(
        camera,
        focal=camera.focal.detach(),
        principal=camera.principal.detach(),
        rotation=camera.rotation.detach(),
        translation=camera.translation.detach(),
    )


def precise(values: Tensor) -> Tensor:
    """At least float32: in bfloat16 a coordinate is rounded to 1/256 of itself, about a pixel."""
    return values if values.dtype == torch.float64 else values.float()
