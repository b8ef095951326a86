"""From a raw scalar to a density and a surface: occupancy logits, or signed distances with a Laplace density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import ConfigError

_INSIDE_LOGIT = -0.85
"""Logit inside the initial ball: occupancy 0.3, neither saturated nor invisible."""
_LOGITS_PER_UNIT = 16.0
"""Fall of the initial logit outside the ball, per world unit: the occupancy is 0.02 at 0.2 from it."""
_DISTANCE_PER_OUTPUT = 0.1
"""World units per unit of the network's output: outputs of order 1 move the initial sphere by 0.1."""
_LEAST_BETA = 1e-3
"""World units; below this, a float32 density has no gradient but on the surface itself."""


class Geometry(nn.Module, ABC):
    """The network predicts a correction of a centred ball, so there is something to see, with gradients, from step 0.

    A ball is invariant under every rotation and reflection, so it leaves equivariance and symmetry as they are.

    Args:
        initial_radius: radius of the initial ball, in world units.
    """

    density_kind: ClassVar[Literal["density", "occupancy"]]

    def __init__(self, initial_radius: float) -> None:
        super().__init__()
        self.initial_radius = initial_radius

    @abstractmethod
    def raw(self, output: Float[Tensor, "*B"], points: Float[Tensor, "*P 3"]) -> Float[Tensor, "*B"]:
        """The raw scalar, from the network's output and the points (broadcast)."""

    @abstractmethod
    def density(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Optical density per world unit, or an occupancy in [0, 1]."""

    @abstractmethod
    def values(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """A scalar that is negative inside."""


class OccupancyGeometry(Geometry):
    """Occupancy logits; the surface is where the occupancy is ``level``.

    Args:
        initial_radius: radius of the initial ball, in world units.
        level: occupancy of the surface, in (0, 1). The original's demo uses 0.1.
    """

    density_kind: ClassVar[Literal["density", "occupancy"]] = "occupancy"

    def __init__(self, initial_radius: float, level: float) -> None:
        super().__init__(initial_radius)
        self.level = level

    def raw(self, output: Float[Tensor, "*B"], points: Float[Tensor, "*P 3"]) -> Float[Tensor, "*B"]:
        beyond = (points.norm(dim=-1) - self.initial_radius).clamp(min=0.0)
        return output + (_INSIDE_LOGIT - _LOGITS_PER_UNIT * beyond)

    def density(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return torch.sigmoid(raw)

    def values(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return self.level - torch.sigmoid(raw)


class SignedDistanceGeometry(Geometry):
    """Signed distances d, negative inside, with density Psi(-d) / beta, Psi the CDF of a Laplace(0, beta).

    The density of VolSDF (Yariv et al. 2021, equations 2 and 3, with alpha = 1 / beta); sphere initialisation and
    beta = 0.1 as in StyleSDF (Or-El et al. 2022). The original has occupancies only.

    Args:
        initial_radius: radius of the initial sphere, in world units.
        initial_beta: initial width of the surface, in world units.
    """

    density_kind: ClassVar[Literal["density", "occupancy"]] = "density"

    def __init__(self, initial_radius: float, initial_beta: float) -> None:
        super().__init__(initial_radius)
        self.log_beta = nn.Parameter(torch.tensor(initial_beta - _LEAST_BETA).log())

    @property
    def beta(self) -> Float[Tensor, ""]:
        """Width of the surface, in world units; learned, at least 0.001."""
        return self.log_beta.exp() + _LEAST_BETA

    def raw(self, output: Float[Tensor, "*B"], points: Float[Tensor, "*P 3"]) -> Float[Tensor, "*B"]:
        return _DISTANCE_PER_OUTPUT * output + (points.norm(dim=-1) - self.initial_radius)

    def density(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return laplace_density(raw, self.beta)

    def values(self, raw: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return raw


def laplace_density(distance: Float[Tensor, "*B"], beta: Float[Tensor, ""]) -> Float[Tensor, "*B"]:
    """Psi(-d) / beta: 1 / beta deep inside, half of it on the surface, 0 far outside (VolSDF, equations 2 and 3).

    Args:
        distance: signed distances, negative inside, in world units.
        beta: width in world units, > 0.
    """
    half = 0.5 * torch.exp(-distance.abs() / beta)
    return torch.where(distance > 0, half, 1 - half) / beta


def check_geometry(initial_radius: float, initial_beta: float, level: float, half_extent: float) -> None:
    """Refuse values that no volume can start from.

    Raises:
        ConfigError: a ball outside of the cube, a beta that is too small, or an impossible level.
    """
    if not 0 < initial_radius < half_extent:
        raise ConfigError(f"initial_radius is {initial_radius}", f"use a radius in (0, {half_extent}), such as 0.3")
    if not initial_beta > _LEAST_BETA:
        raise ConfigError(f"initial_beta is {initial_beta}", f"use more than {_LEAST_BETA}, such as 0.1")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}", "use an occupancy in (0, 1), such as 0.1")
