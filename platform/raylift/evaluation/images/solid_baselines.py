"""Unlearned solids for image collections with known shapes, with parameters chosen on training objects.

* ``sphere``: centred, of the radius that overlaps training objects most;
* ``mean_voxels``: voxels that enough training objects fill;
* ``known_pose``: the same within the silhouette, seen by the *true* camera of the scored image.

Levels are chosen by leave-one-out. All use true shapes of the training split, and ``known_pose`` also a camera: a model
that learns from images alone has neither, so they are floors that it can miss and, for ``known_pose``, what it could
reach if it knew its pose. ``retrieval`` of ``images.baselines`` uses true shapes too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.types import CropRequest, Field, Mesh
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.images.alignment import ALL, LEAST_IN_CATEGORY
from raylift.evaluation.images.target import ImageTarget, load_image_truth
from raylift.evaluation.images.true_solids import Solid32, TrueSolids
from raylift.evaluation.shapes.target import spread
from raylift.evaluation.shapes.visible_evidence import VisibleEvidence
from raylift.geometry.icosphere import icosphere
from raylift.geometry.iso_surface import extract
from raylift.geometry.voxels import cell_indices, grid_points
from raylift.metrics.iou import iou
from raylift.metrics.scores import mean_of
from raylift.metrics.shape_pair import SOLID_RESOLUTION

SPHERE, MEAN_VOXELS, KNOWN_POSE = "sphere", "mean_voxels", "known_pose"
TRUTH_OF: Mapping[str, str] = {
    SPHERE: "true training shapes (one radius)",
    MEAN_VOXELS: "true training shapes",
    "retrieval": "true training shapes",
    KNOWN_POSE: "true training shapes and the true camera of the scored image",
}
"""What each baseline uses that a model of images alone does not have."""

RADII = tuple(round(0.02 * step, 2) for step in range(2, 44))
LEVELS = tuple(round(0.02 * step + 0.0013, 4) for step in range(45))
"""Fractions of training objects; none is a fraction of small numbers, so no voxel is exactly on a level."""
MAX_IMAGES = 600
"""Maximum number of training images, evenly spread, whose objects are used."""
MAX_CARVED = 100
CARVED_PX = 64


@dataclass(frozen=True)
class _Category:
    """What is chosen for one category, or for all together.

    Attributes:
        radius, level, carved_level: chosen on training objects.
        mean: fraction of training objects that fill each voxel.
    """

    radius: float
    mean: Float[np.ndarray, "C"]
    level: float
    carved_level: float


class SolidBaselines:
    """The three baselines of one image collection.

    Args:
        entries: entries of the images that the model was trained on.
        crop: crop request of the model.
        solids: true solids of the collection.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        entries: Sequence[ObjectEntry],
        crop: CropRequest | None,
        solids: TrueSolids,
    ) -> None:
        self._dataset, self._crop, self._solids = dataset, crop, solids
        by_category: dict[str, dict[tuple[str, str], str]] = {}
        for entry in (entries[index] for index in spread(MAX_IMAGES, len(entries))):
            known = solids.shape(entry.id)
            if known is not None:
                by_category.setdefault(entry.category, {}).setdefault((known.shapes.uri, known.object_id), entry.id)
        everything = [image for images in by_category.values() for image in images.values()]
        groups = {name: list(own.values()) for name, own in by_category.items() if len(own) >= LEAST_IN_CATEGORY}
        self._chosen = {name: self._choose(own) for name, own in ({ALL: everything} | groups).items() if own}

    @property
    def note(self) -> str:
        """Note for the report on the truth that baselines use; empty without known shapes."""
        if not self._chosen:
            return ""
        return "solid32 baselines use truth that a model of images alone does not have: " + "; ".join(
            f"{name}: {what}" for name, what in TRUTH_OF.items()
        )

    def constant(self, category: str) -> dict[str, Mesh]:
        """The answers that are the same for all images of a category; empty without known shapes."""
        chosen = self._of(category)
        if chosen is None:
            return {}
        vertices, faces = icosphere(4)
        sphere = Mesh(torch.from_numpy(chosen.radius * vertices).float(), torch.from_numpy(faces))
        return {SPHERE: sphere, MEAN_VOXELS: mesh_of_voxels(chosen.mean, chosen.level)}

    def known_pose(self, category: str, target: ImageTarget) -> Mesh | None:
        """The mean carved by an image's silhouette, seen by its true camera; None if either is unknown."""
        chosen = self._of(category)
        if chosen is None or target.camera is None:
            return None
        return mesh_of_voxels(np.where(_seen(target), chosen.mean, 0.0), chosen.carved_level)

    def _of(self, category: str) -> _Category | None:
        return self._chosen.get(category, self._chosen.get(ALL))

    def _choose(self, images: Sequence[str]) -> _Category:
        """Choose radius and levels on these images, one per object."""
        solids = [self._solid(image) for image in images]
        mean = np.mean(solids, axis=0)
        distances = np.linalg.norm(grid_points(SOLID_RESOLUTION, 0.5), axis=1)
        spheres = [mean_of([iou(distances < radius, solid) for solid in solids]) for radius in RADII]
        plain, carved = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
        used = set(spread(MAX_CARVED, len(images)))
        for index, (image, solid) in enumerate(zip(images, solids, strict=True)):
            if index not in used:
                continue
            others = mean if len(images) == 1 else (mean * len(images) - solid) / (len(images) - 1)
            target = load_image_truth(self._dataset, image, self._crop, CARVED_PX)
            seen = np.ones_like(solid) if target.camera is None else _seen(target)
            above = [others > level for level in LEVELS]
            plain += [iou(inside, solid) for inside in above]
            carved += [iou(inside & seen, solid) for inside in above]
        return _Category(
            RADII[int(np.argmax(spheres))], mean, LEVELS[int(plain.argmax())], LEVELS[int(carved.argmax())]
        )

    def _solid(self, image: str) -> Solid32:
        solid = self._solids.of(image)
        assert solid is not None
        return solid


def mesh_of_voxels(values: Float[np.ndarray, "C"], level: float) -> Mesh:
    """The surface around the voxels of the unit cube above a level; their centres are inside, all others outside.

    Args:
        values: values of the 32^3 voxels, flat in [x, y, z] order.
    """
    below = torch.from_numpy(level - values).float()

    def query(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
        return below[torch.from_numpy(cell_indices(points.numpy(), SOLID_RESOLUTION, 0.5)[0])]

    field = Field(lambda points: (query(points), torch.full_like(points, 0.5)), half_extent=0.5, values=query)
    return extract(field, SOLID_RESOLUTION, coarse=0)[0]


def _seen(target: ImageTarget) -> Bool[np.ndarray, "C"]:
    """Voxels whose centres project into the silhouette."""
    assert target.camera is not None
    mask = torch.from_numpy(target.image.coverage).float()[None]
    evidence = VisibleEvidence(mask.expand(3, -1, -1), mask, None, target.camera)
    inside: np.ndarray = (evidence.outside_silhouette(torch.from_numpy(grid_points(SOLID_RESOLUTION, 0.5))) < 0).numpy()
    return inside
