"""LPIPS: the learned perceptual distance of two images (Zhang et al. 2018), version 0.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import WeightsError

Trunk = Literal["alexnet", "vgg16"]

LEAST_SQUARE = 1e-30

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class PerceptualDistance(nn.Module):
    """The distance of two batches of images.

    d(a, b) = sum over five layers of the spatial mean of w . (f(a) - f(b))^2, where f are activations of an ImageNet
    network scaled to unit length over channels and w >= 0 the layer's learned weights (their equation 1).

    Args:
        trunk: network name; its layers are torchvision's, so ``weights`` may be torchvision's too.
        weights: ``features.<i>.weight`` and ``.bias`` of every convolution (torchvision's names) and ``heads.<layer>``
            [C] (see ``networks.pretrained``).

    Raises:
        WeightsError: an array is missing or has another shape.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        layers, self._taps = _layers(trunk)
        self.features = nn.Sequential(*layers)
        widths = [_width(layers, tap) for tap in self._taps]
        for index, width in enumerate(widths):
            self.register_buffer(f"head_{index}", torch.zeros(width))
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self._load(weights, trunk)
        self.requires_grad_(False)
        self.eval()

    def forward(self, first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """Distances of RGB in [0, 1], 0 for equal images; differentiable in both. Sides of at least 32 px."""
        features = self._unit_features(torch.cat([first, second]) * 2 - 1)
        total = first.new_zeros(len(first))
        for index, layer in enumerate(features):
            ours, theirs = layer.chunk(2)
            head: Tensor = getattr(self, f"head_{index}")
            total = total + torch.einsum("bchw,c->bhw", (ours - theirs).square(), head).mean(dim=(1, 2))
        return total

    def _unit_features(self, pictures: Tensor) -> list[Tensor]:
        x = (pictures - self.shift) / self.scale
        tapped = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                # lpips 0.1.4 adds the epsilon outside of the root. The root's slope is infinite where all of a pixel's
                # activations are zero, which would make gradients NaN; the clamp changes no value.
                length = x.square().sum(dim=1, keepdim=True).clamp(min=LEAST_SQUARE).sqrt()
                tapped.append(x / (length + 1e-10))
        return tapped

    def _load(self, weights: Mapping[str, Tensor], trunk: str) -> None:
        own = {f"features.{name}": value for name, value in self.features.state_dict(keep_vars=True).items()}
        own |= {f"heads.{index}": getattr(self, f"head_{index}") for index in range(len(self._taps))}
        for name, target in own.items():
            found = weights.get(name)
            if found is None or found.shape != target.shape:
                what = "missing" if found is None else f"of shape {tuple(found.shape)}, not {tuple(target.shape)}"
                raise WeightsError(f"LPIPS ({trunk}): {name} is {what}", "use the weights of that network")
            with torch.no_grad():
                target.copy_(found)


def _layers(trunk: Trunk) -> tuple[list[nn.Module], tuple[int, ...]]:
    """torchvision's ``features`` up to the last tapped ReLU, and the indices of the five tapped ones."""
    if trunk == "alexnet":
        return [
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
            *(nn.MaxPool2d(3, stride=2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
            *(nn.MaxPool2d(3, stride=2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        ], (1, 4, 7, 9, 11)
    layers: list[nn.Module] = []
    width = 3
    for stage, (count, wide) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(count):
            layers += [nn.Conv2d(width, wide, 3, padding=1), nn.ReLU()]
            width = wide
    return layers, (3, 8, 15, 22, 29)


def trunk_layers(trunk: Trunk) -> list[nn.Module]:
    """Build a trunk's layers, in torchvision's numbering, without weights."""
    return _layers(trunk)[0]


def _width(layers: list[nn.Module], tap: int) -> int:
    convolution = layers[tap - 1]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels
