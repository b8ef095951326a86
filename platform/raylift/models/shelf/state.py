"""One training batch as the terms see it: latents, cameras, volumes and their pictures, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.device_memory import refuse_too_large
from raylift.core.errors import ConfigError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera
from raylift.geometry.camera_conventions import WeakPerspective, to_weak_perspective
from raylift.geometry.camera_hypotheses import CameraHypotheses, known_hypotheses
from raylift.geometry.camera_prior import CameraPrior
from raylift.losses.cameras import expected_over_hypotheses
from raylift.models.shelf.config import ShelfConfig
from raylift.models.shelf.network import Encoded, ShelfNetwork
from raylift.models.shelf.views import Pictures, constant_camera, framed_camera
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march import render_volume
from raylift.rendering.volume.memory import bytes_needed


@dataclass
class ForwardState:
    """A batch with the network's outputs; everything is rendered on first use, once.

    An image has K cameras, of which the first is the most probable. "Seen" is a picture by that camera, "novel" one by
    a camera of the prior.

    Attributes:
        network: network that encodes and decodes the batch.
        batch: this rank's part of the global batch.
        step_info: seed, step and progress of the step.
    """

    network: ShelfNetwork
    batch: Batch
    step_info: StepInfo

    @property
    def config(self) -> ShelfConfig:
        return self.network.config

    @cached_property
    def encoded(self) -> Encoded:
        return self.network.encode(self.batch["image"])

    @cached_property
    def cameras(self) -> CameraHypotheses:
        """The K cameras that are rendered, most probable first."""
        cameras, count = self.encoded.cameras, self.config.camera.rendered
        if self.config.camera.trained_by != "predicted" and self.network.training:
            cameras = self.followed
        return cameras.top(count) if 0 < count < cameras.scale.shape[1] else cameras.top(cameras.scale.shape[1])

    @property
    def followed(self) -> CameraHypotheses:
        """The constant cameras that the encoder's follow: the data set's own, or the pose search's."""
        if self.config.camera.trained_by != "known":
            return self.searched
        assert self.batch.camera is not None, "the request asks for cameras"
        return known_hypotheses(to_weak_perspective(self.batch.camera), self.config.camera.num_hypotheses)

    @cached_property
    def searched(self) -> CameraHypotheses:
        """Cameras of the pose search's posterior of each crop, one per azimuth bin; constant.

        Recomputed for every crop, so mirrored and jittered ones have their own.

        Raises:
            ConfigError: the run does not start from a pose search.
        """
        poses = self.network.poses
        assert poses is not None
        if not bool(poses.ready):
            raise ConfigError(
                "model.weights.anchor is above 0, but the run has no poses from a pose search",
                "train the chain shelf/best-quick, set start_from=RUN of a poses recipe, or model.weights.anchor=0",
            )
        return poses(self.batch["image"], self.batch["mask"]).bins(self.config.camera.num_hypotheses)

    @cached_property
    def images(self) -> Pictures:
        """The images at the size of rendered views."""
        return Pictures.of_images(self.batch["image"], self.batch["mask"], self.config.render.view_px)

    @cached_property
    def grid(self) -> VolumeGrid:
        """Every latent's volume."""
        return self.network.decode(self.encoded.latent).bake()

    @cached_property
    def cut_grid(self) -> VolumeGrid:
        """The same volumes, through which adversarial terms train the decoder alone, or latents too."""
        if self.config.critic.trains == "both":
            return self.grid
        return self.network.decode(self.encoded.latent.detach()).bake()

    @cached_property
    def hypotheses(self) -> Pictures:
        """Pictures of N = B x K cameras, an image's consecutive."""
        count = self.cameras.scale.shape[1]
        owner = torch.arange(len(self.batch), device=self.batch.keys.device).repeat_interleave(count)
        return self.rendered(self.grid, self.cameras.cameras(), owner)

    @property
    def repeated_images(self) -> Pictures:
        """The images, once for each of N = B x K pictures."""
        count = self.cameras.scale.shape[1]
        return Pictures(*(part.repeat_interleave(count, dim=0) for part in (self.images.rgb, self.images.alpha)))

    def expected(self, errors: Float[Tensor, "N"]) -> Float[Tensor, "B"]:
        """Expectation over an image's cameras of an error of N = B x K pictures."""
        probabilities = self.cameras.probabilities
        return expected_over_hypotheses(errors.unflatten(0, probabilities.shape), probabilities)

    @cached_property
    def seen(self) -> Pictures:
        """Pictures by the most probable cameras, with the gradients of ``hypotheses``."""
        count = self.cameras.scale.shape[1]
        return Pictures(self.hypotheses.rgb[::count], self.hypotheses.alpha[::count])

    @cached_property
    def best_camera(self) -> WeakPerspective:
        """Each image's most probable camera."""
        return self.cameras.pick(self.batch.keys.new_zeros(len(self.batch)))

    @cached_property
    def cut_seen(self) -> Pictures:
        """``seen`` with the gradients that adversarial terms may use: never the camera's."""
        return self.rendered(self.cut_grid, constant_camera(self.best_camera))

    @cached_property
    def novel_camera(self) -> WeakPerspective:
        """v' of equations 7 and 8, keyed by (seed, step, sample), framed like a crop; constant."""
        prior, info = self.config.views, self.step_info
        drawn = CameraPrior(prior.azimuth_deg, prior.elevation_deg).draw(self.batch.keys, info.seed, info.step)
        return framed_camera(self.grid, drawn.quaternion, prior.fill)

    @cached_property
    def novel(self) -> Pictures:
        """Pictures by ``novel_camera``, with the gradients that adversarial terms may use."""
        return self.rendered(self.cut_grid, constant_camera(self.novel_camera))

    @cached_property
    def open_seen(self) -> Pictures:
        """``seen`` with gradients to latent and decoder, not to the camera."""
        return self.rendered(self.grid, constant_camera(self.best_camera))

    @cached_property
    def open_novel(self) -> Pictures:
        """``novel`` with gradients to latent and decoder."""
        if self.cut_grid is self.grid:
            return self.novel
        return self.rendered(self.grid, constant_camera(self.novel_camera))

    def rendered(self, grid: VolumeGrid, camera: Camera, owner: Tensor | None = None) -> Pictures:
        """Pictures of volumes, of which ``owner`` says which each camera sees.

        Raises:
            ConfigError: they need more memory than is free. Raised before anything is allocated.
        """
        wanted, density = self.config.render, grid.density
        needed = bytes_needed(len(density), 3, density.shape[-1], len(camera), wanted.view_px, wanted.num_samples)
        refuse_too_large(needed, f"rendering {len(camera)} views of {density.shape[-1]}^3 cells", density.device)
        return Pictures.of_view(render_volume(grid, camera, wanted.view_px, wanted.num_samples, owner))
