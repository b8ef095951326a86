"""Alignment of a model's world with the true one: fitted to its predictions on training images, then frozen.

A model of image collections chooses its own front and scale. An alignment fitted to the scored images inflates scores:
one free rotation over eight images is worth half of a constant camera's score. So it is fitted to the training split
alone, per category, and applied unchanged to held-out images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.config.data import DataConfig
from raylift.core import collectives
from raylift.core.model import ReconstructionModel
from raylift.core.types import SampleRequest
from raylift.data.feed.stream import chosen_entries, evaluation_batches
from raylift.data.images.record import load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.meshes import mesh_of, shape_of
from raylift.evaluation.shapes.target import spread
from raylift.metrics.box_volume import BoxVolume
from raylift.metrics.pose_alignment import PoseAlignment, fit_pose_alignment

MAX_IMAGES = 300
"""Maximum number of training images for fitting an alignment, evenly spread."""
LEAST_IN_CATEGORY = 8
"""Number of images below which a category uses the alignment of all images together."""
FIELD_RESOLUTION = 32
ALL = ""

Rotation = Float[Tensor, "3 3"]


@dataclass(frozen=True)
class TrainingView:
    """A model's prediction for one training image.

    Attributes:
        category: category of the image.
        predicted: rotation of the predicted camera, float64.
        truth: rotation of the true camera; None if unknown.
        vertices: vertices of the shape, in the model's world.
        image_id: name of the image.
        volume: inside of the shape, in the model's world; None if not requested.
    """

    category: str
    predicted: Rotation
    truth: Rotation | None
    vertices: Float[Tensor, "V 3"]
    image_id: str = ""
    volume: BoxVolume | None = None


@dataclass(frozen=True)
class WorldAlignment:
    """The alignment of one category: rotation of its cameras, and placement of its shapes in the true world.

    Attributes:
        pose: pose alignment, see ``metrics.pose_alignment``.
        scale, offset: placement: a vertex v of the model becomes ``scale * v @ pose.rotation + offset``. From medians
            over the training images, so that bounding boxes match those of true shapes: centred, longest edge 1.
    """

    pose: PoseAlignment
    scale: float
    offset: Float[Tensor, "3"]

    def place(self, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """Place a shape in the true world, float64."""
        return self.scale * vertices.detach().cpu().double() @ self.pose.rotation + self.offset


class WorldAlignments:
    """The alignments of all categories.

    Args:
        views: predictions for training images; those without a true camera are ignored.
    """

    def __init__(self, views: Iterable[TrainingView]) -> None:
        known = [view for view in views if view.truth is not None]
        by_category: dict[str, list[TrainingView]] = {ALL: known} if known else {}
        for category in sorted({view.category for view in known}):
            own = [view for view in known if view.category == category]
            if len(own) >= LEAST_IN_CATEGORY:
                by_category[category] = own
        self.by_category: Mapping[str, WorldAlignment] = {name: _fit(own) for name, own in by_category.items()}

    def of(self, category: str) -> WorldAlignment | None:
        """A category's alignment, or that of all images; None if no training image has a known camera."""
        return self.by_category.get(category, self.by_category.get(ALL))

    @property
    def note(self) -> str:
        """Note for the report on how cameras and shapes were aligned."""
        if not self.by_category:
            return "pose: no training image has a known camera, so nothing is aligned and only rotation_deg is reported"
        parts = [
            f"{name or 'all'}: one {fit.pose.kind}, {100 * fit.pose.fraction_within:.0f} % of {fit.pose.num_images}"
            " training images within 30 degrees"
            for name, fit in self.by_category.items()
        ]
        return f"pose: aligned on the training split and frozen ({'; '.join(parts)}); rotation_deg is unaligned"


def predict_training_views(
    model: ReconstructionModel,
    dataset: ShardedDataset,
    request: SampleRequest,
    data: DataConfig,
    seed: int = 0,
    max_images: int = MAX_IMAGES,
    max_volumes: int = 0,
) -> list[TrainingView]:
    """The model's predictions for training images, in image order; each rank does a share, all ranks get all.

    Args:
        model: model in eval mode.
        request: request of the model's samples.
        max_images: maximum number of images, evenly spread over the training split.
        max_volumes: maximum number of them, evenly spread, whose shapes' insides are kept.
    """
    entries = chosen_entries(dataset, "train", data)
    chosen = [entries[index] for index in spread(max_images, len(entries))]
    categories = {entry.id: entry.category for entry in chosen}
    solid = {chosen[index].id for index in spread(max_volumes, len(chosen))}
    rank, world = collectives.rank(), collectives.world_size()
    device = next(model.parameters()).device
    own: dict[str, TrainingView] = {}
    with torch.no_grad():
        for batch in evaluation_batches(dataset, request, "train", data, seed, rank, world, entries=chosen):
            for found in model.reconstruct(batch.to(device)):
                name = found.id.rpartition("#")[0]
                camera = load_image(dataset, name).camera
                mesh = mesh_of(found, FIELD_RESOLUTION)
                own[name] = TrainingView(
                    categories[name],
                    found.camera.rotation[0].detach().cpu().double(),
                    None if camera is None else camera.rotation[0].double(),
                    mesh.vertices.detach().cpu().double(),
                    name,
                    BoxVolume.of(shape_of(mesh)) if name in solid else None,
                )
    everyone = {name: view for share in collectives.gather_objects(own) for name, view in share.items()}
    return [everyone[entry.id] for entry in chosen]


def training_rotations(
    dataset: ShardedDataset, entries: Sequence[ObjectEntry], max_images: int
) -> dict[str, dict[str, Rotation]]:
    """Known true rotations of at most ``max_images`` training images, evenly spread, by category and image."""
    found: dict[str, dict[str, Rotation]] = {}
    for entry in (entries[index] for index in spread(max_images, len(entries))):
        camera = load_image(dataset, entry.id).camera
        if camera is not None:
            found.setdefault(entry.category, {})[entry.id] = camera.rotation[0].double()
    return found


def _fit(views: Sequence[TrainingView]) -> WorldAlignment:
    truths = torch.stack([view.truth for view in views if view.truth is not None])
    pose = fit_pose_alignment(torch.stack([view.predicted for view in views]), truths)
    scale, center = median_box([view.vertices for view in views], pose.rotation)
    return WorldAlignment(pose, scale, -scale * center)


def median_box(shapes: Sequence[Float[Tensor, "V 3"]], turn: Float[Tensor, "3 3"]) -> tuple[float, Float[Tensor, "3"]]:
    """Scale that makes the median longest edge of turned shapes' boxes 1, and the median of their centres, float64.

    Args:
        shapes: vertices; shapes without any are ignored, and without shapes nothing is scaled or moved.
        turn: vertices v become ``v @ turn``.
    """
    boxes = []
    for vertices in shapes:
        if len(vertices):
            turned = vertices @ turn
            low, high = turned.amin(dim=0), turned.amax(dim=0)
            boxes.append(torch.cat([(high - low).amax()[None], (low + high) / 2]))
    if not boxes:
        return 1.0, torch.zeros(3, dtype=torch.float64)
    edge, *center = torch.stack(boxes).median(dim=0).values.unbind()
    return 1 / max(float(edge), 1e-6), torch.stack(center)
