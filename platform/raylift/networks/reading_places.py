"""Where the outputs of convolutions and poolings look: what is needed to read a map where it was computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ReadingPlaces:
    """The input places that an encoder's outputs are centred on, the same along every axis.

    Output i is centred on input place ``first + spacing i``, counted in input pixels (or voxels) from the first one's
    centre. Reading a map as if its cells tiled the image is right only where ``first`` is ``(spacing - 1) / 2``, which
    poolings of 2 by 2 have, and strided convolutions of odd kernels have not: theirs is 0.

    Attributes:
        first: of output 0.
        spacing: between outputs.
    """

    first: float = 0.0
    spacing: float = 1.0

    def then(self, layers: Iterable[nn.Module]) -> ReadingPlaces:
        """The places after further layers, of which only convolutions and poolings move any."""
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
        """Normalised coordinates in the outputs of normalised coordinates in the input, both with corners at -1 and 1.

        Args:
            wanted: of any shape.
            input_size: pixels along an edge of what was encoded.
            output_size: of the map.
        """
        place = ((wanted + 1) * (input_size / 2) - 0.5 - self.first) / self.spacing
        return (2 * place + 1) / output_size - 1


def _first(value: object) -> int:
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number
