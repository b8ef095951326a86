"""Small meshes that the export tests share."""

from __future__ import annotations

import numpy as np
import torch
import trimesh

from raylift.core.types import Mesh
from raylift.geometry.icosphere import icosphere
from raylift.geometry.uv_sphere import corner_uvs
from raylift.rendering.scene import Material, Scene


def colored_sphere(subdivisions: int = 2) -> Mesh:
    """Red with a little green, more of it towards +X."""
    ball = trimesh.creation.icosphere(subdivisions, radius=0.4)
    vertices = torch.tensor(np.asarray(ball.vertices), dtype=torch.float32)
    colors = torch.stack(
        [torch.full((len(vertices),), 0.8), 0.2 + 0.2 * vertices[:, 0], torch.full((len(vertices),), 0.1)], 1
    )
    return Mesh(vertices, torch.tensor(np.asarray(ball.faces)), vertex_colors=colors)


def textured_square() -> Mesh:
    """The square [-0.5, 0.5]^2 at z = 0, facing +Z, under a 2x2 texture: red, green above blue, white."""
    vertices = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    texture = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    return Mesh(vertices, faces, corner_uvs=vertices[faces][..., :2] + 0.5, texture=texture)


def checkered_sphere(level: int = 2, height: int = 32) -> Mesh:
    """A sphere's map with faces across the back and gaps at the poles; colours change around it without a step."""
    vertices, faces = icosphere(level)
    corners, triangles = torch.from_numpy(vertices), torch.from_numpy(faces)
    around = (torch.arange(2 * height) + 0.5) / (2 * height) * 2 * torch.pi
    up = (torch.arange(height) + 0.5)[:, None] / height
    color = torch.stack([0.5 + 0.4 * around.cos(), 0.5 + 0.4 * around.sin(), torch.zeros_like(around)], dim=-1)
    texture = color[None] * (0.4 + 0.6 * up[..., None])
    return Mesh(
        (0.5 * corners / corners.norm(dim=1, keepdim=True)).float(),
        triangles,
        corner_uvs=corner_uvs(corners, triangles).float(),
        texture=texture.float(),
    )


def two_material_scene() -> Scene:
    """Two boxes: one textured, one brown."""
    boxes = [trimesh.creation.box((0.8, 0.1, 0.8)), trimesh.creation.box((0.1, 0.6, 0.1))]
    vertices = np.concatenate([np.asarray(box.vertices) for box in boxes]).astype(np.float32)
    faces = np.concatenate([np.asarray(boxes[0].faces), np.asarray(boxes[1].faces) + 8]).astype(np.int32)
    texture = np.full((4, 4, 3), 200, np.uint8)
    return Scene(
        vertices=vertices,
        faces=faces,
        face_materials=np.repeat([0, 1], 12).astype(np.int32),
        materials=(Material((1.0, 1.0, 1.0), texture, "cloth"), Material((0.5, 0.3, 0.1), None, "wood")),
        corner_uvs=(vertices[faces][..., [0, 2]] + 0.5).astype(np.float32),
    )
