"""F_r: renders this model's meshes, which share faces and UVs, with the soft rasteriser."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.precision import at_least_float32
from raylift.core.types import Camera
from raylift.models.mesh_texture.config import RenderConfig
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_silhouette import soft_silhouette
from raylift.rendering.soft_view import SoftView


class Renderer(nn.Module):
    """Silhouettes and textured renders of meshes of one topology, by weak-perspective cameras.

    Args:
        faces: faces of every mesh.
        corner_uvs: UVs of every mesh's face corners.
        image_px: side of the rendered images.
        config: softness of the rasteriser.
    """

    faces: Tensor
    corner_uvs: Tensor

    def __init__(
        self, faces: Int[Tensor, "F 3"], corner_uvs: Float[Tensor, "F 3 2"], image_px: int, config: RenderConfig
    ) -> None:
        super().__init__()
        self.image_px, self.config = image_px, config
        self.blend = SoftBlend(config.texture_sigma, config.gamma)
        # Constants that follow from the recipe are not in checkpoints.
        self.register_buffer("faces", faces, persistent=False)
        self.register_buffer("corner_uvs", corner_uvs, persistent=False)

    def silhouette(self, vertices: Float[Tensor, "B V 3"], camera: Camera) -> Float[Tensor, "N H W"]:
        """Coverage in [0, 1]; gradients reach vertices and cameras.

        Args:
            camera: N = B x K cameras: K consecutive ones of each mesh.
        """
        config, screen = self.config, on_screen(vertices, camera)
        return soft_silhouette(screen, self.faces, self.image_px, config.sigma, faces_per_pixel=config.silhouette_faces)

    def view(self, vertices: Float[Tensor, "B V 3"], camera: Camera) -> SoftView:
        """Rasterise meshes once by cameras: for ``textured`` and for the view's other methods.

        Args:
            camera: N = B x K cameras: K consecutive ones of each mesh.
        """
        layers = self.config.faces_per_pixel
        return SoftView(on_screen(vertices, camera), self.faces, self.image_px, layers, self.blend, perspective=False)

    def textured(self, view: SoftView, texture: Float[Tensor, "B C Ht Wt"]) -> Float[Tensor, "N C H W"]:
        """Textured renders on white; gradients reach textures and ``view.screen``.

        Args:
            view: view of N = B x K cameras: K consecutive ones of each texture.
        """
        return view.texture(self.corner_uvs, at_least_float32(texture), (1.0,) * texture.shape[1])


def on_screen(vertices: Float[Tensor, "B V 3"], camera: Camera) -> Float[Tensor, "N V 3"]:
    """(u, v, z) of every mesh by K consecutive cameras each: N = B x K."""
    number, views = vertices.shape[0], len(camera)
    if views != number:
        vertices = vertices.repeat_interleave(views // number, dim=0)
    return project_to_screen(at_least_float32(vertices), camera)


def constant(camera: Camera) -> Camera:
    """Detach cameras from the graph."""
    return replace(
        camera,
        focal=camera.focal.detach(),
        principal=camera.principal.detach(),
        rotation=camera.rotation.detach(),
        translation=camera.translation.detach(),
    )
