"""From latents to volumes (equation 2)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.device_memory import refuse_too_large
from raylift.core.errors import ConfigError
from raylift.networks.equivariant.groups import grid_group
from raylift.networks.volumes.config import VolumeConfig
from raylift.networks.volumes.fields import OUTPUTS
from raylift.networks.volumes.geometry import Geometry, OccupancyGeometry, SignedDistanceGeometry
from raylift.networks.volumes.plane_generator import PlaneGenerator
from raylift.networks.volumes.triplane import TriplaneVolume, point_decoder
from raylift.networks.volumes.volume import Volume
from raylift.networks.volumes.voxels import HEAD_GAIN, VoxelGenerator


class VolumeDecoder(nn.Module):
    """(S_o, S_f) = phi_D(z), equation 2: a latent, as the style of a StyleGAN2-like generator, to a coloured volume.

    No spatial noise is added, so a latent has one shape; a sample never depends on the others in its batch.

    Args:
        config: representation, geometry and sizes.
        style_features: size of the latent.
    """

    def __init__(self, config: VolumeConfig, style_features: int) -> None:
        super().__init__()
        self.config = config
        self.geometry: Geometry = (
            OccupancyGeometry(config.initial_radius, config.level)
            if config.geometry == "occupancy"
            else SignedDistanceGeometry(config.initial_radius, config.initial_beta)
        )
        if config.representation == "voxels":
            self.voxels = VoxelGenerator(config, style_features)
        else:
            self.planes = PlaneGenerator(config, style_features)
            self.points = point_decoder(config, HEAD_GAIN)

    @property
    def density_kind(self) -> Literal["density", "occupancy"]:
        """What the density of a volume is."""
        return self.geometry.density_kind

    def forward(self, style: Float[Tensor, "B Z"]) -> Volume:
        """One shape per latent.

        Raises:
            ConfigError: the volumes need more memory than is free. Raised before anything is allocated.
        """
        num_bytes = len(style) * least_bytes(self.config)
        refuse_too_large(num_bytes, f"decoding {len(style)} volumes of {self.config.representation}", style.device)
        if self.config.representation == "voxels":
            volume: Volume = self.voxels(style, self.geometry)
            return volume
        planes = self.planes(style)
        return TriplaneVolume(planes, self.points, self.geometry, self.config.half_extent, self.config.bake_resolution)


def build_decoder(config: VolumeConfig, z_dim: int) -> VolumeDecoder:
    """The decoder of a config.

    Args:
        config: representation, geometry and sizes.
        z_dim: size of the latent.

    Raises:
        ConfigError: an empty latent, or a volume that does not fit in the memory even for a batch of one.
    """
    if z_dim < 1:
        raise ConfigError(f"the latent has {z_dim} features", "use at least 1, such as 128")
    refuse_too_large(least_bytes(config), f"decoding 1 volume of {config.representation}")
    return VolumeDecoder(config, z_dim)


def least_bytes(config: VolumeConfig) -> int:
    """Bytes of the largest tensors of one sample, in float32: what a decoder needs at least."""
    if config.representation == "triplane":
        return 4 * 2 * 3 * config.channels * config.resolution**2
    # A group's fields and orientations are about sqrt(|G|) times the channels.
    channels = round(config.channels * len(grid_group(config.group)) ** 0.5)
    baked = (config.channels + OUTPUTS) * config.bake_resolution**3
    return 4 * (channels * config.resolution**3 + baked)
