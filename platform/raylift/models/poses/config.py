"""What can be chosen in the search for poses."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.core.errors import ConfigError
from raylift.networks.pose_posterior import PoseConfig
from raylift.networks.stiff_mesh import StartName


@dataclass(frozen=True)
class AnnealingConfig:
    """From soft to sharp, geometrically over a share of the run, then constant.

    Attributes:
        temperature: of the posterior, first and last.
        sigma: softness of silhouettes, squared normalised coordinates, first and last.
        until: share of the run that the change takes; the rest is what starts are compared by.
    """

    temperature: tuple[float, float] = (0.1, 0.02)
    sigma: tuple[float, float] = (2e-3, 3e-4)
    until: float = 0.8

    def __post_init__(self) -> None:
        if min(*self.temperature, *self.sigma) <= 0 or not 0 <= self.until < 1:
            raise ConfigError(
                f"annealing temperature {self.temperature}, sigma {self.sigma}, until {self.until}",
                "give values above 0, and a share of the run of 0 or more and below 1",
            )

    def at(self, progress: float) -> tuple[float, float]:
        """Temperature and sigma at a share of the run."""
        share = min(1.0, progress / self.until) if self.until else 1.0
        return tuple(first * (last / first) ** share for first, last in (self.temperature, self.sigma))  # type: ignore[return-value]


@dataclass(frozen=True)
class StartsConfig:
    """Where the search starts; all starts are trained together and the one of the lowest objective is kept.

    Attributes:
        shapes: ellipsoids, "long" (along z), "tall" or "ball".
        distances: of perspective cameras, in longest edges of the mesh; 0 is orthographic.
        draws: how often each shape is started with each distance, each time with noise of its own.
        noise: standard deviation of the start's smooth noise, world units.
    """

    shapes: tuple[StartName, ...] = ("long", "tall")
    distances: tuple[float, ...] = (0.0,)
    draws: int = 3
    noise: float = 0.05

    def __post_init__(self) -> None:
        if not self.shapes or not self.distances or self.draws < 1 or self.noise < 0:
            raise ConfigError("starts without a shape, a distance or a draw", "give at least one of each")
        if any(0 < distance < 1 or distance < 0 for distance in self.distances):
            raise ConfigError(
                f"starts.distances {self.distances}", "give 0 for orthographic cameras, or 1 edge and more"
            )

    @property
    def each(self) -> list[tuple[StartName, float]]:
        """Shape and distance of every start."""
        pairs = [(shape, distance) for shape in self.shapes for distance in self.distances]
        return [pair for _ in range(self.draws) for pair in pairs]


@dataclass(frozen=True)
class PoseSearchConfig:
    """The pose search.

    Attributes:
        image_px: side of the crops that are framed; more than ``poses.match_px``, so that thin parts survive.
        padding: of the crop around each object.
        poses: the grid, the mesh and the cue.
        stiffness: how far the mesh moves as a whole (``networks.stiff_mesh``). Loose meshes crumple until they explain
            silhouettes from wrong poses too, and then the lowest objective no longer finds the right start.
        starts: see there.
        annealing: see there.
        prior: pull of the azimuths of all images towards uniform, from 0 (none) to below 1; 0 where most images are
            taken from one side.
        window: images over which azimuths and cues are averaged.
        cue_from: share of the run after which the cue counts.
        cue_every: steps after which the shared cue is painted anew.
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
            raise ConfigError(f"prior is {self.prior}", "give 0 for none, and less than 1; 0.5 is usual")
        if self.image_px < 16 or self.stiffness < 0 or self.window < 1 or self.cue_every < 1:
            raise ConfigError(
                f"image_px {self.image_px}, stiffness {self.stiffness}, window {self.window}",
                "give at least 16 pixels, a stiffness of 0 or more and a window of 1 or more",
            )
        if not 0 <= self.cue_from <= self.annealing.until:
            raise ConfigError(
                f"cue_from is {self.cue_from}", "let the cue count before the annealing ends (annealing.until)"
            )
