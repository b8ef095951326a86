"""PASCAL3D+'s projection from its description, step by step in its own axes; nothing of the package is used."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull


def project_annotated(
    points: np.ndarray,
    azimuth: float,
    elevation: float,
    theta: float,
    distance: float,
    focal_px: float,
    px: float,
    py: float,
) -> np.ndarray:
    """Pixels [N, 2] (x, y) of a CAD model's points [N, 3], in the annotation's own pixel coordinates; radians.

    The camera's centre is on a sphere around the model's origin; the world turns by -azimuth about z, then by
    elevation - 90 degrees about x, which leaves the camera looking along -z. The image is x / -z, turned by theta, and
    y is counted downwards.
    """
    center = distance * np.array(
        [
            math.cos(elevation) * math.sin(azimuth),
            -math.cos(elevation) * math.cos(azimuth),
            math.sin(elevation),
        ]
    )
    a, e = -azimuth, -(math.pi / 2 - elevation)
    about_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    seen = (points - center) @ (about_x @ about_z).T
    plane = focal_px * seen[:, :2] / -seen[:, 2:]
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    turned = plane @ turn.T
    return np.stack([turned[:, 0] + px, py - turned[:, 1]], axis=1)


def convex_outline(pixels: np.ndarray, size: tuple[int, int], first_center: float) -> np.ndarray:
    """bool [H, W]: pixels whose centres are in the convex hull of some points, such as a box's corners.

    Args:
        pixels: [N, 2], x and y.
        size: width and height.
        first_center: coordinate of the first pixel's centre.
    """
    width, height = size
    x, y = np.meshgrid(np.arange(width) + first_center, np.arange(height) + first_center)
    inside = np.ones((height, width), bool)
    for a, b, c in ConvexHull(pixels).equations:
        inside &= a * x + b * y + c <= 0
    return inside
