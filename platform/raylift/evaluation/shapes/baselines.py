"""Unlearned baselines for models of shapes; which ones apply depends on the model's conditioning.

Every model: ``mean_shape``, ``retrieval``, ``oracle_retrieval`` (the only one that sees the truth), ``carved_mean`` and
``carved_neighbours``, and the colours ``mean_visible_color`` and ``projected_pixel_color``. Conditioned on depth:
``depth_carved_mean``, ``depth_carved_neighbours`` and ``nearest_visible_color``. Conditioned on the true grid:
``input_interpolated``. A baseline sees the model's input, at the model's image size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float

from raylift.core.types import Batch, Field, Mesh
from raylift.data.shapes.record import load_object
from raylift.data.shapes.schema import TRUNCATION
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.meshes import Solid
from raylift.evaluation.shapes.carving import CarvingRule, choose_rule, told_grid_field
from raylift.evaluation.shapes.retrieval import Retrieval, fit_mean_shape
from raylift.evaluation.shapes.surface_color import ColorsOf
from raylift.evaluation.shapes.target import ShapeTarget
from raylift.evaluation.shapes.training_shapes import TrainingShapes
from raylift.evaluation.shapes.visible_evidence import Told, VisibleEvidence

BASELINE_RESOLUTION = 96
"""Maximum samples per edge for extracting baselines: they are made from grids of 32."""


class ShapeBaselines:
    """All baselines of one evaluation; their training data is read on first use.

    Args:
        entries: entries of the objects that the model was trained on.
        told: conditioning of the model.
        resolution: resolution of the evaluation.

    Raises:
        DataError: no training object.
    """

    def __init__(self, dataset: ShardedDataset, entries: Sequence[ObjectEntry], told: Told, resolution: int) -> None:
        self._dataset, self._entries, self._told = dataset, entries, told
        self._resolution = min(resolution, BASELINE_RESOLUTION)

    @cached_property
    def _shapes(self) -> TrainingShapes:
        return TrainingShapes(self._dataset, self._entries)

    @cached_property
    def _retrieval(self) -> Retrieval:
        return Retrieval(self._dataset, self._entries)

    @cached_property
    def _mean(self) -> tuple[Mesh, str]:
        shape = fit_mean_shape(self._dataset, self._entries)
        note = f"mean_shape: {shape.source}, IoU {shape.training_iou:.3f} with the training grids"
        return shape.mesh(self._resolution), note

    @cached_property
    def _rules(self) -> Mapping[str, CarvingRule]:
        size = self._told.image_px
        rules = {
            "carved_mean": choose_rule(self._shapes, self._carved_mean, size, with_depth=False),
            "carved_neighbours": choose_rule(self._shapes, self._carved_neighbours, size, with_depth=False),
        }
        if self._told.depth:
            rules |= {
                "depth_carved_mean": choose_rule(self._shapes, self._carved_mean, size, with_depth=True),
                "depth_carved_neighbours": choose_rule(self._shapes, self._carved_neighbours, size, with_depth=True),
            }
        return rules

    def _carved_mean(self, seen: VisibleEvidence, without: int | None) -> Float[np.ndarray, "C"]:
        return self._shapes.mean(without)

    def _carved_neighbours(self, seen: VisibleEvidence, without: int | None) -> Float[np.ndarray, "C"]:
        return self._shapes.neighbours(seen.mask, without)

    def notes(self) -> list[str]:
        """The threshold of each baseline, and its leave-one-out score on training objects."""
        found = [self._mean[1]]
        for name, rule in self._rules.items():
            more = (
                f", a layer of {rule.layer:g}, free space {'' if rule.mirrored else 'not '}mirrored"
                if (name.startswith("depth"))
                else ""
            )
            found.append(
                f"{name}: average occupancy above {rule.level:g}{more}, IoU {rule.training_iou:.3f} with the grids of"
                " training objects left out in turn"
            )
        return found

    def of_object(self, held_out: ShapeTarget, picture: Batch) -> dict[str, str | None]:
        """The training object whose mesh each of these baselines returns; None is the mean shape."""
        return {
            "mean_shape": None,
            "retrieval": self._retrieval.nearest(picture["image"][0], picture["mask"][0]),
            "oracle_retrieval": self._retrieval.closest(held_out.occupancy32),
        }

    def mesh(self, training_id: str | None) -> Mesh:
        """The mesh of a value of ``of_object``."""
        if training_id is None:
            return self._mean[0]
        return load_object(self._dataset, training_id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh

    def fields(self, picture: Batch) -> dict[str, Field]:
        """Baseline shapes computed from the sample itself."""
        told = self._told
        found: dict[str, Field] = {}
        if told.grid:
            without = VisibleEvidence.of(picture, with_depth=False)
            found["input_interpolated"] = told_grid_field(picture["voxels"][0].cpu(), told.grid, TRUNCATION, without)
        for name, rule in self._rules.items():
            seen = VisibleEvidence.of(picture, with_depth=name.startswith("depth"))
            if seen is not None:
                average = self._carved_neighbours if name.endswith("neighbours") else self._carved_mean
                found[name] = rule.field(average(seen, None), seen)
        return found

    def colors(self, picture: Batch) -> dict[str, ColorsOf]:
        """Baseline colours without a shape."""
        seen = VisibleEvidence.of(picture, with_depth=self._told.depth)
        if seen is None:
            return {}
        mean = seen.mean_color
        found: dict[str, ColorsOf] = {"mean_visible_color": lambda points: mean.expand(len(points), 3)}
        found["projected_pixel_color"] = seen.pixel_colors
        if self._told.depth:
            found["nearest_visible_color"] = seen.nearest_colors
        return found

    def solid(self, shape: Mesh | Field) -> Solid:
        """A baseline shape, ready to be measured."""
        return Solid(shape, self._resolution)
