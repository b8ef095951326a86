"""The network of part segmentation, and the basis: one feature vector per part."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.models.part_segmentation.config import PartSegmentationConfig
from raylift.networks.feature_maps import NUM_CHANNELS
from raylift.networks.segmentation import SegmentationNetwork


class PartNetwork(nn.Module):
    """Maps an image to responses R of the background, first, and K parts; has W, the appearance of each part.

    Attributes:
        basis: W, one row per part, in the extractor's feature space; negative entries count as 0.
    """

    def __init__(self, config: PartSegmentationConfig) -> None:
        super().__init__()
        self.segmentation = SegmentationNetwork(config.num_parts + 1, config.backbone, config.width, config.channels)
        # Every part starts with its own channels, so that parts differ from the first step; the others start small but
        # above 0, where the rectifier still passes gradients.
        channels = NUM_CHANNELS[config.extractor]
        own = torch.randperm(channels) % config.num_parts == torch.arange(config.num_parts)[:, None]
        vectors = torch.rand(config.num_parts, channels) * torch.where(own, 1.0, 0.1)
        self.basis = nn.Parameter(vectors / vectors.norm(dim=1, keepdim=True))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """R of RGB in [0, 1]: a distribution over the K + 1 channels at each cell of a quarter of the image's side."""
        logits = self.segmentation(image)
        # Logarithms of small probabilities follow, for which bfloat16 is too coarse.
        return (logits if logits.dtype == torch.float64 else logits.float()).softmax(dim=1)
