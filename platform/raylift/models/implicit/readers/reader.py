"""The interface of readers: encode a view once, read it at any points.

A new reader is a class with ``encode``, ``read`` and ``width``, and one line in
``model.readers_of``. It sees the batch through a ``View`` and points through a ``Query``, so that nothing is projected,
reprojected or indexed twice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.types import Camera
from raylift.geometry.cameras import project
from raylift.geometry.depth_maps import pixel_at
from raylift.models.implicit.view import View, mirrored_points

State = tuple[Any, ...]
"""A reader's encoding of a batch: each part can be indexed by slices of samples, as tensors, cameras and tuples are."""


class Query:
    """Points at which a view is read.

    Args:
        camera: camera of each sample.
        points: points to read at, world frame.
    """

    def __init__(self, camera: Camera, points: Float[Tensor, "B N 3"]) -> None:
        self.camera = camera
        self.points = points
        self._pixels: tuple[tuple[int, int], Tensor] | None = None

    @cached_property
    def _projected(self) -> tuple[Tensor, Tensor]:
        return project(self.camera, self.points)

    @property
    def uv(self) -> Float[Tensor, "B N 2"]:
        """The points' image coordinates."""
        return self._projected[0]

    @property
    def depth(self) -> Float[Tensor, "B N"]:
        """z of the points in camera axes."""
        return self._projected[1]

    def pixels(self, depth: Float[Tensor, "B 1 H W"]) -> Int[Tensor, "B N"]:
        """The pixels of a map that the points project into, by flat index."""
        size = (depth.shape[-2], depth.shape[-1])
        if self._pixels is None or self._pixels[0] != size:
            self._pixels = (size, pixel_at(self.uv, *size))
        return self._pixels[1]

    @cached_property
    def with_mirrored(self) -> Query:
        """The points, and after them their images (-x, y, z): one query of 2 N points."""
        return Query(self.camera, torch.cat([self.points, mirrored_points(self.points)], 1))


@dataclass(frozen=True)
class Reading:
    """What a reader returns for points.

    Attributes:
        features: features [B, N, width].
        colors: candidate colours of the point, RGB in [0, 1], [B, N, 3] each, in the order of ``Reader.colors``.
        told: signed distance that the decoder corrects, [B, N], world units; from readers of conditioning grids or
            priors.
    """

    features: Tensor
    colors: tuple[Tensor, ...] = ()
    told: Tensor | None = None


class Reader(nn.Module):
    """Reads features of a view at points.

    Attributes:
        width: number of feature channels.
        colors: names of the colours that it returns.
    """

    width: int
    colors: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, view: View) -> State:
        """Compute everything that does not depend on the points."""

    @abstractmethod
    def read(self, state: State, query: Query) -> Reading:
        """Read at the points, in float32 or wider; called outside of mixed precision."""


class MirroredToo(Reader):
    """Reads at the point and at its mirror image, where a symmetric object shows what is hidden from the camera.

    Args:
        reader: reader whose encoding is read twice.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.width = 2 * reader.width
        self.colors = (*reader.colors, *(f"mirrored {name}" for name in reader.colors))

    def encode(self, view: View) -> State:
        return self.reader.encode(view)

    def read(self, state: State, query: Query) -> Reading:
        count = query.points.shape[1]
        both = self.reader.read(state, query.with_mirrored)
        own, other = slice(None, count), slice(count, None)
        features = torch.cat([both.features[:, own], both.features[:, other]], -1)
        # All colours at the point, then all at its image, as ``colors`` names them.
        return Reading(features, tuple(color[:, half] for half in (own, other) for color in both.colors))


def scaled(distance: Float[Tensor, "B N"], scales: Sequence[float]) -> list[Tensor]:
    """Divide a length by each scale and clamp it to [-1, 1]."""
    return [(distance / scale).clamp(-1.0, 1.0) for scale in scales]
