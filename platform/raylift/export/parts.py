"""Meshes and scenes as parts ready to draw: one material each, attributes per vertex. Input of every writer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import fast_simplification
import numpy as np
from scipy.spatial import cKDTree

from raylift.core.errors import DataError
from raylift.core.types import Mesh
from raylift.export.texture_padding import pad_texture
from raylift.rendering.scene import Material, Scene


@dataclass(frozen=True)
class Part:
    """Triangles of one material.

    Attributes:
        positions: float32 [V, 3].
        indices: uint32 [F, 3].
        base_color: RGB in [0, 1], as displayed (sRGB), multiplied with colours and texture.
        normals: float32 [V, 3], unit length; None means flat shading.
        colors: uint8 [V, 3], as displayed.
        uvs: float32 [V, 2], (0, 0) bottom-left.
        texture: uint8 [H, W, 3], first row on top.
        name: name of the material.
    """

    positions: np.ndarray
    indices: np.ndarray
    base_color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    uvs: np.ndarray | None = None
    texture: np.ndarray | None = None
    name: str = ""


def split_into_parts(shape: Mesh | Scene) -> list[Part]:
    """One part per material; meshes get smooth normals, scenes (boards and legs with hard edges) flat shading.

    A mesh's texture is padded, so that no viewer shows a seam (see ``export.texture_padding``).

    Raises:
        DataError: there are no faces, a vertex index is out of range, or a position is not finite.
    """
    scene = Scene.from_mesh(shape) if isinstance(shape, Mesh) else shape
    if len(scene.faces) == 0:
        raise DataError("a mesh without faces cannot be written", "the reconstruction is empty: check the input image")
    if scene.faces.min() < 0 or scene.faces.max() >= len(scene.vertices):
        raise DataError(
            f"a face refers to vertex {scene.faces.max()} of {len(scene.vertices)}", "fix the mesh where it was made"
        )
    if not np.isfinite(scene.vertices).all():
        raise DataError("a vertex position is not finite", "fix the mesh where it was made")
    normals = None
    if isinstance(shape, Mesh):
        normals = vertex_normals(scene.vertices, scene.faces)
        if scene.materials[0].texture is not None:
            texture, uvs = pad_texture(scene.materials[0].texture, scene.corner_uvs)
            scene = replace(scene, materials=(replace(scene.materials[0], texture=texture),), corner_uvs=uvs)
    parts = []
    for number in np.unique(scene.face_materials):
        chosen = np.flatnonzero(scene.face_materials == number)
        parts.append(_make_part(scene, chosen, scene.materials[number], normals))
    return parts


def _make_part(scene: Scene, chosen: np.ndarray, material: Material, normals: np.ndarray | None) -> Part:
    corners = scene.faces[chosen].reshape(-1)
    if material.texture is None:
        used, indices = np.unique(corners, return_inverse=True)
        uvs = None
    else:
        # A vertex on a seam of the texture becomes one vertex per side.
        keys = np.empty(len(corners), dtype=[("vertex", np.int64), ("u", np.float32), ("v", np.float32)])
        corner_uvs = scene.corner_uvs[chosen].reshape(-1, 2).astype(np.float32)
        keys["vertex"], keys["u"], keys["v"] = corners, corner_uvs[:, 0], corner_uvs[:, 1]
        unique, indices = np.unique(keys, return_inverse=True)
        used, uvs = unique["vertex"], np.stack([unique["u"], unique["v"]], axis=1)
    colors = None
    if scene.vertex_colors is not None:
        colors = (scene.vertex_colors[used].clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Part(
        positions=scene.vertices[used].astype(np.float32),
        indices=indices.reshape(-1, 3).astype(np.uint32),
        base_color=material.base_color,
        normals=None if normals is None else normals[used],
        colors=colors,
        uvs=uvs,
        texture=material.texture,
        name=material.name,
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, float32 [V, 3]; +Y if a vertex has no face of positive area."""
    corners = vertices.astype(np.float64)[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [
            np.bincount(faces.reshape(-1), np.repeat(face_normals[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit = np.where(length > 1e-30, total / np.maximum(length, 1e-30), (0.0, 1.0, 0.0))
    return unit.astype(np.float32)


def sample_texture(texture: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """Bilinear, repeating: uint8 [H, W, 3] at float [N, 2] -> float32 [N, 3] in [0, 1]."""
    height, width = texture.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, (1.0 - uvs[:, 1]) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = (x - left)[:, None], (y - top)[:, None]
    image = texture.astype(np.float32) / 255.0

    def pick(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        picked: np.ndarray = image[row % height, column % width]
        return picked

    upper = pick(top, left) * (1 - across) + pick(top, left + 1) * across
    lower = pick(top + 1, left) * (1 - across) + pick(top + 1, left + 1) * across
    sampled: np.ndarray = (upper * (1 - down) + lower * down).astype(np.float32)
    return sampled


def displayed_colors(part: Part) -> np.ndarray | None:
    """Colour at each vertex with base colour and texture multiplied in, uint8 [V, 3]; None for a plain white part."""
    color = np.broadcast_to(np.asarray(part.base_color, np.float32), part.positions.shape)
    if part.colors is None and part.texture is None and color.min() >= 1:
        return None
    if part.colors is not None:
        color = color * (part.colors.astype(np.float32) / 255.0)
    if part.texture is not None and part.uvs is not None:
        color = color * sample_texture(part.texture, part.uvs)
    return (color.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def thin_out(part: Part, max_faces: int) -> Part:
    """The part with ``max_faces``, by edge collapses of least quadric error; textured parts are unchanged.

    A new vertex has the colour of the nearest old one. Loose triangles, whose borders stay, may leave more faces.
    """
    if len(part.indices) <= max_faces or part.texture is not None:
        return part
    positions, indices = fast_simplification.simplify(
        part.positions.astype(np.float32), part.indices.astype(np.int32), target_count=max_faces
    )
    nearest = cKDTree(part.positions).query(positions)[1]
    return replace(
        part,
        positions=np.asarray(positions, np.float32),
        indices=indices.astype(np.uint32),
        normals=None if part.normals is None else vertex_normals(positions, indices),
        colors=None if part.colors is None else part.colors[nearest],
    )
