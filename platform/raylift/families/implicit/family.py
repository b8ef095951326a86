"""The implicit SDF+RGB family: what it needs, what it minimises, what it makes of an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.clock import Clock
from raylift.core.collectives import share_of_mean
from raylift.core.errors import DataError
from raylift.core.family import Family, Phase, Term
from raylift.core.generators import stable_hash
from raylift.core.types import Batch, Field, Reconstruction, SampleRequest
from raylift.families.implicit.config import ImplicitConfig
from raylift.families.implicit.model import EncodedScene, ImplicitNetwork
from raylift.losses.signed_distance_color import signed_distance_color_l1


class ImplicitFamily(Family):
    """Coloured signed distance fields from one image and what is known of its shape (see README.md here).

    Args:
        config: the recipe's family part.
        seed: the run's; the initial weights and the Fourier matrix depend on it and on nothing else.
    """

    def __init__(self, config: ImplicitConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        # Initial weights belong to the seed, not to how often the process has drawn before; the process's own
        # generator is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "implicit", "weights"))
            self.network = ImplicitNetwork(config, seed)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One player, one phase."""
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        """An image with its camera, supervised points, and the conditioning grid if there is one."""
        config = self.config
        return SampleRequest(config.image_px, config.points, config.conditioning.voxel_request())

    def losses(self, phase: str, batch: Batch, clock: Clock) -> list[Term]:
        """Equation 4, as the mean over the global batch's points."""
        sdf, color = self.network.decode(self.encode(batch), batch["points"])
        limit = self.config.truncation
        sdf_error, color_error = signed_distance_color_l1(sdf, color, batch["sdf"].clamp(-limit, limit), batch["color"])
        weights = self.config.weights
        return [
            Term("sdf", share_of_mean(sdf_error), weights.sdf),
            Term("color", share_of_mean(color_error), weights.color),
        ]

    def encode(self, batch: Batch) -> EncodedScene:
        """Run both encoders on a batch.

        Raises:
            DataError: the batch lacks a camera or a field, or its grid is not what the recipe conditions on.
        """
        if batch.camera is None:
            raise DataError(
                "the implicit family projects points into the image, but this batch has no camera",
                "prepare the data set with cameras, or give each image a camera in its sidecar file",
            )
        request = self.request.voxels
        voxels = None if request is None else batch["voxels"]
        if request is not None and voxels is not None:
            expected = (request.num_channels, request.resolution, request.resolution, request.resolution)
            if tuple(voxels.shape[1:]) != expected:
                raise DataError(
                    f"the batch's voxels are {tuple(voxels.shape[1:])}, the recipe conditions on {expected}",
                    "set family.conditioning to what the data was prepared with",
                )
        return self.network.encode(batch["image"], voxels, batch.camera)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One field a sample: the encoders run now, once; the decoder runs when the field is queried."""
        scenes = self.encode(batch)
        camera = scenes.camera
        return [
            Reconstruction(name, self._field(scenes.sample(index)), camera[index])
            for index, name in enumerate(batch.ids)
        ]

    def _field(self, scene: EncodedScene) -> Field:
        network = self.network

        @torch.no_grad()
        def query(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
            sdf, color = network.decode(scene, points[None])
            return sdf[0].float(), color[0].float()

        return Field(query, device=scene.maps[0].device)
