"""Renders textured scenes on the CPU: supersampled colour and coverage, exact depth and faces at pixel centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raylift.core.errors import DataError
from raylift.core.types import Camera, Mesh
from raylift.rendering.corner_normals import corner_normals, face_crosses
from raylift.rendering.lighting import Lighting
from raylift.rendering.scene import Scene
from raylift.rendering.shading import facing, shade, texture_levels
from raylift.rendering.textures import TextureAtlas, build_atlas
from raylift.rendering.triangles import ScreenTriangles, check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest

COPLANAR_MARGIN = 1e-5
"""Faces whose depths differ by less than this share count as coplanar, and the first one is seen: no speckles where a
model has two materials on one plane."""


@dataclass(frozen=True)
class Rendering:
    """One view.

    Attributes:
        rgb: float32 [H, W, 3] in [0, 1], composited on the background.
        alpha: float32 [H, W]: the fraction of the pixel that the object covers.
        depth: float32 [H, W]: z in world units at the pixel's centre, 0 where nothing is hit; never averaged.
        faces: int32 [H, W]: the face at the pixel's centre, -1 where nothing is hit.
        background: RGB that was composited.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    faces: np.ndarray
    background: tuple[float, float, float]


def render(
    scene: Scene | Mesh,
    camera: Camera,
    image_px: int,
    lighting: Lighting | None = None,
    supersample: int = 2,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> list[Rendering]:
    """Render one image per camera; everything that does not depend on the view is prepared once.

    Faces are shaded on both sides, since furniture from the web is wound either way. Textures are sampled bilinearly
    from a pyramid and repeat. A pixel centre exactly on an edge is covered, so that shared edges leave no pinholes.

    Args:
        camera: B cameras.
        image_px: pixels per side.
        lighting: ``Lighting.fixed()`` by default.
        supersample: square root of the samples per pixel that colour and coverage are averaged over.
        background: RGB in [0, 1].

    Raises:
        DataError: a scene that cannot be indexed, or impossible sizes. A scene without faces is drawn empty.
    """
    check_image_px(image_px)
    if not 1 <= supersample <= 16:
        raise DataError(f"supersample is {supersample}", "use 1 to 16")
    lighting = lighting or Lighting.fixed()
    buffers = _prepare(Scene.from_mesh(scene) if isinstance(scene, Mesh) else scene, lighting)
    light = lighting.arrays()
    return [
        _render_view(buffers, camera[index], image_px, light, supersample, background) for index in range(len(camera))
    ]


class _Buffers(NamedTuple):
    vertices: np.ndarray
    faces: np.ndarray
    face_materials: np.ndarray
    corner_uvs: np.ndarray
    corner_colors: np.ndarray
    normals: np.ndarray
    crosses: np.ndarray
    first_corners: np.ndarray
    atlas: TextureAtlas


def _prepare(scene: Scene, lighting: Lighting) -> _Buffers:
    vertices = np.asarray(scene.vertices, np.float64)
    faces = np.ascontiguousarray(scene.faces, np.int32)
    check_mesh(vertices, faces)
    num_faces, num_materials = len(faces), len(scene.materials)
    materials = np.ascontiguousarray(scene.face_materials, np.int32)
    if materials.shape != (num_faces,) or (num_faces and not 0 <= materials.min() <= materials.max() < num_materials):
        raise DataError(
            f"face materials have shape {materials.shape} for {num_faces} faces and {num_materials} materials",
            "set each face's material to an index of the scene's materials",
        )
    uvs = np.ascontiguousarray(scene.corner_uvs, np.float64)
    colors = scene.vertex_colors
    if uvs.shape != (num_faces, 3, 2) or (colors is not None and colors.shape != vertices.shape):
        raise DataError(
            f"corner_uvs of shape {uvs.shape} or vertex colours do not fit {num_faces} faces, {len(vertices)} vertices",
            "use shapes [F, 3, 2] and [V, 3]",
        )
    return _Buffers(
        vertices,
        faces,
        materials,
        uvs,
        np.zeros((0, 3, 3)) if colors is None else np.asarray(colors, np.float64)[faces],
        # Smooth normals are a third of an image's time.
        np.zeros((num_faces, 3, 3)) if lighting.is_uniform else corner_normals(vertices, faces),
        face_crosses(vertices, faces),
        vertices[faces[:, 0]],
        build_atlas([m.texture for m in scene.materials], [m.base_color for m in scene.materials]),
    )


def _render_view(
    buffers: _Buffers,
    camera: Camera,
    image_px: int,
    light: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    supersample: int,
    background: tuple[float, float, float],
) -> Rendering:
    perspective = camera.projection == "perspective"
    screen = project_triangles(buffers.vertices, buffers.faces, camera)
    _, fine = fill_nearest(screen.corners, image_px * supersample, perspective, COPLANAR_MARGIN)
    depth, coarse = fill_nearest(screen.corners, image_px, perspective, COPLANAR_MARGIN)
    rotation = camera.rotation[0].detach().cpu().numpy().astype(np.float64)
    translation = camera.translation[0].detach().cpu().numpy().astype(np.float64)
    eye = -rotation.T @ translation
    rgb, alpha = shade(
        fine,
        supersample,
        perspective,
        *screen[:2],
        screen.weights,
        facing(buffers.crosses, buffers.first_corners, eye, rotation[2], perspective),
        texture_levels(
            screen.corners,
            screen.face,
            len(screen.weights) > 0,
            buffers.face_materials,
            buffers.corner_uvs,
            buffers.atlas.height,
            buffers.atlas.width,
            buffers.atlas.num_levels,
            image_px * supersample,
        ),
        buffers.face_materials,
        buffers.corner_uvs,
        buffers.corner_colors,
        buffers.normals,
        *buffers.atlas,
        *light,
        np.array(background, np.float64),
    )
    return Rendering(
        rgb, alpha, np.where(coarse >= 0, depth, 0.0).astype(np.float32), _faces(screen, coarse), background
    )


def _faces(screen: ScreenTriangles, triangle: np.ndarray) -> np.ndarray:
    if len(screen.face) == 0:
        return triangle
    return np.where(triangle >= 0, screen.face[triangle], -1).astype(np.int32)
