"""The pose search as a model: its inputs, its losses and its poses."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core import collectives
from raylift.core.collectives import share_of_mean
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import DataError
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, CropRequest, Mesh, Reconstruction, SampleRequest
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.models.poses.config import PoseSearchConfig
from raylift.models.poses.doubts import doubts
from raylift.models.poses.statistics import SearchStatistics, sums_over_ranks
from raylift.networks.pose_posterior import FramedImages, PosePosterior, by_azimuth, frame_images, posterior
from raylift.networks.stiff_mesh import StiffMesh
from raylift.rendering.pose_views import (
    Corners,
    cue_errors,
    cue_sums,
    framed_views,
    iou_errors,
    painted_views,
    seen_corners,
)
from raylift.rendering.soft_silhouette import soft_silhouette

GREY = 0.6
LEAST_IMAGES = 2


class PoseSearch(ReconstructionModel):
    """Annealed expectation maximisation over poses, with one shared stiff mesh per start (see README.md here).

    Args:
        config: the recipe's model config.
        seed: seed of the starts' noise.
        info: description of the data set.

    Raises:
        DataError: a training set with a single image.
    """

    painted: Tensor
    is_painted: Tensor
    distance: Tensor
    mirror: Tensor
    elevation: Tensor

    def __init__(self, config: PoseSearchConfig, seed: int, info: DatasetInfo) -> None:
        super().__init__()
        if 0 < info.num_images < LEAST_IMAGES:
            raise DataError(
                "poses cannot be found from one image: any shape with its outline explains it",
                "train on many images of one class of objects",
            )
        self.config, self.info = config, info
        poses, starts = config.poses, config.starts.each
        self.starts = starts
        self.mesh = StiffMesh(poses.level, config.stiffness, tuple(s for s, _ in starts), config.starts.noise, seed)
        self.posterior = PosePosterior(poses)
        number, ranges = len(starts), poses.ranges
        num_vertices = self.mesh.base.shape[1]
        self.statistics = SearchStatistics(number, ranges.azimuths, ranges.elevations, num_vertices, poses.channels)
        painted = torch.zeros(number, ranges.num_poses, poses.channels, poses.match_px**2)
        self.register_buffer("painted", painted)
        self.register_buffer("is_painted", torch.tensor(False))
        distances = torch.tensor([distance for _, distance in starts])
        self.register_buffer("distance", distances, persistent=False)
        self.register_buffer("mirror", symmetric_icosphere(poses.level).mirror_vertex, persistent=False)
        self.register_buffer("elevation", self.posterior.grid.elevation, persistent=False)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One group, one phase."""
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        """A crop with its silhouette, without augmentation: framing undoes a jitter, and the mesh is symmetric."""
        return SampleRequest(self.config.image_px, crop=CropRequest(self.config.padding, jitter=0.0, mirror=False))

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The expected silhouette error of every start, under posteriors that are treated as constants."""
        with torch.autocast(batch.keys.device.type, enabled=False):
            return self._losses(batch, step_info)

    def _losses(self, batch: Batch, step_info: StepInfo) -> LossOutput:
        config, starts = self.config, len(self.starts)
        temperature, sigma = config.annealing.at(step_info.progress)
        uses_cue = bool(config.poses.channels) and step_info.progress >= config.cue_from
        reader = self.posterior.reader if uses_cue else None
        kind = self.mesh.u.dtype
        framed = frame_images(batch["image"].to(kind), batch["mask"].to(kind), config.poses.match_px, reader)
        screen = framed_views(self.mesh(), self.posterior.quaternions, self.distance)
        views = self._rendered(screen, sigma)
        errors = iou_errors(views, framed.masks).unflatten(1, (starts, -1))
        with torch.no_grad():
            energy = errors
            if uses_cue and bool(self.is_painted):
                energy = errors + config.poses.cue_weight * self._cue_errors(framed)
            bias = self.statistics.bias.to(errors)[:, self.posterior.azimuth]
            probabilities = posterior(energy, temperature, bias)
            free = posterior(energy, temperature, torch.zeros_like(bias))
            misfit = (probabilities * errors).sum(dim=(0, 2))
        carry = self._sums(energy, probabilities, free, misfit)
        paints = uses_cue and (step_info.step % config.cue_every == 0 or not bool(self.is_painted))
        if paints:
            carry |= self._painted(screen, probabilities, framed)
        expected = (probabilities * errors).sum(dim=2)
        terms = [Term(f"start_{index}", share_of_mean(one)) for index, one in enumerate(expected.unbind(1))]
        return LossOutput(terms, carry)

    def _rendered(self, screen: Float[Tensor, "R V 3"], sigma: float) -> Float[Tensor, "R P"]:
        """Every start from every pose; each rank renders its part of them."""
        rank, world = collectives.rank(), collectives.world_size()
        part = screen[rank * len(screen) // world : (rank + 1) * len(screen) // world]
        rendered = soft_silhouette(part.contiguous(), self.mesh.faces, self.config.poses.match_px, sigma)
        return collectives.gather_rows(rendered.flatten(1))

    def _cue_errors(self, framed: FramedImages) -> Float[Tensor, "B S K"]:
        assert framed.cues is not None
        return cue_errors(self.painted.flatten(0, 1), framed.cues, framed.masks).unflatten(1, (len(self.starts), -1))

    @torch.no_grad()
    def _sums(self, energy: Tensor, probabilities: Tensor, free: Tensor, misfit: Tensor) -> dict[str, Tensor]:
        """Sums over this rank's images, and their number."""
        ranges = self.config.poses.ranges
        azimuth = self.posterior.azimuth
        own = by_azimuth(free, azimuth, ranges.azimuths)
        elevations = by_azimuth(probabilities, self.elevation, ranges.elevations)
        entropy = -(own * own.clamp(min=1e-12).log()).sum(dim=2)
        return {
            "count": energy.new_full((), float(len(energy))),
            "objective": (probabilities * energy).sum(dim=(0, 2)),
            "azimuths": by_azimuth(probabilities, azimuth, ranges.azimuths).sum(dim=0),
            "free_azimuths": own.sum(dim=0),
            "elevations": elevations.sum(dim=0),
            "entropy": entropy.sum(dim=0),
            "misfit": misfit,
            "twins": self._has_twin(energy).to(energy).sum(dim=0),
        }

    def _has_twin(self, energy: Float[Tensor, "B S K"]) -> Bool[Tensor, "B S"]:
        """Whether an image is explained as well, up to the last temperature, from half a turn around the object."""
        count = self.config.poses.ranges.azimuths
        around = energy.unflatten(2, (-1, count)).amin(dim=2)
        least, best = around.min(dim=2, keepdim=True)
        beyond = best + count // 2 + torch.arange(-1, 2, device=best.device)
        margin = around.gather(2, beyond % count).amin(dim=2) - least[..., 0]
        return margin < self.config.annealing.temperature[1]

    @torch.no_grad()
    def _painted(self, screen: Tensor, probabilities: Tensor, framed: FramedImages) -> dict[str, Tensor]:
        """Sums for the vertex cues of each start, and the cues visible in its views."""
        assert framed.cues is not None
        side = self.config.poses.match_px
        corners = [seen_corners(part, self.mesh.faces, side) for part in screen.chunk(len(self.starts))]
        count = self.mesh.base.shape[1]
        sums = [
            cue_sums(seen, probabilities[:, index], framed.cues, framed.masks, count)
            for index, seen in enumerate(corners)
        ]
        return {
            "cues": torch.stack(sums),
            "corner_vertex": torch.stack([seen.vertex for seen in corners]),
            "corner_weight": torch.stack([seen.weight for seen in corners]),
        }

    @torch.no_grad()
    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Add all ranks' sums, pull the azimuths, paint the views; at the end keep the best start."""
        config = self.config
        sums = sums_over_ranks({name: value for name, value in carry.items() if not name.startswith("corner_")})
        count = float(sums.pop("count"))
        is_final = step_info.progress >= config.annealing.until
        self.statistics.take(count, sums, config.prior, config.window, is_final)
        if "cues" in sums:
            values = self.statistics.cues(self.mirror).to(self.painted)
            for index, seen in enumerate(zip(carry["corner_vertex"], carry["corner_weight"], strict=True)):
                self.painted[index] = painted_views(Corners(*seen), values[index])
            self.is_painted.fill_(True)
        if step_info.step + 1 == step_info.num_steps:
            self.fill(self.posterior, 1.0)

    @torch.no_grad()
    def fill(self, found: PosePosterior, progress: float) -> None:
        """Fill ``found`` with the current mesh of the start with the lowest objective."""
        best = int(self.statistics.ranking.argmin())
        temperature, sigma = self.config.annealing.at(progress)
        values = self.statistics.cues(self.mirror)[best].to(self.painted)
        bias = self.statistics.bias[best]
        found.fill(self.mesh()[best], self.distance[best], values, bias, temperature, sigma)

    def doubts(self) -> tuple[str, ...]:
        """Warnings about the poses, each with a remedy; empty before the run's last part."""
        return doubts(self.statistics, self.config, self.info)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """The shared grey mesh with each image's own camera: one shape for all images."""
        found = self.posterior
        if not bool(found.ready):
            found = PosePosterior(self.config.poses).to(self.mesh.u)
            self.fill(found, 1.0)
        cameras = found(batch["image"], batch["mask"]).best()
        grey = torch.full_like(found.vertices, GREY)
        mesh = Mesh(found.vertices.clone(), found.faces, vertex_colors=grey)
        return [
            Reconstruction(
                name, mesh, from_weak_perspective(WeakPerspective(*(part[row : row + 1] for part in cameras)))
            )
            for row, name in enumerate(batch.ids)
        ]
