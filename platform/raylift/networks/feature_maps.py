"""Feature maps of pretrained, frozen networks: the semantics of pixels, for part segmentation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.device_copies import constant
from raylift.networks.perceptual import trunk_layers
from raylift.networks.pretrained import imagenet_convolutions
from raylift.networks.reading_places import ReadingPlaces

ExtractorName = Literal["vgg16", "alexnet", "random"]
NUM_CHANNELS: dict[ExtractorName, int] = {"vgg16": 512, "alexnet": 256, "random": 32}

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RANDOM_WIDTHS = (3, 16, 32)


class FeatureMaps:
    """A frozen trunk's last map, read densely. Not a module: it is in no model's parameters and no checkpoint.

    The last pooling keeps its resolution and the convolutions after it are dilated instead (DeepLab's hole algorithm),
    so the same filters are read at twice the density: every 8 pixels.

    Args:
        name: "vgg16" or "alexnet" (ImageNet's, after the last ReLU), or "random": untrained filters with fixed weights,
            for tests only.

    Raises:
        WeightsError: missing weights; the message says which file to put where.
    """

    def __init__(self, name: ExtractorName) -> None:
        layers = _random_layers() if name == "random" else _imagenet_layers(name)
        self.num_channels = NUM_CHANNELS[name]
        self.places = ReadingPlaces().then(layers)
        self._trunk = nn.Sequential(*layers).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B D S S"]:
        """Features of square RGB in [0, 1], at least 0, read at the pixel centres of a map of ``size``.

        Points beyond the outermost filters get the features of those.
        """
        trunk = self._trunk.to(image.device, image.dtype)
        mean, std = (constant(values, image)[:, None, None] for values in (_MEAN, _STD))
        features: Tensor = trunk((image - mean) / std)
        side = image.shape[-1]
        centers = (2 * torch.arange(size, device=image.device, dtype=image.dtype) + 1) / size - 1
        axis = self.places.coordinates(centers, side, features.shape[-1])
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([columns, rows], dim=-1).expand(len(image), -1, -1, -1)
        return functional.grid_sample(features, grid, padding_mode="border", align_corners=False)


def _first(value: object) -> int:
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number


def _imagenet_layers(name: Literal["vgg16", "alexnet"]) -> list[nn.Module]:
    layers = trunk_layers(name)
    weights = {key.removeprefix("features."): value for key, value in imagenet_convolutions(name).items()}
    nn.Sequential(*layers).load_state_dict(weights)
    last_pool = max(index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))
    kernel = _first(layers[last_pool].kernel_size)
    # Without its stride, an even window would shrink the map by one, so it is enlarged to the next odd size.
    layers[last_pool] = nn.MaxPool2d(kernel | 1, stride=1, padding=kernel // 2)
    for layer in layers[last_pool:]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation, layer.padding = (2, 2), (2, 2)
    return layers


def _random_layers() -> list[nn.Module]:
    draws = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(_RANDOM_WIDTHS):
        convolution = nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(torch.randn(convolution.weight.shape, generator=draws) / math.sqrt(8 * narrow))
        layers += [convolution, nn.ReLU()]
    return layers
