"""The image at the projection of a point: colour and coverage."""

from __future__ import annotations

import torch

from raylift.models.implicit.readers.reader import Query, Reader, Reading, State
from raylift.models.implicit.view import View, without_white
from raylift.networks.point_sampling import sample_map


class PixelReader(Reader):
    """Bilinear RGB on white, and coverage; with the object's own colour there as an option.

    Under diffuse light that is fixed to the object, a pixel has the colour of its visible surface, which a decoder can
    hardly learn to copy through its layers.

    Args:
        coverage: whether to read alpha; without it this is the input of the paper's published code.
    """

    colors = ("pixel",)

    def __init__(self, coverage: bool = True) -> None:
        super().__init__()
        self.width = 4 if coverage else 3

    def encode(self, view: View) -> State:
        picture = torch.cat([view.image, view.coverage], 1) if self.width == 4 else view.image
        return (picture,)

    def read(self, state: State, query: Query) -> Reading:
        values = sample_map(state[0], query.uv)
        color = values[..., :3]
        if self.width == 4:
            color = without_white(color, values[..., 3:])
        return Reading(2 * values - 1, (color,))
