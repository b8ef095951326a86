"""Convolutions whose weights depend on a style (StyleGAN2, Karras et al. 2020, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-8
LEAKY_GAIN = math.sqrt(2.0)
"""Keeps the variance of a leaky ReLU's output near that of its input (StyleGAN2)."""


class ModulatedConv(nn.Module):
    """w'_oik = s_i(z) w_oik, then w''_oik = w'_oik / sqrt(sum_ik w'_oik^2): equations 1 and 3 of StyleGAN2.

    Inputs are scaled by s and outputs by the demodulation, which is the same convolution without a weight per sample:
    a batch is one ordinary convolution. The original's decoder uses adaptive instance normalisation and transposed
    convolutions instead; neither blobs nor checkerboards can arise here.

    Args:
        style_features: size of the style.
        weight_shape: outputs, inputs, then what the kernel consists of.
        fan_in: numbers that an output is a sum of; the size of an output's weights by default.
        demodulate: whether outputs have unit scale, as before a non-linearity; False for a head.
        gain: factor of the initial weights.

    Attributes:
        input_copies, output_copies: channels per input and per output, which share its scale and its bias.
    """

    input_copies = 1
    output_copies = 1

    def __init__(
        self,
        style_features: int,
        weight_shape: Sequence[int],
        fan_in: int | None = None,
        demodulate: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.style = style_layer(style_features, weight_shape[1])
        fan_in = math.prod(weight_shape[1:]) if fan_in is None else fan_in
        self.weight = nn.Parameter(torch.randn(*weight_shape) * (gain / math.sqrt(fan_in)))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0]))
        self.demodulate = demodulate

    def kernel(self) -> Tensor:
        """The weights of the ordinary convolution, [output channels, input channels, 3, 3(, 3)]."""
        return self.weight

    def forward(self, x: Float[Tensor, "B I *S"], style: Float[Tensor, "B Z"]) -> Float[Tensor, "B O *S"]:
        scale = self.style(style)
        x = convolve(x * spread(scale, self.input_copies, x), self.kernel())
        if self.demodulate:
            x = x * spread(demodulation(self.weight, scale), self.output_copies, x)
        return x + spread(self.bias[None], self.output_copies, x)


def style_layer(style_features: int, channels: int) -> nn.Linear:
    """The affine layer from a style to one scale per channel; the scales start around 1."""
    layer = nn.Linear(style_features, channels)
    nn.init.normal_(layer.weight, std=1.0 / math.sqrt(style_features))
    nn.init.ones_(layer.bias)
    return layer


def demodulation(weight: Float[Tensor, "O I *K"], scale: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
    """1 / sqrt(sum over inputs and kernel of (s w)^2), in at least float32: bf16 squares lose too much."""
    with torch.autocast(scale.device.type, enabled=False):
        energy = weight.square().flatten(2).sum(-1)
        return (scale.to(energy.dtype).square() @ energy.T + _EPSILON).rsqrt()


def convolve(x: Float[Tensor, "B I *S"], weight: Float[Tensor, "O I *K"]) -> Float[Tensor, "B O *S"]:
    """A zero-padded 3x3 or 3x3x3 convolution that keeps the size."""
    if x.ndim == 4:
        return functional.conv2d(channels_last(x), channels_last(weight), padding=1)
    return functional.conv3d(channels_last(x), channels_last(weight), padding=1)


def channels_last(x: Tensor) -> Tensor:
    """The same numbers with each cell's channels next to each other in memory.

    On a CPU, narrow 3D convolutions take half the time so, and trilinear upsampling a fifth.
    """
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def spread(values: Float[Tensor, "B C"], copies: int, like: Float[Tensor, "_ _ *S"]) -> Tensor:
    """Values of every ``copies`` consecutive channels, with axes to broadcast over space."""
    repeated = values.repeat_interleave(copies, 1) if copies > 1 else values
    return repeated.reshape(*repeated.shape, *(1,) * (like.ndim - 2))


def upsample(x: Float[Tensor, "B C *S"], mode: str) -> Tensor:
    """Twice the size, symmetrically: cell centres stay where they are in the world.

    A strided transposed convolution (the original: kernel 3, stride 2) prefers one side of each axis.
    """
    if mode == "nearest":
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")
    smooth = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(x, scale_factor=2.0, mode=smooth, align_corners=False)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, with its gain."""
    return functional.leaky_relu(x, 0.2) * LEAKY_GAIN
