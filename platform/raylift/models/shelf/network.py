"""The network of the shelf-supervised model: encoder, latent, cameras and the decoder of volumes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.precision import at_least_float32
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.models.shelf.config import ShelfConfig
from raylift.networks.angle_decoder import AngleDecoder
from raylift.networks.camera_decoder import BoundedCameraDecoder
from raylift.networks.image_encoder import ImageEncoder
from raylift.networks.pose_posterior import PosePosterior
from raylift.networks.volumes.decoder import build_decoder
from raylift.networks.volumes.volume import Volume


@dataclass(frozen=True)
class Encoded:
    """(v, z) of equation 1.

    Attributes:
        latent: z, which holds shape and texture.
        cameras: v: one camera per image, or several with their probabilities.
    """

    latent: Float[Tensor, "B Z"]
    cameras: CameraHypotheses


class ShelfNetwork(nn.Module):
    """Image -> latent and cameras; latent -> volume.

    Args:
        config: sizes and kinds of the parts.
    """

    def __init__(self, config: ShelfConfig) -> None:
        super().__init__()
        self.config = config
        wanted, camera = config.encoder, config.camera
        features = wanted.num_features
        self.encoder = ImageEncoder(wanted.backbone, features, wanted.width, wanted.pretrained, wanted.frozen)
        self.latent = nn.Linear(features, wanted.latent)
        self.camera: AngleDecoder | BoundedCameraDecoder
        if camera.kind == "bins":
            self.camera = BoundedCameraDecoder(
                features, camera.num_hypotheses, camera.initial_scale, config.poses.ranges
            )
        else:
            self.camera = AngleDecoder(features, camera.initial_scale)
        self.decoder = build_decoder(config.volume, wanted.latent)
        self.poses: PosePosterior | None = None
        if config.weights.anchor > 0 and camera.trained_by != "known":
            self.poses = PosePosterior(config.poses)

    def encode(self, image: Float[Tensor, "B 3 H W"]) -> Encoded:
        """phi_E of RGB in [0, 1] on white."""
        feature = self.encoder(image)
        # Coordinates keep full precision under mixed precision.
        with torch.autocast(feature.device.type, enabled=False):
            feature = at_least_float32(feature)
            return Encoded(self.latent(feature), self.camera(feature))

    def decode(self, latent: Float[Tensor, "B Z"]) -> Volume:
        """phi_D of equation 2: one volume per latent."""
        volume: Volume = self.decoder(latent)
        return volume
