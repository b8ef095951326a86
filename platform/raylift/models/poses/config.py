"""Config of the pose search."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.core.errors import ConfigError
from raylift.networks.pose_posterior import PoseConfig
from raylift.networks.stiff_mesh import StartName


@dataclass(frozen=True)
class AnnealingConfig:
    """Schedule from soft to sharp, geometric over a fraction of the run, then constant.

    Attributes:
        temperature: temperature of the posterior, first and last.
        sigma: softness of silhouettes, squared normalised coordinates, first and last.
        until: fraction of the run for the change; starts are compared over the rest.
    """

    temperature: tuple[float, float] = (0.1, 0.02)
    sigma: tuple[float, float] = (2e-3, 3e-4)
    until: float = 0.8

    def __post_init__(self) -> None:
        if min(*self.temperature, *self.sigma) <= 0 or not 0 <= self.until < 1:
            raise ConfigError(
                f"annealing temperature {self.temperature}, sigma {self.sigma}, until {self.until}",
                "use values above 0, and until in [0, 1)",
            )

    def at(self, progress: float) -> tuple[float, float]:
        """Temperature and sigma at a fraction of the run."""
        share = min(1.0, progress / self.until) if self.until else 1.0
        return tuple(first * (last / first) ** share for first, last in (self.temperature, self.sigma))  # type: ignore[return-value]


@dataclass(frozen=True)
class StartsConfig:
    """Starts of the search; all are trained together and the one with the lowest objective is kept.

    Attributes:
        shapes: initial ellipsoids, "long" (along z), "tall" or "ball".
        distances: distances of perspective cameras, in longest edges of the mesh; 0 is orthographic.
        draws: starts per shape and distance, each with its own noise.
        noise: standard deviation of the initial smooth noise, world units.
    """

    shapes: tuple[StartName, ...] = ("long", "tall")
    distances: tuple[float, ...] = (0.0,)
    draws: int = 3
    noise: float = 0.05

    def __post_init__(self) -> None:
        if not self.shapes or not self.distances or self.draws < 1 or self.noise < 0:
            raise ConfigError("starts has no shape, distance or draw", "use at least one of each")
        if any(0 < distance < 1 or distance < 0 for distance in self.distances):
            raise ConfigError(
                f"starts.distances is {self.distances}", "use 0 for orthographic cameras, or 1 edge or more"
            )

    @property
    def each(self) -> list[tuple[StartName, float]]:
        """Shape and distance of every start."""
        pairs = [(shape, distance) for shape in self.shapes for distance in self.distances]
        return [pair for _ in range(self.draws) for pair in pairs]


@dataclass(frozen=True)
class PoseSearchConfig:
    """Config of the pose search.

    Attributes:
        image_px: side of the crops to frame; larger than ``poses.match_px``, so that thin parts survive.
        padding: padding of the crop around each object.
        poses: config of the grid, the mesh and the cue.
        stiffness: stiffness of the mesh (``networks.stiff_mesh``). Loose meshes crumple until they also explain
            silhouettes from wrong poses; then the lowest objective no longer identifies the right start.
        starts: initial shapes and cameras, see ``StartsConfig``.
        annealing: schedule, see ``AnnealingConfig``.
        prior: strength of the pull of all images' azimuths towards uniform, from 0 (none) to below 1; use 0 if most
            images are taken from one side.
        window: images over which azimuths and cues are averaged.
        cue_from: fraction of the run after which the cue is used.
        cue_every: steps between updates of the shared cue.
    """

    image_px: int = 64
    padding: float = 0.05
    poses: PoseConfig = field(default_factory=PoseConfig)
    stiffness: float = 20.0
    starts: StartsConfig = field(default_factory=StartsConfig)
    annealing: AnnealingConfig = field(default_factory=AnnealingConfig)
    prior: float = 0.5
    window: int = 256
    cue_from: float = 0.2
    cue_every: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.prior < 1:
            raise ConfigError(f"prior is {self.prior}", "use 0 for none, and less than 1; 0.5 is usual")
        if self.image_px < 16 or self.stiffness < 0 or self.window < 1 or self.cue_every < 1:
            raise ConfigError(
                f"image_px {self.image_px}, stiffness {self.stiffness}, window {self.window}",
                "use at least 16 pixels, a stiffness of 0 or more and a window of 1 or more",
            )
        if not 0 <= self.cue_from <= self.annealing.until:
            raise ConfigError(f"cue_from is {self.cue_from}", "use a value in [0, annealing.until)")
