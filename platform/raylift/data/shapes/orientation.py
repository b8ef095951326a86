"""Rotate objects at random before they are prepared, so that no axis of the world is an axis of the object."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from raylift.core.generators import numpy_generator
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.rendering.scene import Scene

ObjectRotation = Literal["none", "vertical", "so3"]
"""As the source orients it; about the vertical axis by a uniform angle; uniform over all rotations."""


def drawn_rotation(kind: ObjectRotation, seed: int, object_id: str) -> np.ndarray:
    """The rotation of an object, float64 [3, 3], keyed by (seed, id): ``rotated = vertices @ rotation.T``.

    Over SO(3) it is uniform: four independent normal variables, normalised, are a uniform unit quaternion
    (Shoemake, Uniform Random Rotations, Graphics Gems III, 1992).
    """
    rng = numpy_generator(seed, object_id, "rotation")
    if kind == "none":
        return np.eye(3)
    if kind == "vertical":
        half = rng.uniform(0.0, np.pi)
        quaternion = np.array([np.cos(half), 0.0, np.sin(half), 0.0])
    else:
        quaternion = rng.normal(size=4)
    matrix: np.ndarray = quaternion_to_matrix(torch.from_numpy(quaternion)).numpy()
    return matrix


def rotate_scene(scene: Scene, rotation: np.ndarray) -> Scene:
    """The scene rotated about the origin, without rounding in between; its vertices must be finite.

    Args:
        rotation: float64 [3, 3].
    """
    vertices = scene.vertices.astype(np.float64) @ rotation.T
    return replace(scene, vertices=vertices.astype(np.float32))
