"""Light in the object's frame: diffuse sky and ground, and lamps infinitely far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from raylift.core.generators import numpy_generator

LightingKind = Literal["fixed", "ambient", "random"]


@dataclass(frozen=True)
class Lighting:
    """Diffuse light: ``ground + (sky - ground) (1 + n_y) / 2 + sum_l power_l max(0, n . towards_l)``, times the albedo.

    Attributes:
        sky: RGB received by a surface that faces up.
        ground: RGB received by a surface that faces down.
        towards: unit directions to the lamps, world frame.
        power: RGB of each lamp.
    """

    sky: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ground: tuple[float, float, float] = (1.0, 1.0, 1.0)
    towards: tuple[tuple[float, float, float], ...] = ()
    power: tuple[tuple[float, float, float], ...] = ()

    @staticmethod
    def ambient() -> Lighting:
        """Uniform light from all directions: pixels show the albedo."""
        return Lighting()

    @staticmethod
    def fixed() -> Lighting:
        """One light for all objects: a lamp from the upper front right, a weak one from the left behind."""
        return Lighting(
            sky=(0.62, 0.62, 0.62),
            ground=(0.40, 0.40, 0.40),
            towards=(_direction(35.0, 45.0), _direction(-120.0, 25.0)),
            power=((0.45, 0.45, 0.45), (0.12, 0.12, 0.12)),
        )

    @staticmethod
    def random(generator: np.random.Generator) -> Lighting:
        """One or two lamps from anywhere above, their power and tint and the sky's share drawn."""
        brightness = generator.uniform(0.45, 0.75)
        tint = generator.uniform(0.92, 1.08, size=3)
        num_lamps = int(generator.integers(1, 3))
        power = generator.uniform(0.25, 0.6, size=num_lamps) / num_lamps**0.5
        tints = generator.uniform(0.92, 1.08, size=(num_lamps, 3))
        angles = zip(generator.uniform(-180, 180, num_lamps), generator.uniform(15, 75, num_lamps), strict=True)
        return Lighting(
            sky=_rgb(brightness * tint),
            ground=_rgb(brightness * tint * generator.uniform(0.5, 0.9)),
            towards=tuple(_direction(azimuth, elevation) for azimuth, elevation in angles),
            power=tuple(_rgb(row) for row in power[:, None] * tints),
        )

    @staticmethod
    def named(kind: LightingKind, seed: int = 0, object_id: str = "") -> Lighting:
        """The light of a data set's kind; "random" is keyed by (seed, object), the same in all views of the object."""
        if kind == "fixed":
            return Lighting.fixed()
        if kind == "ambient":
            return Lighting.ambient()
        return Lighting.random(numpy_generator(seed, object_id, "lighting"))

    @property
    def is_uniform(self) -> bool:
        """Whether surfaces receive the same light in any orientation."""
        return self.sky == self.ground and not self.towards

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Sky [3], ground [3], towards [L, 3], power [L, 3], float64, for the compiled shader."""
        count = len(self.towards)
        return (
            np.array(self.sky, np.float64),
            np.array(self.ground, np.float64),
            np.array(self.towards, np.float64).reshape(count, 3),
            np.array(self.power, np.float64).reshape(count, 3),
        )


def _direction(azimuth_deg: float, elevation_deg: float) -> tuple[float, float, float]:
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    across = float(np.cos(elevation))
    return across * float(np.sin(azimuth)), float(np.sin(elevation)), across * float(np.cos(azimuth))


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
