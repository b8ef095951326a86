"""Vertices on the screen, with gradients: the input of every soft rasteriser."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import project


def project_to_screen(vertices: Float[Tensor, "B V 3"], camera: Camera) -> Float[Tensor, "B V 3"]:
    """(u, v, z) of world points: normalised image coordinates and depth in camera axes; gradients reach both inputs.

    Args:
        vertices: world positions; a batch of 1 is seen by all B cameras.
        camera: B cameras, perspective or orthographic (the weak perspective of CMR and UMR).
    """
    uv, depth = project(camera, vertices)
    return torch.cat([uv, depth[..., None]], -1)
