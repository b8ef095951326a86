"""The parts of a neural textured deformable mesh: backbone, neural texture, deformable templates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.device_copies import on_host
from raylift.core.errors import DataError
from raylift.core.types import Batch, Camera
from raylift.models.dmnt.config import DmntConfig
from raylift.models.dmnt.object_latents import ObjectLatents
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.networks.neural_texture import NeuralTexture
from raylift.networks.stride_features import StrideFeatures
from raylift.rendering.uv_fragments import UvFragments, uv_fragments


class DmntNetwork(nn.Module):
    """Images -> features; (category, latent, camera) -> the surface coordinate that each cell shows.

    Args:
        config: sizes and kinds of the parts.
        categories: names of the categories.
        num_images: training images.
        seed: of the initial weights and banks.

    Attributes:
        objects: shapes that training images start at, if they are known; otherwise they start at their category's mean.
        latents: whitened change of each training image's latent since then, moved by the gradient of the surface
            coordinates; None if they stay there.
    """

    def __init__(self, config: DmntConfig, categories: Sequence[str], num_images: int, seed: int) -> None:
        super().__init__()
        self.config = config
        self.features = StrideFeatures(config.features)
        self.texture = NeuralTexture(config.texture, len(categories), config.features.channels, seed)
        # The run that made the templates has trained them, on shapes.
        self.templates = DeformableTemplates(config.templates, categories, seed).requires_grad_(False)
        self.objects = ObjectLatents(config.templates.latent)
        self.latents: nn.Parameter | None = None
        if config.templates.deforms and config.contrast.uv_gradient:
            self.latents = nn.Parameter(torch.zeros(num_images, config.templates.latent))

    def encode(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D S S"]:
        """F: unit features of RGB in [0, 1], one per cell."""
        found: Tensor = self.features(image)
        return found

    def mean_latents(self, category: Int[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """The latent of each category's mean shape."""
        found: Tensor = self.templates.latent_mean[category]
        return found

    def training_latents(self, batch: Batch) -> Float[Tensor, "B L"]:
        """The latents of training images.

        Raises:
            DataError: an image that the table of latents does not have.
        """
        category = batch["category"].clamp(min=0)
        start = self.objects(batch.ids, self.mean_latents(category))
        if self.latents is None:
            return start
        index = batch["image_index"]
        largest = int(on_host(index).max())
        if largest >= len(self.latents):
            raise DataError(
                f"image {largest} of a data set that was said to have {len(self.latents)}",
                "train on the data set that the run was started with",
            )
        change: Tensor = self.templates.latent_factor[category] @ self.latents[index][..., None]
        return start + change[..., 0]

    def fragments(
        self, category: Int[Tensor, "B"], latent: Float[Tensor, "B L"], camera: Camera, cells: int
    ) -> UvFragments:
        """The surface coordinate that each of cells x cells shows of deformed templates. Full precision."""
        with torch.autocast(latent.device.type, enabled=False):
            vertices = self.templates(category, latent)
            return uv_fragments(vertices, self.templates.faces, self.templates.corner_uvs, camera, cells)
