"""Training objects for unlearned baselines: their grids, and the silhouettes of their views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.data.feed.resizing import composited, nearest_resized
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.shapes.target import spread
from raylift.evaluation.shapes.visible_evidence import VisibleEvidence

SILHOUETTE_PX = 32
MAX_PICTURES = 6000
"""Maximum number of training silhouettes; above it, each object's views are thinned out evenly."""
NUM_NEIGHBOURS = 5


class TrainingShapes:
    """Grids and silhouettes of training objects.

    Args:
        entries: entries of the objects that the model was trained on.

    Attributes:
        mean_color: mean RGB of their surfaces.

    Raises:
        DataError: no training objects.
    """

    def __init__(self, dataset: ShardedDataset, entries: Sequence[ObjectEntry]) -> None:
        if not entries:
            raise DataError("baselines need training objects, but there are none", "set evaluation.baselines=false")
        self.entries = tuple(entries)
        self._dataset = dataset
        self._bodies = np.array([entry.group or entry.id for entry in entries])
        grids, silhouettes, owners, colors = [], [], [], []
        per_object = max(1, MAX_PICTURES // len(entries))
        for index, entry in enumerate(entries):
            record = load_object(dataset, entry.id, ("occupancy32", "mesh_colors"))
            grids.append(np.packbits(record.occupancy32 > 0.5))
            colors.append(record.array("mesh_colors").mean(axis=0))
            for view in spread(min(per_object, entry.num_views), entry.num_views):
                silhouettes.append(composited(load_view(dataset, entry.id, view).rgba, SILHOUETTE_PX)[1].ravel())
                owners.append(index)
        self._grids = np.stack(grids)
        self._total = np.zeros(self._grids.shape[1] * 8)
        for index in range(len(self)):
            self._total += self.inside(index)
        self._silhouettes, self._owners = np.stack(silhouettes), np.array(owners)
        self.mean_color: Float[Tensor, "3"] = torch.from_numpy(np.mean(colors, axis=0)).float()

    def __len__(self) -> int:
        return len(self.entries)

    def inside(self, index: int) -> Bool[np.ndarray, "C"]:
        """Which cells of its 32^3 grid are inside an object, flat in [x, y, z] order."""
        return np.unpackbits(self._grids[index]).astype(bool)

    def mean(self, without: int | None = None) -> Float[np.ndarray, "C"]:
        """The fraction of objects that contain each cell; ``without`` leaves out the objects with the same body."""
        own = [] if without is None else np.flatnonzero(~self._others(without)).tolist()
        total = self._total - sum((self.inside(index).astype(np.float64) for index in own), np.zeros_like(self._total))
        return total / max(1, len(self) - len(own))

    def neighbours(self, mask: Float[Tensor, "1 H W"], without: int | None = None) -> Float[np.ndarray, "C"]:
        """The same over the five objects with the most similar silhouettes (mean square over 32 x 32 pixels)."""
        small = functional.adaptive_avg_pool2d(mask, SILHOUETTE_PX).numpy().ravel()
        distances = np.full(len(self), np.inf)
        np.minimum.at(distances, self._owners, np.square(self._silhouettes - small).mean(axis=1))
        distances[~self._others(without)] = np.inf
        order = np.argsort(distances, kind="stable")[:NUM_NEIGHBOURS]
        return self._average(order[np.isfinite(distances[order])])

    def evidence(self, index: int, view: int, image_px: int, with_depth: bool) -> VisibleEvidence:
        """A training view as a model would have seen it."""
        record = load_view(self._dataset, self.entries[index].id, view)
        picture, mask = composited(record.rgba, image_px)
        depth = torch.from_numpy(nearest_resized(record.depth, image_px))[None] if with_depth else None
        camera: Camera = record.camera
        return VisibleEvidence(torch.from_numpy(picture), torch.from_numpy(mask), depth, camera)

    def _others(self, without: int | None) -> Bool[np.ndarray, "N"]:
        if without is None:
            return np.ones(len(self), bool)
        others: np.ndarray = self._bodies != self._bodies[without]
        return others

    def _average(self, which: np.ndarray) -> Float[np.ndarray, "C"]:
        total = np.zeros_like(self._total)
        for index in which:
            total += self.inside(int(index))
        return total / max(1, len(which))
