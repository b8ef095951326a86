"""Cameras of random views (adaptive-gradient paper, equation 36), keyed by sample, not by worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload
from raylift.core.errors import ConfigError
from raylift.core.generators import numpy_generator
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.camera_hypotheses import orbit_quaternions


@dataclass(frozen=True)
class CameraPrior:
    """A distribution of upright weak-perspective cameras around an object.

    Attributes:
        azimuth_deg: range of azimuths, uniform; 0 is the front.
        elevation_deg: range of elevations, uniform.
        scale: range of image half-widths per world unit, uniform.
        translation: largest shift along u and along v, uniform in normalised image coordinates.

    Raises:
        ConfigError: a range is empty, an elevation leaves [-90, 90], or a scale is not positive.
    """

    azimuth_deg: tuple[float, float] = (0.0, 360.0)
    elevation_deg: tuple[float, float] = (-10.0, 40.0)
    scale: tuple[float, float] = (1.6, 1.6)
    translation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("azimuth_deg", "elevation_deg", "scale"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ConfigError(f"camera prior: {name} is ({low}, {high})", "use (lowest, highest)")
        if not -90 <= self.elevation_deg[0] <= self.elevation_deg[1] <= 90:
            raise ConfigError(f"camera prior: elevation_deg is {self.elevation_deg}", "use values within -90 and 90")
        if not self.scale[0] > 0 or self.translation < 0:
            raise ConfigError(
                f"camera prior: scale {self.scale}, translation {self.translation}",
                "use scales above 0 and a translation of at least 0",
            )

    def draw(self, keys: Int[Tensor, "B"], seed: int, step: int) -> WeakPerspective:
        """Draw cam' of equation 36: one camera per sample, the same on any rank.

        Args:
            keys: keys of the samples (``Batch.keys``).

        Returns:
            Cameras in float32, on the device of ``keys``.
        """
        shares = np.stack([numpy_generator(seed, step, key, "random view").random(5) for key in numbers_of(keys)])
        azimuth, elevation, scale, shift_u, shift_v = torch.from_numpy(shares).float().unbind(1)
        quaternion = orbit_quaternions(
            self.azimuth_deg[0] + (self.azimuth_deg[1] - self.azimuth_deg[0]) * azimuth,
            self.elevation_deg[0] + (self.elevation_deg[1] - self.elevation_deg[0]) * elevation,
        )
        return WeakPerspective(
            upload(self.scale[0] + (self.scale[1] - self.scale[0]) * scale, keys.device),
            upload(self.translation * (2 * torch.stack([shift_u, shift_v], dim=-1) - 1), keys.device),
            upload(quaternion, keys.device),
        )
