"""The network of the implicit family: encoders, features at points, decoder (implicit paper, sections 3.1 and 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.types import Camera
from raylift.families.implicit.config import ImplicitConfig
from raylift.geometry.cameras import project
from raylift.networks.decoder import FieldDecoder
from raylift.networks.fourier import FourierEmbedding
from raylift.networks.point_sampling import sample_map, sample_volume
from raylift.networks.resnet import ResNetPyramid, normalize_image
from raylift.networks.voxel_encoder import VoxelPyramid


@dataclass(frozen=True)
class EncodedScene:
    """What the encoders make of a batch, once; points are then read from it at will.

    Attributes:
        maps: image features by scale, [B, image_features, H_k, W_k], reduced but not yet rectified.
        volumes: voxel features by scale, [B, C_k, R_k, R_k, R_k]; empty when only the image conditions.
        camera: of each image.
    """

    maps: tuple[Tensor, ...]
    volumes: tuple[Tensor, ...]
    camera: Camera

    def sample(self, index: int) -> EncodedScene:
        """One sample of the batch, with a batch axis of 1."""
        picked = slice(index, index + 1)
        return EncodedScene(
            tuple(features[picked] for features in self.maps),
            tuple(features[picked] for features in self.volumes),
            self.camera[picked],
        )


class ImplicitNetwork(nn.Module):
    """(image, camera, voxels) -> (S, R, G, B) at any point.

    Args:
        config: widths and conditioning.
        seed: of the Fourier matrix B and of the initial weights.
    """

    def __init__(self, config: ImplicitConfig, seed: int) -> None:
        super().__init__()
        self.embedding = FourierEmbedding(config.fourier.size, config.fourier.scale, seed)
        self.image_encoder = ResNetPyramid(config.backbone, config.image_width)
        self.reductions = nn.ModuleList(
            nn.Conv2d(channels, config.image_features, 1) for channels in self.image_encoder.channels
        )
        request = config.conditioning.voxel_request()
        self.voxel_encoder = (
            None if request is None else VoxelPyramid(request.num_channels, config.voxel_width, config.voxel_stride)
        )
        voxel_features = 0 if self.voxel_encoder is None else sum(self.voxel_encoder.channels)
        image_features = config.image_features * len(self.reductions)
        width = self.embedding.width + image_features + voxel_features
        self.decoder = FieldDecoder(width, config.hidden, limit=config.sdf_range)

    def encode(
        self, image: Float[Tensor, "B 3 H W"], voxels: Float[Tensor, "B C R R R"] | None, camera: Camera
    ) -> EncodedScene:
        """Everything that does not depend on the query points."""
        # The paper reads a map at the points and then applies the 1x1 convolution and ReLU. A 1x1 convolution commutes
        # with interpolation, so it goes first, on the map, where it makes the reading up to 32 times narrower; the ReLU
        # does not commute and stays behind (``point_features``).
        maps = self.image_encoder(normalize_image(image))
        reduced = tuple(reduce(features) for reduce, features in zip(self.reductions, maps, strict=True))
        volumes: tuple[Tensor, ...] = ()
        if self.voxel_encoder is not None:
            assert voxels is not None
            volumes = tuple(self.voxel_encoder(voxels))
        return EncodedScene(reduced, volumes, camera)

    def point_features(self, scene: EncodedScene, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N F"]:
        """[gamma(p), G(p)]: the embedding of equation 1 and the multi-scale features of equation 2."""
        # Coordinates keep full precision under mixed precision: bf16 would round a point to 1/256 of the object.
        with torch.autocast(points.device.type, enabled=False):
            uv, _ = project(scene.camera, points)
            embedded = self.embedding(points)
        from_image = [functional.relu(sample_map(features, uv)) for features in scene.maps]
        from_voxels = [sample_volume(features, points) for features in scene.volumes]
        return torch.cat([embedded, *from_image, *from_voxels], dim=-1)

    def decode(
        self, scene: EncodedScene, points: Float[Tensor, "B N 3"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 3"]]:
        """Signed distance (world units, negative inside) and RGB in (0, 1) at world points (equation 3)."""
        sdf, color = self.decoder(self.point_features(scene, points))
        return sdf, color
