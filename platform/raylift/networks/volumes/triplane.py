"""Volumes as three feature planes: continuous bilinear reads, combined, then decoded per point."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.precision import at_least_float32
from raylift.geometry.voxels import grid_points
from raylift.networks.point_sampling import sample_map
from raylift.networks.volumes.config import Combination, VolumeConfig
from raylift.networks.volumes.geometry import Geometry
from raylift.networks.volumes.volume import Volume

AXES = ((0, 1), (0, 2), (1, 2))
"""The coordinates of each plane: xy, xz, yz. EG3D's published axes have zx twice and yz never (its issue 67)."""


class PointDecoder(nn.Module):
    """Plane features of a point to a scalar and RGB: one hidden layer with softplus (EG3D), in float32.

    The combination is part of it: a sum, and the first layer of a concatenation, are linear in the planes.

    Args:
        channels: channels of a plane.
        hidden: width of the hidden layer.
        combine: "sum" (EG3D, up to a factor), "product" (K-Planes) or "concat" (OpenLRM).
        gain: factor of the output layer's initial weights.
    """

    def __init__(self, channels: int, hidden: int, combine: Combination, gain: float) -> None:
        super().__init__()
        self.combine = combine
        self.first = nn.Linear(3 * channels if combine == "concat" else channels, hidden)
        self.second = nn.Linear(hidden, 4)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="linear")
        nn.init.normal_(self.second.weight, std=gain / hidden**0.5)
        nn.init.zeros_(self.second.bias)

    def forward(self, reads: list[Float[Tensor, "*P C"]]) -> Float[Tensor, "*P 4"]:
        """The output for three reads that broadcast against each other, in the order xy, xz, yz."""
        if self.combine == "product":
            # Planes start near 0 and factors near 1: a product of small numbers would have no gradient.
            x = self.first((1 + reads[0]) * (1 + reads[1]) * (1 + reads[2]))
        else:
            # Linear before the planes are broadcast: R^2 products per plane instead of R^3.
            weights = self.first.weight.chunk(3, 1) if self.combine == "concat" else [self.first.weight] * 3
            parts = [functional.linear(read, weight) for read, weight in zip(reads, weights, strict=True)]
            x = parts[0] + parts[1] + (parts[2] + self.first.bias)
        output: Tensor = self.second(functional.softplus(x))
        return output


class TriplaneVolume(Volume):
    """Features of a point are read from its projections onto three planes.

    Unlike the authors' published code, which reads 16^2 planes at integer indices into a dense grid, reads are
    bilinear and nothing dense is built but by ``bake``.

    Args:
        planes: planes xy, xz, yz, each indexed by its two coordinates.
        decoder: from plane features to a scalar and RGB.
        geometry: turns raw scalars into densities.
        half_extent: half the cube's edge, in world units.
        bake_resolution: default resolution of ``bake``.
    """

    def __init__(
        self,
        planes: Float[Tensor, "B 3 C R R"],
        decoder: PointDecoder,
        geometry: Geometry,
        half_extent: float,
        bake_resolution: int,
    ) -> None:
        super().__init__(geometry, half_extent, bake_resolution)
        self.planes = planes
        self.decoder = decoder

    @property
    def batch(self) -> Tensor:
        return self.planes

    @property
    def numbers_per_cell(self) -> int:
        # The hidden layer before and after its non-linearity.
        return super().numbers_per_cell + 2 * self.decoder.first.out_features

    def reads(self, points: Float[Tensor, "B N 3"]) -> list[Float[Tensor, "B N C"]]:
        """Bilinear values of the planes xy, xz and yz; border values beyond the border."""
        places = points / self.half_extent
        # A map's u is its last axis, hence the second coordinate first.
        return [sample_map(self.planes[:, index], places[..., [b, a]]) for index, (a, b) in enumerate(AXES)]

    def raw(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        return self._decode(points)[0]

    def features(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        return self._decode(points)[1]

    def cells(self, resolution: int) -> tuple[Float[Tensor, "B R R R"], Float[Tensor, "B 3 R R R"]]:
        with torch.autocast(self.planes.device.type, enabled=False):
            # Reads at the centres of cells are planes of that resolution, broadcast along the third axis.
            flat = self.planes.flatten(0, 1)
            if resolution != flat.shape[-1]:
                flat = functional.interpolate(flat, (resolution,) * 2, mode="bilinear", align_corners=False)
            planes = flat.unflatten(0, self.planes.shape[:2]).movedim(2, -1)
            third_axes = (3, 2, 1)
            output = self.decoder([planes[:, index].unsqueeze(axis) for index, axis in enumerate(third_axes)])
            centers = torch.from_numpy(grid_points(resolution, self.half_extent)).to(output.device)
            raw = self.geometry.raw(output[..., 0], centers.reshape(*(resolution,) * 3, 3))
            return raw, torch.sigmoid(output[..., 1:]).movedim(-1, 1).contiguous()

    def _decode(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(points.device.type, enabled=False):
            points = at_least_float32(points)
            output = self.decoder(self.reads(points))
            return self.geometry.raw(output[..., 0], points), torch.sigmoid(output[..., 1:])


def point_decoder(config: VolumeConfig, gain: float) -> PointDecoder:
    """The decoder of a config's points."""
    return PointDecoder(config.channels, config.hidden, config.combine, gain)
