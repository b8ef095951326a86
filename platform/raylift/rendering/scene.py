"""A textured scene, from sources to renderers: triangles with several materials, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raylift.core.types import Mesh


@dataclass(frozen=True)
class Material:
    """Diffuse appearance.

    Attributes:
        base_color: RGB in [0, 1], multiplied with the texture.
        texture: uint8 [H, W, 3] (first row on top, repeated outside of [0, 1]^2), or None.
        name: name in the source, such as an MTL name; captions are made from it.
    """

    base_color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    texture: np.ndarray | None = None
    name: str = ""


@dataclass(frozen=True)
class Scene:
    """Triangles with materials.

    Attributes:
        vertices: float32 [V, 3], world frame of ``core.types`` once normalised.
        faces: int32 [F, 3].
        face_materials: int32 [F], into materials.
        materials: at least one.
        corner_uvs: float32 [F, 3, 2], (0, 0) bottom-left; zeros where a face has none.
        vertex_colors: float32 [V, 3] in [0, 1], multiplied with the material's colour; or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_materials: np.ndarray
    materials: tuple[Material, ...]
    corner_uvs: np.ndarray
    vertex_colors: np.ndarray | None = None

    @staticmethod
    def from_mesh(mesh: Mesh) -> Scene:
        """A scene of one material that looks like the mesh."""
        faces = mesh.faces.detach().cpu().numpy().astype(np.int32)
        texture = None
        if mesh.texture is not None:
            texture = (mesh.texture.detach().cpu().numpy().clip(0, 1) * 255 + 0.5).astype(np.uint8)
        colors = None if mesh.vertex_colors is None else mesh.vertex_colors.detach().cpu().numpy().astype(np.float32)
        plain = texture is None and colors is None
        uvs = (
            np.zeros((len(faces), 3, 2), np.float32)
            if mesh.corner_uvs is None
            else mesh.corner_uvs.detach().cpu().numpy().astype(np.float32)
        )
        return Scene(
            vertices=mesh.vertices.detach().cpu().numpy().astype(np.float32),
            faces=faces,
            face_materials=np.zeros(len(faces), np.int32),
            materials=(Material((0.8, 0.8, 0.8) if plain else (1.0, 1.0, 1.0), texture),),
            corner_uvs=uvs,
            vertex_colors=colors,
        )
