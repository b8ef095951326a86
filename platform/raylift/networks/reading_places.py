"""Input positions of convolution and pooling outputs, needed to read a map where it was computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ReadingPlaces:
    """The input positions that an encoder's outputs are centred on, the same along every axis.

    Output i is centred on input position ``first + spacing i``, in input pixels (or voxels) from the first one's
    centre. Reading a map as if its cells tiled the image is correct only if ``first`` is ``(spacing - 1) / 2``, as for
    2 by 2 poolings, but not for strided convolutions with odd kernels: theirs is 0.

    Attributes:
        first: input position of output 0.
        spacing: spacing between outputs.
    """

    first: float = 0.0
    spacing: float = 1.0

    def then(self, layers: Iterable[nn.Module]) -> ReadingPlaces:
        """Compute the positions after further layers, of which only convolutions and poolings change them."""
        first, spacing = self.first, self.spacing
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.MaxPool2d | nn.MaxPool3d):
                kernel, stride, padding, dilation = (
                    _first(value) for value in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
                )
                first += ((kernel - 1) * dilation / 2 - padding) * spacing
                spacing *= stride
        return ReadingPlaces(first, spacing)

    def coordinates(self, wanted: Tensor, input_size: int, output_size: int) -> Tensor:
        """Convert normalised input coordinates to normalised output coordinates, both with corners at -1 and 1.

        Args:
            wanted: input coordinates of any shape.
            input_size: pixels along an edge of the encoder's input.
            output_size: pixels along an edge of the map.
        """
        place = ((wanted + 1) * (input_size / 2) - 0.5 - self.first) / self.spacing
        return (2 * place + 1) / output_size - 1


def _first(value: object) -> int:
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number
