"""Renders the stored mesh of an object under a drawn light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raylift.core.types import Camera, Mesh
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

BRIGHTER = 1.4
"""Stored colours already hold the light of the views they were taken from, so scenes' light is raised to keep them."""


def draw_light(rng: np.random.Generator) -> Lighting:
    """A random light, of about the brightness of an ambient one."""
    light = Lighting.random(rng)

    def raised(rgb: tuple[float, float, float]) -> tuple[float, float, float]:
        return rgb[0] * BRIGHTER, rgb[1] * BRIGHTER, rgb[2] * BRIGHTER

    return replace(light, sky=raised(light.sky), ground=raised(light.ground), power=tuple(map(raised, light.power)))


def render_object(mesh: Mesh, camera: Camera, px: int, light: Lighting) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied RGB [P, P, 3] in [0, 1], and coverage uint8 [P, P]."""
    (seen,) = render(mesh, camera, px, light, background=(0.0, 0.0, 0.0))
    return seen.rgb.clip(0, 1), np.rint(seen.alpha * 255).astype(np.uint8)
