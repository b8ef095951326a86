"""The posterior of an image's pose from one shared mesh: a probability for every pose of a grid, and cameras.

Its views are rendered once. An image costs a matrix product with them, so poses are recomputed for every crop of every
image: nothing is stored per image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.errors import CheckpointError, ConfigError
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.framing import Box, box_of_mask, box_of_points, fitted_scale_and_shift, framed_pictures
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.pose_grid import PoseGrid, PoseRange, pose_grid, pose_quaternions
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.networks.pose_cues import CueName, CueReader, num_cues
from raylift.rendering.pose_views import cue_errors, framed_views, iou_errors, painted_views, seen_corners
from raylift.rendering.soft_silhouette import soft_silhouette

LEAST_MARGINAL = 1e-6
SMOOTHING = 0.6
"""Weight of the two neighbouring azimuths when the most probable one is selected."""
LEAST_MASS = 1e-3
"""Prior mass of each azimuth bin's centre, so that a bin without probability has finite angles."""


@dataclass(frozen=True)
class PoseConfig:
    """How poses are compared; the pose search and the runs that use it need the same values.

    Attributes:
        ranges: ranges of possible poses and their grid.
        match_px: side of the framed silhouettes to compare.
        level: subdivision level of the shared mesh's icosphere.
        cue: cue compared in addition to silhouettes: "none", "color" (luminance and saturation), or feature maps of a
            frozen network, "alexnet" or "vgg16", for photographs; "random" is for tests.
        cue_weight: weight of the cue's error, in standard deviations squared, relative to 1 - IoU.
    """

    ranges: PoseRange = field(default_factory=PoseRange)
    match_px: int = 32
    level: int = 2
    cue: CueName = "color"
    cue_weight: float = 0.3

    def __post_init__(self) -> None:
        if self.match_px < 8 or self.level < 1 or self.cue_weight < 0:
            raise ConfigError(
                f"poses.match_px {self.match_px}, level {self.level}, cue_weight {self.cue_weight}",
                "use at least 8 pixels, level 1 and a weight of 0 or more",
            )

    @property
    def channels(self) -> int:
        """Number of channels of the cue."""
        return num_cues(self.cue) if self.cue_weight > 0 else 0


@dataclass(frozen=True)
class FramedImages:
    """Images framed for matching.

    Attributes:
        box: box of the object in the crop.
        masks: framed silhouettes.
        cues: framed cues, or None if they are not compared.
    """

    box: Box
    masks: Float[Tensor, "B P"]
    cues: Float[Tensor, "B C P"] | None


def frame_images(
    image: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"], image_px: int, reader: CueReader | None
) -> FramedImages:
    """Centre the objects' boxes and scale them to one size, which removes the cameras' scale and shift."""
    box = box_of_mask(mask[:, 0])
    masks = framed_pictures(mask, box, image_px)[:, 0]
    return FramedImages(box, masks.flatten(1), None if reader is None else reader(image, masks, box))


