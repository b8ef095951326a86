"""Training shapes in a network's state, retrieved by their silhouettes in the input's own camera.

Retrieval has two stages, so that its cost hardly grows with the bank: stored silhouettes make a shortlist by one matrix
product; only those shapes are projected by the input's camera and compared with it, and the best of them are stretched
along their axes to fit better. On one core, a retrieval among 800 objects of 12 silhouettes takes about 20 ms, most of
it for stretching; ``ExampleRequest`` bounds a bank, so more data do not cost more.

Shapes are compared with the input's silhouette, or with its depth if given (``networks.shape_likeness``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import DataError
from raylift.core.examples import Examples
from raylift.core.generators import stable_hash
from raylift.core.types import Camera
from raylift.networks.shape_likeness import DepthLikeness, Likeness, Shapes, SilhouetteLikeness

REACH = 0.1
"""Limit of stored signed distances, world units: [-REACH, REACH] in 254 steps."""
MAX_KNOWN = 200_000
"""Largest number of training samples whose neighbours are cached: some 300 bytes each."""
_STEPS = (0.6, 0.3, 0.1)
"""Step sizes of the search for a stretch, as fractions of the largest: they add up to 1."""
STRETCH_COST = 0.02
"""Penalty per unit of mean absolute log stretch: among equally good fits, less stretch wins."""
_FAR = 1e6
_STATE = ("sdf", "points", "silhouettes", "owners", "bodies", "sample_keys", "sample_bodies")


@dataclass(frozen=True)
class Search:
    """Limits of a retrieval.

    Attributes:
        shortlist: number of shapes to project.
        num_stretched: number of the best of those to stretch along their axes; 0 for none.
        stretch: largest change of one axis relative to another, as the logarithm of a factor.
    """

    shortlist: int = 64
    num_stretched: int = 12
    stretch: float = 0.4


@dataclass(frozen=True)
class Neighbors:
    """Shapes of a bank, nearest first.

    Attributes:
        indices: indices in the bank.
        stretches: factor along each axis.
        distances: distances of silhouettes, or of visible surfaces.
    """

    indices: Int[Tensor, "B K"]
    stretches: Float[Tensor, "B K 3"]
    distances: Float[Tensor, "B K"]


class ShapeBank(nn.Module):
    """Shapes with their silhouettes; empty until ``keep`` or a checkpoint fills it."""

    sdf: Tensor
    points: Tensor
    silhouettes: Tensor
    owners: Tensor
    bodies: Tensor
    sample_keys: Tensor
    sample_bodies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[object, tuple[Tensor, Tensor, Tensor]] = {}
        self._rows: tuple[object, tuple[Tensor, Tensor]] | None = None
        self.register_buffer("sdf", torch.zeros(0, 1, 1, 1, dtype=torch.int8))
        self.register_buffer("points", torch.zeros(0, 1, 3, dtype=torch.float16))
        self.register_buffer("silhouettes", torch.zeros(0, 1, 1, dtype=torch.uint8))
        for name in _STATE[3:]:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.sdf)

    def keep(self, examples: Examples) -> None:
        """Replace the stored shapes by these.

        Raises:
            DataError: fewer than two bodies, so that a training sample would have nothing to retrieve.
        """
        if len(examples.bodies.unique()) < 2:
            raise DataError(
                "a bank of training shapes needs at least two bodies, or a training sample has nothing to retrieve",
                "train on more objects, or without the prior (model.prior.kind=none)",
            )
        self._known = {}
        self.sdf = (examples.sdf.clamp(-REACH, REACH) * (127 / REACH)).round().to(torch.int8)
        self.points = examples.points.to(torch.float16)
        self.silhouettes = (examples.silhouettes * 255).round().to(torch.uint8)
        self.owners, self.bodies = examples.owners.clone(), examples.bodies.clone()
        named = sorted((stable_hash(name), body) for name, body in examples.samples.items())
        self.sample_keys = torch.tensor([key for key, _ in named], dtype=torch.int64)
        self.sample_bodies = torch.tensor([body for _, body in named], dtype=torch.int64)

    @torch.no_grad()
    def nearest(
        self,
        coverage: Float[Tensor, "B 1 H W"],
        camera: Camera,
        ids: Sequence[str],
        count: int,
        search: Search,
        depth: Float[Tensor, "B 1 H W"] | None = None,
    ) -> Neighbors:
        """The shapes whose silhouettes, or visible surfaces, are nearest to each sample's, nearest first.

        A sample of a training object does not find its own body: otherwise training would retrieve its targets. If
        fewer than ``count`` shapes remain, the last one is repeated.

        Args:
            coverage: coverage of the input.
            camera: camera of each sample.
            ids: sample names, ``object_id#view``.
            count: number K of neighbours.
            search: limits of the retrieval.
            depth: z in world units, 0 where missing; None compares silhouettes only.

        Raises:
            DataError: the bank is empty.
        """
        if not len(self):
            raise DataError(
                "the bank of training shapes is empty", "train the model, or load a checkpoint of a trained run"
            )
        stored = self._unpacked(coverage)
        found = [
            self._found(
                stored, coverage[index], camera[index], None if depth is None else depth[index], name, count, search
            )
            for index, name in enumerate(ids)
        ]
        return Neighbors(*(torch.stack(parts) for parts in zip(*found, strict=True)))

    def volumes(self, near: Neighbors) -> Float[Tensor, "B K R R R"]:
        """Signed distances of the stretched shapes, world units, in [-REACH, REACH].

        A stretched distance is inexact off the surface; its sign is exact.
        """
        resolution, dtype = self.sdf.shape[-1], near.stretches.dtype
        stored = self.sdf[near.indices].to(dtype) * (REACH / 127)
        if bool((near.stretches == 1).all()):
            return stored
        centers = (2 * torch.arange(resolution, device=stored.device, dtype=dtype) + 1) / resolution - 1
        axes = torch.stack(torch.meshgrid(centers, centers, centers, indexing="ij"), -1)
        # grid_sample takes the last axis first.
        places = (axes / near.stretches[..., None, None, None, :]).flip(-1).flatten(0, 1)
        moved = functional.grid_sample(
            stored.flatten(0, 1)[:, None], places, padding_mode="border", align_corners=False
        )
        return moved.reshape(stored.shape)

    def _found(
        self,
        stored: tuple[Tensor, Tensor],
        coverage: Tensor,
        camera: Camera,
        depth: Tensor | None,
        name: str,
        count: int,
        search: Search,
    ) -> tuple[Tensor, Tensor, Tensor]:
        own = self._is_own(name)
        # A training sample is seen many times, mirrored or not, and always has the same neighbours; any other input may
        # be a different image with the same name.
        key = (name, count, search, _bytes_of(camera)) if self.training and bool(own.any()) else None
        if key in self._known:
            return self._known[key]
        found = self._searched(stored, coverage, camera, depth, own, count, search)
        if key is not None:
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return found

    def _searched(
        self,
        stored: tuple[Tensor, Tensor],
        coverage: Tensor,
        camera: Camera,
        depth: Tensor | None,
        own: Tensor,
        count: int,
        search: Search,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = SilhouetteLikeness(coverage, camera) if depth is None else DepthLikeness(depth, camera)
        candidates = self._shortlist(stored, coverage, own, search.shortlist)
        sdf = self.sdf[candidates].to(coverage.dtype) * (REACH / 127)
        shapes = Shapes(self.points[candidates].to(coverage.dtype), sdf)
        stretches = sdf.new_ones(len(candidates), 3)
        ranked = wanted.distances(shapes, stretches[:, None])[:, 0].sort(stable=True)
        if search.num_stretched:
            order = ranked.indices[: search.num_stretched]
            candidates, shapes = candidates[order], shapes[order]
            stretches, distances = _stretched(shapes, wanted, search.stretch)
            ranked = distances.sort(stable=True)
        order = ranked.indices[:count]
        kept = torch.arange(count, device=order.device).clamp(max=len(order) - 1)
        return candidates[order][kept], stretches[order][kept], ranked.values[kept]

    def _is_own(self, name: str) -> Tensor:
        key = stable_hash(name.rpartition("#")[0])
        place = int(torch.searchsorted(self.sample_keys, key))
        if place == len(self.sample_keys) or int(self.sample_keys[place]) != key:
            return torch.zeros_like(self.bodies, dtype=torch.bool)
        return self.bodies == self.sample_bodies[place]

    def _unpacked(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Silhouettes as rows and their squared lengths, unpacked once until the bank changes."""
        key = (self.silhouettes.data_ptr(), self.silhouettes._version, like.dtype, like.device)
        if self._rows is None or self._rows[0] != key:
            pictures = self.silhouettes.flatten(1).to(like) / 255
            self._rows = (key, (pictures, pictures.square().sum(1)))
        return self._rows[1]

    def _shortlist(self, stored: tuple[Tensor, Tensor], coverage: Tensor, own: Tensor, count: int) -> Tensor:
        side = self.silhouettes.shape[-1]
        wanted = functional.adaptive_avg_pool2d(coverage, side).flatten()
        # One sample at a time: rounding of a product for the whole batch depends on its size.
        pictures, lengths = stored
        squares = lengths - pictures @ (2 * wanted)
        each = squares.new_full((len(self),), _FAR).scatter_reduce(0, self.owners, squares, "amin")
        each = each.masked_fill(own, _FAR)
        num_left = int((~own).sum())
        return each.sort(stable=True).indices[: min(count, num_left)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # A checkpoint determines the size of the bank.
        self._known = {}
        for name in _STATE:
            if prefix + name in state_dict:
                old = getattr(self, name)
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=old.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _bytes_of(camera: Camera) -> bytes:
    parts = (camera.focal, camera.principal, camera.rotation, camera.translation)
    return b"".join(part.cpu().numpy().tobytes() for part in parts)


def _stretched(shapes: Shapes, wanted: Likeness, largest: float) -> tuple[Tensor, Tensor]:
    """Find the best stretches [K, 3] and their distances, by successively finer grids over width and depth.

    An object's longest edge is always 1, so two of three axes are free.
    """
    count = len(shapes.points)
    extents = shapes.points.abs().amax(1)
    best = extents.new_zeros(count, 3)
    distances = extents.new_zeros(count)
    for share in _STEPS:
        offsets = (-share * largest, 0.0, share * largest)
        moves = extents.new_tensor([(x, 0.0, z) for x in offsets for z in offsets])
        logs = best[:, None] + moves
        stretches = _of_longest_one(logs, extents[:, None])
        costs = wanted.distances(shapes, stretches) + STRETCH_COST * logs.abs().mean(-1)
        distances, chosen = costs.min(1)
        best = logs[torch.arange(count, device=logs.device), chosen]
    return _of_longest_one(best, extents), distances


def _of_longest_one(logs: Tensor, extents: Tensor) -> Tensor:
    factors = logs.exp()
    return factors * (extents.amax(-1, keepdim=True) / (extents * factors).amax(-1, keepdim=True))
