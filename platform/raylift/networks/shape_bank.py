"""Training shapes as part of a network's state, looked up by what their silhouette would be in the input's own camera.

Two stages, so that the cost of a look-up does not grow with the bank much: stored silhouettes make a shortlist by one
matrix product, and only those shapes are projected by the input's camera and compared with its silhouette. On one core
a look-up among 800 objects of 12 silhouettes takes about 4 ms; a bank is bounded by ``ExampleRequest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import DataError
from raylift.core.examples import Examples
from raylift.core.generators import stable_hash
from raylift.core.types import Camera
from raylift.geometry.cameras import project

REACH = 0.1
"""Signed distances are kept within [-REACH, REACH], world units, in 254 steps."""
COMPARED_PX = 48
COVERED = 0.2
"""A compared pixel belongs to the input's silhouette from this coverage on: thin parts count."""
_LEVELS = (1, 2, 4, 8)
_FAR = 1e6
_STATE = ("sdf", "points", "silhouettes", "owners", "bodies", "sample_keys", "sample_bodies")


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
        self.register_buffer("sdf", torch.zeros(0, 1, 1, 1, dtype=torch.int8))
        self.register_buffer("points", torch.zeros(0, 1, 3, dtype=torch.float16))
        self.register_buffer("silhouettes", torch.zeros(0, 1, 1, dtype=torch.uint8))
        for name in _STATE[3:]:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.sdf)

    def keep(self, examples: Examples) -> None:
        """Take these shapes in place of what was kept.

        Raises:
            DataError: fewer than two bodies, so that nothing would be left to look up for a training sample.
        """
        if len(examples.bodies.unique()) < 2:
            raise DataError(
                "a bank of training shapes needs two bodies at least, or a training sample has nothing to look up",
                "train on more objects, or without the prior (family.prior.kind=none)",
            )
        self.sdf = (examples.sdf.clamp(-REACH, REACH) * (127 / REACH)).round().to(torch.int8)
        self.points = examples.points.to(torch.float16)
        self.silhouettes = (examples.silhouettes * 255).round().to(torch.uint8)
        self.owners, self.bodies = examples.owners.clone(), examples.bodies.clone()
        named = sorted((stable_hash(name), body) for name, body in examples.samples.items())
        self.sample_keys = torch.tensor([key for key, _ in named], dtype=torch.int64)
        self.sample_bodies = torch.tensor([body for _, body in named], dtype=torch.int64)

    @torch.no_grad()
    def nearest(
        self, coverage: Float[Tensor, "B 1 H W"], camera: Camera, ids: Sequence[str], count: int, shortlist: int = 64
    ) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"]]:
        """The shapes whose silhouettes are nearest to each sample's, nearest first, with their distances.

        A sample of a training object does not find its own body: otherwise training would look its answers up. Where
        fewer than ``count`` shapes are left, the last one is repeated.

        Args:
            coverage: of the input.
            camera: of each sample.
            ids: ``object_id#view``.
            count: K.
            shortlist: shapes that are projected.

        Raises:
            DataError: the bank is empty.
        """
        if not len(self):
            raise DataError("the bank of training shapes is empty", "train it, or load a checkpoint of a trained run")
        found, distances = [], []
        for index, name in enumerate(ids):
            own = self._is_own(name)
            candidates = self._shortlist(coverage[index], own, shortlist)
            ranked = self._distances(coverage[index], camera[index], candidates).sort(stable=True)
            order = candidates[ranked.indices][:count]
            kept = torch.arange(count, device=order.device).clamp(max=len(order) - 1)
            found.append(order[kept])
            distances.append(ranked.values[kept])
        return torch.stack(found), torch.stack(distances)

    def volumes(self, indices: Int[Tensor, "B K"]) -> Float[Tensor, "B K R R R"]:
        """Signed distances of shapes, world units, within [-REACH, REACH]."""
        return self.sdf[indices].to(torch.get_default_dtype()) * (REACH / 127)

    def _is_own(self, name: str) -> Tensor:
        key = stable_hash(name.rpartition("#")[0])
        place = int(torch.searchsorted(self.sample_keys, key))
        if place == len(self.sample_keys) or int(self.sample_keys[place]) != key:
            return torch.zeros_like(self.bodies, dtype=torch.bool)
        return self.bodies == self.sample_bodies[place]

    def _shortlist(self, coverage: Tensor, own: Tensor, count: int) -> Tensor:
        side = self.silhouettes.shape[-1]
        wanted = functional.adaptive_avg_pool2d(coverage, side).flatten().float()
        stored = self.silhouettes.flatten(1).float() / 255
        squares = stored.square().sum(1) - 2 * stored @ wanted
        each = squares.new_full((len(self),), _FAR).scatter_reduce(0, self.owners, squares, "amin")
        each = each.masked_fill(own, _FAR)
        num_left = int((~own).sum())
        return each.sort(stable=True).indices[: min(count, num_left)]

    def _distances(self, coverage: Tensor, camera: Camera, candidates: Tensor) -> Tensor:
        """Mean squares between silhouettes, blurred more and more, over the input's area."""
        points = self.points[candidates].to(coverage.dtype)
        uv, _ = project(camera, points.reshape(1, -1, 3))
        cells = ((uv[0] + 1) * (COMPARED_PX / 2)).floor().long().clamp(0, COMPARED_PX - 1)
        flat = (cells[:, 1] * COMPARED_PX + cells[:, 0]).reshape(len(candidates), -1)
        drawn = coverage.new_zeros(len(candidates), COMPARED_PX**2).scatter_(1, flat, 1.0)
        drawn = drawn.reshape(-1, 1, COMPARED_PX, COMPARED_PX)
        wanted = (functional.adaptive_avg_pool2d(coverage[None], COMPARED_PX) > COVERED).to(coverage.dtype)
        total = coverage.new_zeros(len(candidates))
        for level in _LEVELS:
            ours, theirs = (functional.avg_pool2d(picture, level) for picture in (wanted, drawn))
            total = total + (ours - theirs).square().mean((1, 2, 3))
        return total / wanted.mean().clamp(min=1e-3)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # A checkpoint decides how large the bank is.
        for name in _STATE:
            if prefix + name in state_dict:
                old = getattr(self, name)
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=old.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
