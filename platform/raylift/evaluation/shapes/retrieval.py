"""Baselines that any network must beat: the mean shape, and the nearest training object (Tatarchenko et al. 2019).

They found that single-view networks of the time did no better than retrieving a training shape. So each evaluation
reports

* ``mean_shape``: one shape for every image, the average of the training grids cut at its best level;
* ``retrieval``: the training object with the view most similar to the input, without using the truth;
* ``oracle_retrieval``: the training object that overlaps the truth most, an upper bound for any retrieval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from raylift.core.errors import DataError
from raylift.core.types import GRID_HALF_EXTENT, Field, Mesh
from raylift.data.feed.resizing import composited
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.shapes.target import spread
from raylift.geometry.iso_surface import extract

DESCRIPTOR_PX = 16
MAX_PICTURES = 6000
"""Maximum number of training views for retrieval; above it, each object's views are thinned out evenly."""
MAX_LEVEL_OBJECTS = 500


@dataclass(frozen=True)
class MeanShape:
    """The average training shape.

    Attributes:
        values: [32, 32, 32], negative inside, over [-0.55, 0.55]^3, indexed [x, y, z].
        color: mean RGB of the training surfaces.
        source: averaged quantity and level.
        training_iou: mean IoU with the training grids, the selection criterion.
    """

    values: Float[Tensor, "R R R"]
    color: tuple[float, float, float]
    source: str
    training_iou: float

    def field(self) -> Field:
        """The grid, trilinearly interpolated."""
        color = torch.tensor(self.color)

        def query(points: Tensor) -> tuple[Tensor, Tensor]:
            where = points.flip(-1).view(1, 1, 1, -1, 3) / GRID_HALF_EXTENT
            sampled = functional.grid_sample(self.values[None, None], where, padding_mode="border", align_corners=False)
            return sampled.flatten(), color.expand(len(points), 3)

        return Field(query)

    def mesh(self, resolution: int) -> Mesh:
        return extract(self.field(), resolution)[0]


def fit_mean_shape(dataset: ShardedDataset, entries: Sequence[ObjectEntry]) -> MeanShape:
    """Average occupancy and signed distance over training objects; keep the average and level with the largest IoU.

    The level is chosen on the training set alone.

    Raises:
        DataError: no training object.
    """
    _need_some(entries, "the mean shape")
    occupancy, sdf = np.zeros((32, 32, 32)), np.zeros((32, 32, 32))
    color = np.zeros(3)
    judged = {entries[index].id for index in spread(MAX_LEVEL_OBJECTS, len(entries))}
    grids = []
    for entry in entries:
        record = load_object(dataset, entry.id, ("occupancy32", "sdf32", "mesh_colors"))
        inside = record.occupancy32 > 0.5
        occupancy += inside
        sdf += record.sdf32
        color += record.array("mesh_colors").mean(axis=0)
        if entry.id in judged:
            grids.append(np.packbits(inside))
    packed = np.stack(grids)
    candidates = {
        f"mean occupancy above {level:.2f}": level - occupancy / len(entries) for level in np.arange(1, 20) / 20
    }
    mean_sdf = sdf / len(entries)
    candidates |= {f"mean signed distance below {level:+.3f}": mean_sdf - level for level in np.arange(-12, 13) / 200}
    scores = {name: float(packed_iou(np.packbits(grid < 0), packed).mean()) for name, grid in candidates.items()}
    best = max(scores, key=lambda name: scores[name])
    red, green, blue = (color / len(entries)).tolist()
    return MeanShape(torch.from_numpy(candidates[best]).float(), (red, green, blue), best, scores[best])


class Retrieval:
    """Finds training objects by image, or by overlap with the truth.

    An image is described by its RGB on white and coverage, averaged to 16x16; the distance is the mean square.
    """

    def __init__(self, dataset: ShardedDataset, entries: Sequence[ObjectEntry]) -> None:
        _need_some(entries, "retrieval")
        per_object = max(1, MAX_PICTURES // len(entries))
        owners, descriptors, grids = [], [], []
        for index, entry in enumerate(entries):
            grids.append(np.packbits(load_object(dataset, entry.id, ("occupancy32",)).occupancy32 > 0.5))
            for view in spread(min(per_object, entry.num_views), entry.num_views):
                picture, mask = composited(load_view(dataset, entry.id, view).rgba, DESCRIPTOR_PX)
                descriptors.append(np.concatenate([picture, mask]).ravel())
                owners.append(index)
        self._ids = [entry.id for entry in entries]
        self._owners, self._descriptors = np.array(owners), np.stack(descriptors)
        self._grids = np.stack(grids)

    def nearest(self, image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> str:
        """The training object with the most similar view; ties go to the first."""
        small = functional.adaptive_avg_pool2d(torch.cat([image, mask]).float().cpu(), DESCRIPTOR_PX)
        squares = np.square(self._descriptors - small.numpy().ravel()).mean(axis=1)
        return self._ids[int(self._owners[int(squares.argmin())])]

    def closest(self, occupancy32: Bool[np.ndarray, "R R R"]) -> str:
        """The training object whose 32^3 grid overlaps the true one most (the oracle)."""
        return self._ids[int(packed_iou(np.packbits(occupancy32), self._grids).argmax())]


def packed_iou(grid: UInt8[np.ndarray, "P"], grids: UInt8[np.ndarray, "N P"]) -> Float[np.ndarray, "N"]:
    """IoU of one bit-packed grid with many; 1 for two empty ones."""
    union = np.bitwise_count(grids | grid).sum(axis=1, dtype=np.int64)
    both = np.bitwise_count(grids & grid).sum(axis=1, dtype=np.int64)
    return np.where(union == 0, 1.0, both / np.maximum(union, 1))


def _need_some(entries: Sequence[ObjectEntry], what: str) -> None:
    if not entries:
        raise DataError(f"{what} needs training objects, but there are none", "set evaluation.baselines=false")
