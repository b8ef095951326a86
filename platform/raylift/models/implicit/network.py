"""The network of the implicit model: readers, and a decoder of their readings (implicit paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.types import GRID_HALF_EXTENT, Batch, Camera
from raylift.models.implicit.config import ImplicitConfig
from raylift.models.implicit.readers.distance_grid import DistanceGridReader
from raylift.models.implicit.readers.gaps import GapReader, PlaneReader
from raylift.models.implicit.readers.maps import MapReader
from raylift.models.implicit.readers.nearest import MeanColorReader, NearestReader
from raylift.models.implicit.readers.pixels import PixelReader
from raylift.models.implicit.readers.pretrained import PretrainedMapReader
from raylift.models.implicit.readers.prior import GRID_RESOLUTION, PriorReader
from raylift.models.implicit.readers.reader import MirroredToo, Query, Reader, Reading, State
from raylift.models.implicit.readers.silhouette import SilhouetteReader
from raylift.models.implicit.readers.told_points import ToldPointsReader
from raylift.models.implicit.readers.volumes import GapGridReader, ToldReader
from raylift.models.implicit.view import View, without_mixed_precision
from raylift.networks.decoder import FieldDecoder
from raylift.networks.fourier import FourierEmbedding

_RESIDUALS = {"gt_sdf": 0.1, "gt_occupancy": 2 * GRID_HALF_EXTENT / 32}
"""World units per step of 1 in a conditioning grid: the truncation that it was divided by, or one cell."""


@dataclass(frozen=True)
class EncodedScene:
    """The readers' encodings of a batch, computed once and read at any points.

    Attributes:
        states: one state per reader.
        camera: camera of each sample.
    """

    states: tuple[State, ...]
    camera: Camera

    def sample(self, index: int) -> EncodedScene:
        """One sample of the batch, with a batch axis of 1."""
        picked = slice(index, index + 1)
        # State shared between readers stays shared.
        distinct = {id(part): part for state in self.states for part in state}
        parts = {key: part[picked] for key, part in distinct.items()}
        return EncodedScene(
            tuple(tuple(parts[id(part)] for part in state) for state in self.states), self.camera[picked]
        )


class ImplicitNetwork(nn.Module):
    """(view, camera) -> (S, R, G, B) at any point.

    Args:
        config: widths, conditioning and readers.
        seed: seed of the Fourier matrix B and of the initial weights.
    """

    def __init__(self, config: ImplicitConfig, seed: int) -> None:
        super().__init__()
        self.embedding = FourierEmbedding(config.fourier.size, config.fourier.scale, seed)
        self.readers = nn.ModuleDict(readers_of(config))
        readers = self._readers()
        self.mixes_colors = config.colors == "mixed"
        self.decoder = FieldDecoder(
            self.embedding.width + sum(reader.width for reader in readers),
            config.hidden,
            limit=config.sdf_range,
            num_colors=sum(len(reader.colors) for reader in readers) if self.mixes_colors else 0,
            starts_at_zero=config.starts_from_told,
        )

    def _readers(self) -> list[Reader]:
        readers = list(self.readers.values())
        assert all(isinstance(reader, Reader) for reader in readers)
        return readers  # type: ignore[return-value]

    def encode(self, batch: Batch) -> EncodedScene:
        """Compute everything that does not depend on the query points.

        Raises:
            DataError: the batch lacks a camera or a field, or its grid is not the recipe's conditioning grid.
        """
        return self.encode_view(View(batch))

    def encode_view(self, view: View) -> EncodedScene:
        """Like ``encode``, for a view that several networks may share."""
        return EncodedScene(tuple(reader.encode(view) for reader in self._readers()), view.camera)

    def decode(
        self, scene: EncodedScene, points: Float[Tensor, "B N 3"], shared: dict[str, Reading] | None = None
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 3"]]:
        """Signed distance (world units, negative inside) and RGB in [0, 1] at world points (equation 3).

        Args:
            scene: result of ``encode``.
            points: query points, world frame.
            shared: readings by reader that depend on no weights; the networks of one recipe share it for the same
                points of the same view, and the first one fills it.
        """
        features, told, readings = self._read(scene, points, shared)
        colors = [color for reading in readings for color in reading.colors] if self.mixes_colors else []
        return self.decoder(features, torch.stack(colors, -2) if colors else None, told)

    def decode_distance(
        self, scene: EncodedScene, points: Float[Tensor, "B N 3"], shared: dict[str, Reading] | None = None
    ) -> Float[Tensor, "B N"]:
        """The signed distance alone, as ``decode`` returns it."""
        features, told, _ = self._read(scene, points, shared)
        return self.decoder.distance(self.decoder.hidden(features), told)

    def _read(
        self, scene: EncodedScene, points: Float[Tensor, "B N 3"], shared: dict[str, Reading] | None
    ) -> tuple[Float[Tensor, "B N F"], Float[Tensor, "B N"] | None, list[Reading]]:
        """[gamma(p), G(p)], embedding of equation 1 and features of equation 2; the distance to correct; readings."""
        with without_mixed_precision(points):
            query = Query(scene.camera, points)
            shared = {} if shared is None else shared
            readings = []
            for name, reader, state in zip(self.readers, self._readers(), scene.states, strict=True):
                reading = shared.get(name)
                if reading is None:
                    reading = reader.read(state, query)
                    if next(reader.parameters(), None) is None:
                        shared[name] = reading
                readings.append(reading)
            features = torch.cat([self.embedding(points), *(reading.features for reading in readings)], -1)
        return features, next((reading.told for reading in readings if reading.told is not None), None), readings


def readers_of(config: ImplicitConfig) -> dict[str, nn.Module]:
    """The readers of a recipe, by name, in the order of their features."""
    readers: dict[str, Reader] = {}
    if config.backbone != "none":
        readers["maps"] = MapReader(config, config.backbone)
    if config.pretrained.name:
        readers["pretrained"] = PretrainedMapReader(config)
    conditioning, reads = config.conditioning, config.reads
    if config.prior.num_neighbors:
        readers["prior"] = PriorReader(
            config.prior, reads.gap_scales, GRID_RESOLUTION, config.voxel_width, config.voxel_stride
        )
    request = conditioning.voxel_request()
    if request is not None:
        residual = _RESIDUALS[conditioning.kind] if config.residual else None
        readers["volumes"] = ToldReader(
            request,
            config.voxel_width,
            config.voxel_stride,
            conditioning.density == "of_maximum",
            residual,
            config.voxel_offset,
        )
    if conditioning.has_gap_grid:
        readers["volumes"] = GapGridReader(
            conditioning.resolution,
            reads.gap_scales,
            reads.mirrored,
            config.voxel_width,
            config.voxel_stride,
            config.voxel_offset,
        )
    if conditioning.encoding == "distance":
        readers["volumes"] = DistanceGridReader(
            conditioning.resolution,
            reads.grid_scales,
            reads.sides,
            reads.mirrored,
            config.voxel_width,
            config.voxel_stride,
            config.voxel_offset,
        )
    points: dict[str, Reader] = {}
    if reads.pixel != "none":
        points["pixel"] = PixelReader(coverage=reads.pixel == "rgba")
    if reads.gap:
        points["gap"] = GapReader(reads.gap_scales)
    plane_scales = reads.plane_scales if reads.plane else ()
    told = conditioning.kind == "surface"
    if plane_scales and not told:
        points["plane"] = PlaneReader(plane_scales)
    if reads.nearest and told:
        points["nearest"] = ToldPointsReader(reads.distance_scales, plane_scales, reads.neighbors, reads.direction)
    elif reads.nearest:
        points["nearest"] = NearestReader(reads.distance_scales, plane_scales)
    if reads.silhouette:
        points["silhouette"] = SilhouetteReader(reads.silhouette_scales)
    readers |= {name: MirroredToo(reader) if reads.mirrored else reader for name, reader in points.items()}
    if reads.nearest and config.colors == "mixed":
        readers["mean"] = MeanColorReader(told)
    return dict(readers)
