"""How far the projection of a point is from the silhouette, which bounds the object as seen by the camera."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from raylift.models.implicit.readers.reader import Query, Reader, Reading, State, scaled
from raylift.models.implicit.view import View
from raylift.networks.point_sampling import sample_map


class SilhouetteReader(Reader):
    """The distance outside of the silhouette; 0 inside.

    Args:
        scales: clamping scales in half image sizes.
    """

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.width = len(self.scales)

    def encode(self, view: View) -> State:
        return (view.batch["mask_distance"],)

    def read(self, state: State, query: Query) -> Reading:
        return Reading(torch.stack(scaled(sample_map(state[0], query.uv)[..., 0], self.scales), -1))
