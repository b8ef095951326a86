"""The protocol ``solid32`` of image collections with known shapes: one frozen alignment, and four baselines."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.core.types import CropRequest, Mesh
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.images.alignment import TrainingView, WorldAlignments
from raylift.evaluation.images.solid_alignment import SolidAlignments
from raylift.evaluation.images.solid_baselines import KNOWN_POSE, SolidBaselines
from raylift.evaluation.images.target import ImageTarget
from raylift.evaluation.images.true_solids import TrueSolids
from raylift.evaluation.meshes import shape_of
from raylift.evaluation.scorer import Values
from raylift.metrics.protocols import SHAPE_PROTOCOLS
from raylift.metrics.shape_pair import ShapePair, TargetShape


class SolidScorer:
    """Scores solids under the alignment of the training split, and the baselines, which need none.

    Args:
        shapes: location of the true shapes, if they have moved; "none" scores nothing.
    """

    def __init__(self, dataset: ShardedDataset, shapes: str) -> None:
        self._dataset = dataset
        self._solids = TrueSolids(dataset, shapes)
        self._alignments = SolidAlignments([], self._solids.of, WorldAlignments([]))
        self._baselines: SolidBaselines | None = None
        self._constant: dict[str, dict[str, Mesh]] = {}
        self._scored: tuple[tuple[str, str], dict[str, Values]] | None = None

    def align(self, views: Sequence[TrainingView], cameras: WorldAlignments) -> str:
        """Fit the alignment to predictions for training images; returns a note on it."""
        self._alignments = SolidAlignments(views, self._solids.of, cameras)
        return self._alignments.note

    def add_baselines(self, entries: Sequence[ObjectEntry], crop: CropRequest | None) -> str:
        """Choose the baselines' parameters on training images; returns a note on the truth they use, or ""."""
        self._baselines = SolidBaselines(self._dataset, entries, crop, self._solids)
        return self._baselines.note

    def score(self, category: str, mesh: Mesh, truth: TargetShape) -> Values:
        """Scores of a model's shape; none if nothing could be aligned."""
        alignment = self._alignments.of(category)
        return {} if alignment is None else score_solid(alignment.place(mesh), truth)

    def score_baselines(self, category: str, target: ImageTarget, truth: TargetShape) -> dict[str, Values]:
        """Scores of ``sphere``, ``mean_voxels`` and ``known_pose``; of the first two once per object."""
        if self._baselines is None:
            return {}
        key = category, truth.id
        if self._scored is None or self._scored[0] != key:
            if category not in self._constant:
                self._constant[category] = self._baselines.constant(category)
            meshes = self._constant[category]
            self._scored = key, {name: score_solid(mesh, truth) for name, mesh in meshes.items()}
        rows = {name: dict(values) for name, values in self._scored[1].items()}
        carved = self._baselines.known_pose(category, target)
        return rows if carved is None else rows | {KNOWN_POSE: score_solid(carved, truth)}


def score_solid(mesh: Mesh, truth: TargetShape) -> Values:
    """``solid32`` of a shape in the true world."""
    scores = SHAPE_PROTOCOLS["solid32"].score(ShapePair(shape_of(mesh), truth))
    return {f"solid32/{name}": value for name, value in scores.items()}
