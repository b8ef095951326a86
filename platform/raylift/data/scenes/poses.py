"""Cameras of scenes: any azimuth, a band of elevations, a small roll, a distance, and an object off the centre."""

from __future__ import annotations

import math

import numpy as np
import torch

from raylift.core.types import Camera
from raylift.geometry.cameras import ORBIT_FOV_DEG, camera_centers, focal_of_fov, orbit_rotations

ELEVATIONS_DEG = (-10.0, 55.0)
"""Drawn evenly by area of the sphere."""
MOST_ROLL_DEG = 15.0
DISTANCES = (1.75, 2.5)
"""World units; at the least distance, a sphere of radius 0.67 fits into the image where it is centred the worst."""
MOST_OFFSET = 0.12
"""Largest distance of the object's centre from the image's along u and v, normalised."""


def draw_camera(rng: np.random.Generator) -> Camera:
    """One camera, float32, whose principal point is the image's centre.

    The rotation alone is the pose; the offset is a translation across the line of sight, so perspective is exact.
    """
    azimuth = rng.uniform(0.0, 360.0)
    low, high = (math.sin(math.radians(angle)) for angle in ELEVATIONS_DEG)
    elevation = math.degrees(math.asin(rng.uniform(low, high)))
    roll = math.radians(rng.uniform(-MOST_ROLL_DEG, MOST_ROLL_DEG))
    distance = rng.uniform(*DISTANCES)
    u, v = rng.uniform(-MOST_OFFSET, MOST_OFFSET, 2)
    focal = focal_of_fov(ORBIT_FOV_DEG)
    turn = torch.tensor(
        [[math.cos(roll), -math.sin(roll), 0.0], [math.sin(roll), math.cos(roll), 0.0], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    rotation = turn @ orbit_rotations(torch.tensor([azimuth]), torch.tensor([elevation]))
    return Camera(
        torch.full((1, 2), focal),
        torch.zeros(1, 2),
        rotation.float(),
        torch.tensor([[u * distance / focal, v * distance / focal, distance]], dtype=torch.float32),
    )


def nearest_view(camera: Camera, views: Camera) -> int:
    """The index of the view from the side that is the nearest to the camera's."""
    eye, eyes = (torch.nn.functional.normalize(camera_centers(each), dim=-1) for each in (camera, views))
    return int((eyes @ eye[0]).argmax())