class PosePosterior(nn.Module):
    """The mesh of a pose search, its views, and the posterior that follows. All of it is in buffers.

    Args:
        config: config of grid, sizes and cue.

    Attributes:
        vertices: vertices of the shared mesh: centred, with longest edge 1.
        distance: distance of the perspective camera; 0 is orthographic.
        views: framed silhouettes from all poses.
        painted: shared cue from all poses.
        bias: log-factor per azimuth, from the prior on azimuths.
        temperature: temperature of the errors.
        ready: whether it has been filled.
    """

    vertices: Tensor
    distance: Tensor
    views: Tensor
    painted: Tensor
    bias: Tensor
    temperature: Tensor
    ready: Tensor
    quaternions: Tensor
    faces: Tensor
    azimuth: Tensor

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        self.config = config
        ranges = config.ranges
        self.grid: PoseGrid = pose_grid(ranges)
        sphere = symmetric_icosphere(config.level)
        pixels = config.match_px**2
        self.register_buffer("vertices", sphere.vertices.clone())
        self.register_buffer("distance", torch.zeros(()))
        self.register_buffer("views", torch.zeros(ranges.num_poses, pixels))
        self.register_buffer("painted", torch.zeros(ranges.num_poses, config.channels, pixels))
        self.register_buffer("bias", torch.zeros(ranges.azimuths))
        self.register_buffer("temperature", torch.tensor(0.1))
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("quaternions", self.grid.quaternions, persistent=False)
        self.register_buffer("faces", sphere.faces, persistent=False)
        self.register_buffer("azimuth", self.grid.azimuth, persistent=False)
        self._reader: CueReader | None = None

    @property
    def reader(self) -> CueReader | None:
        """The cue reader, opened on first use: loading a model needs no pretrained weights."""
        if self._reader is None and self.config.channels:
            self._reader = CueReader(self.config.cue)
        return self._reader

    @torch.no_grad()
    def fill(
        self,
        vertices: Float[Tensor, "V 3"],
        distance: Float[Tensor, ""],
        values: Float[Tensor, "V C"],
        bias: Float[Tensor, "A"],
        temperature: float,
        sigma: float,
    ) -> None:
        """Set a mesh with its cues, and render its views.

        Args:
            sigma: softness of the silhouettes.
        """
        low, high = vertices.amin(dim=0), vertices.amax(dim=0)
        self.vertices.copy_((vertices - (low + high) / 2) / (high - low).amax())
        self.distance.copy_(distance)
        screen = framed_views(self.vertices[None], self.quaternions, self.distance[None])
        side = self.config.match_px
        self.views.copy_(soft_silhouette(screen, self.faces, side, sigma).flatten(1))
        if self.config.channels:
            self.painted.copy_(painted_views(seen_corners(screen, self.faces, side), values))
        self.bias.copy_(bias)
        self.temperature.fill_(temperature)
        self.ready.fill_(True)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]) -> PoseMatch:
        """The posterior of images with their silhouettes, in float32."""
        kind = self.views.dtype
        framed = frame_images(image.to(kind), mask.to(kind), self.config.match_px, self.reader)
        errors = iou_errors(self.views, framed.masks)
        energy = errors
        if framed.cues is not None:
            energy = errors + self.config.cue_weight * cue_errors(self.painted, framed.cues, framed.masks)
        probabilities = posterior(energy, self.temperature, self.bias[self.azimuth])
        return PoseMatch(self, framed.box, errors, probabilities)


def posterior(
    energy: Float[Tensor, "*B K"], temperature: float | Tensor, bias: Float[Tensor, "*A K"]
) -> Float[Tensor, "*B K"]:
    """Probability of every pose: softmax(-energy / temperature + bias)."""
    return (bias - energy / temperature).softmax(dim=-1)


def by_azimuth(probabilities: Float[Tensor, "*B K"], azimuth: Int[Tensor, "K"], count: int) -> Float[Tensor, "*B A"]:
    """Compute the marginal over azimuths."""
    total = probabilities.new_zeros(*probabilities.shape[:-1], count)
    return total.index_add_(-1, azimuth, probabilities)


