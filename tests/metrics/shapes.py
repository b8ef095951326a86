"""Meshes with closed forms."""

from __future__ import annotations

import numpy as np
import trimesh


def sphere(radius: float, subdivisions: int = 5) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.array(mesh.vertices), np.array(mesh.faces)


def box(
    extents: tuple[float, float, float], center: tuple[float, float, float] = (0, 0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.box(extents=extents)
    return np.array(mesh.vertices) + np.array(center), np.array(mesh.faces)


def torus(major: float = 0.35, minor: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.torus(major, minor, major_sections=48, minor_sections=24)
    return np.array(mesh.vertices), np.array(mesh.faces)


def winding_number(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Sum of solid angles over 4 pi (van Oosterom and Strackee 1983), the slow and obvious way."""
    corners = vertices[faces][None] - points[:, None, None]
    a, b, c = corners[:, :, 0], corners[:, :, 1], corners[:, :, 2]
    la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    numerator = np.einsum("nfk,nfk->nf", a, np.cross(b, c))
    denominator = (
        la * lb * lc
        + np.einsum("nfk,nfk->nf", a, b) * lc
        + np.einsum("nfk,nfk->nf", b, c) * la
        + np.einsum("nfk,nfk->nf", c, a) * lb
    )
    return (2 * np.arctan2(numerator, denominator)).sum(axis=1) / (4 * np.pi)
