"""A small encoder-decoder that predicts a class for every pixel."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.networks.normalization import group_norm
from raylift.networks.resnet import Backbone, ResNetPyramid, normalize_image


class SegmentationNetwork(nn.Module):
    """A ResNet down, a feature pyramid up (Lin et al. 2017): logits of classes at a quarter of the image's side.

    Args:
        num_classes: channels of the logits.
        backbone: layout of the ResNet.
        width: channels of its first stage; 64 is its own.
        channels: channels of the decoder.
    """

    STRIDE = 4

    def __init__(self, num_classes: int, backbone: Backbone = "resnet18", width: int = 64, channels: int = 128) -> None:
        super().__init__()
        self.pyramid = ResNetPyramid(backbone, width)
        scales = self.pyramid.channels[1:]
        self.laterals = nn.ModuleList(nn.Conv2d(scale, channels, 1) for scale in scales)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False), group_norm(channels), nn.ReLU(inplace=True)
            )
            for _ in scales
        )
        self.head = nn.Conv2d(channels, num_classes, 1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Compute logits of RGB in [0, 1]."""
        maps = self.pyramid(normalize_image(image))[1:]
        x = self.smooth[-1](self.laterals[-1](maps[-1]))
        for level in reversed(range(len(maps) - 1)):
            lifted = functional.interpolate(x, maps[level].shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[level](self.laterals[level](maps[level]) + lifted)
        logits: Tensor = self.head(x)
        return logits
