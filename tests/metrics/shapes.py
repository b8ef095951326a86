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