@dataclass(frozen=True)
class PoseMatch:
    """The posterior of B images over the grid's K poses, and the corresponding cameras.

    Attributes:
        model: model of the posterior.
        box: box of each object in its crop.
        errors: 1 - IoU per pose.
        probabilities: probability per pose.
    """

    model: PosePosterior
    box: Box
    errors: Float[Tensor, "B K"]
    probabilities: Float[Tensor, "B K"]

    @property
    def azimuths(self) -> Float[Tensor, "B A"]:
        """Probability of each azimuth."""
        return by_azimuth(self.probabilities, self.model.azimuth, self.model.config.ranges.azimuths)

    def bins(self, count: int) -> CameraHypotheses:
        """One camera in each of ``count`` azimuth bins: the bin's mean angles; its logit is the bin's log-probability.

        An azimuth halfway between two bins contributes half of its probability to each.
        """
        grid = self.model.grid
        device = self.probabilities.device
        away = (grid.azimuth_deg.to(device)[:, None] * (count / 360) - torch.arange(count, device=device)) % count
        away = torch.where(away > count / 2, away - count, away)
        share = (away.abs() < 0.5 + 1e-4).to(self.probabilities)
        share = share / share.sum(dim=1, keepdim=True)
        mass = self.probabilities @ share
        angles = []
        middle = sum(self.model.config.ranges.elevation_deg) / 2
        for values, fallback in (
            (away * (360 / count), 0.0),
            (grid.elevation_deg.to(device)[:, None].expand(-1, count), middle),
            (grid.roll_deg.to(device)[:, None].expand(-1, count), 0.0),
        ):
            total = self.probabilities @ (share * values) + LEAST_MASS * fallback
            angles.append(torch.deg2rad(total / (mass + LEAST_MASS)))
        middles = torch.arange(count, device=device) * (2 * math.pi / count)
        quaternion = pose_quaternions(middles + angles[0], angles[1], angles[2])
        return self._hypotheses(quaternion, mass.clamp(min=LEAST_MARGINAL).log())

    def best(self) -> WeakPerspective:
        """One camera per image: the azimuth of the smoothed marginal's peak, elevation and roll their means there."""
        grid, device = self.model.grid, self.probabilities.device
        count = self.model.config.ranges.azimuths
        marginal = self.azimuths
        smoothed = marginal + SMOOTHING * (marginal.roll(1, dims=1) + marginal.roll(-1, dims=1))
        peak = smoothed.argmax(dim=1)
        away = (self.model.azimuth[None] - peak[:, None]) % count
        away = torch.where(away > count / 2, away - count, away)
        near = torch.where(away == 0, 1.0, torch.where(away.abs() == 1, SMOOTHING, 0.0))
        share = self.probabilities * near
        share = share / share.sum(dim=1, keepdim=True).clamp(min=LEAST_MARGINAL)
        azimuth = (peak + (share * away).sum(dim=1)) * (360 / count)
        elevation, roll = (share @ angle.to(device) for angle in (grid.elevation_deg, grid.roll_deg))
        quaternion = pose_quaternions(*(torch.deg2rad(angle) for angle in (azimuth, elevation, roll)))
        found = self._hypotheses(quaternion[:, None], torch.zeros_like(azimuth)[:, None])
        return found.pick(torch.zeros_like(peak))

    def _hypotheses(self, quaternion: Float[Tensor, "B H 4"], logits: Float[Tensor, "B H"]) -> CameraHypotheses:
        """Solve scale and shift in closed form, from the boxes of mesh and object."""
        uv = self.model.vertices @ quaternion_to_matrix(quaternion).mT[..., :2]
        seen = Box(self.box.center[:, None], self.box.half[:, None])
        scale, shift = fitted_scale_and_shift(seen, box_of_points(uv))
        return CameraHypotheses(scale, shift, quaternion, logits)


POSTERIOR = "posterior."
"""Prefix of a pose search's result in its state."""


def is_pose_search(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint's state is a pose search's."""
    return f"{POSTERIOR}ready" in state


@torch.no_grad()
def load_posterior(posterior: PosePosterior | None, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Take the result of a finished pose search.

    Args:
        posterior: filled in place; None for a model that has none and only checks the search.
        state: the search's ``state_dict``.
        where: names the checkpoint in errors.

    Returns:
        The posterior's buffers by name.

    Raises:
        CheckpointError: the search is not finished, or has another grid, level or cue.
    """
    if not bool(state[f"{POSTERIOR}ready"]):
        raise CheckpointError(f"the pose search in {where} is not finished", "resume it and run it to its last step")
    found = {name.removeprefix(POSTERIOR): value for name, value in state.items() if name.startswith(POSTERIOR)}
    if posterior is not None:
        own = posterior.state_dict()
        other = [name for name, value in own.items() if name not in found or found[name].shape != value.shape]
        if other:
            raise CheckpointError(
                f"{where} and this recipe have different sizes of {', '.join(other)}",
                "set the same model.poses values in both stages",
            )
        posterior.load_state_dict(found)
    return found
