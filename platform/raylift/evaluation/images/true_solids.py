"""The true solids of the objects that images show, computed once per object."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from raylift.data.images.record import ShapeRef, load_image, true_shape
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.images.target import NO_SHAPES
from raylift.evaluation.meshes import shape_of

Solid32 = Bool[np.ndarray, "C"]
"""Voxels of the unit cube, see ``metrics.comparison.Shape.solid``."""


class TrueSolids:
    """Solids of one image collection's objects.

    Args:
        shapes: location of the true shapes, if they have moved; "none" knows no solid.
    """

    def __init__(self, dataset: ShardedDataset, shapes: str) -> None:
        self._dataset, self._shapes = dataset, shapes
        self._packed: dict[tuple[str, str], UInt8[np.ndarray, "P"]] = {}
        self._known: dict[str, ShapeRef | None] = {}

    def shape(self, image_id: str) -> ShapeRef | None:
        """The true shape of an image; None if unknown.

        Raises:
            DataError: it should exist, but is missing.
        """
        if image_id not in self._known:
            has_truth = self._shapes != NO_SHAPES and bool(load_image(self._dataset, image_id).truth)
            self._known[image_id] = true_shape(self._dataset, image_id, self._shapes) if has_truth else None
        return self._known[image_id]

    def of(self, image_id: str) -> Solid32 | None:
        """The true solid of an image's object; None if unknown."""
        known = self.shape(image_id)
        if known is None:
            return None
        key = known.shapes.uri, known.object_id
        if key not in self._packed:
            mesh = load_object(known.shapes, known.object_id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh
            self._packed[key] = np.packbits(shape_of(mesh).solid)
        return np.unpackbits(self._packed[key]).astype(bool)
