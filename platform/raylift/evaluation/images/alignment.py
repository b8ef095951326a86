"""From a model's own world into the true one: fitted to its predictions on training images, then frozen.

What a model of image collections calls the front, and how large its shapes are, is its own choice. An alignment that is
fitted to the images that are scored flatters: one free rotation over eight images is half of a constant camera's score.
So it is fitted to the training split alone, a category at a time, and held-out images are scored by it as it is.
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
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.shapes.target import spread
from raylift.metrics.pose_alignment import PoseAlignment, fit_pose_alignment

MAX_IMAGES = 300
"""Training images that an alignment is fitted to, at most, evenly over all."""
LEAST_IN_CATEGORY = 8
"""A category with fewer of them is aligned as all images together are."""
FIELD_RESOLUTION = 32
ALL = ""

Rotation = Float[Tensor, "3 3"]


@dataclass(frozen=True)
class TrainingView:
    """What a model makes of one training image.

    Attributes:
        category: of the image.
        predicted: rotation of the model's camera, float64.
        truth: of the true one; None where it is not known.
        vertices: of the shape, in the model's world.
    """

    category: str
    predicted: Rotation
    truth: Rotation | None
    vertices: Float[Tensor, "V 3"]


@dataclass(frozen=True)
class WorldAlignment:
    """Of one category: the turn of its cameras, and where its shapes lie in the true world.

    Attributes:
        pose: see ``metrics.pose_alignment``.
        scale, offset: a vertex v of the model becomes ``scale * v @ pose.rotation + offset``: medians over the training
            images of what gives each shape the box that true shapes have, centred and with a longest edge of 1.
    """

    pose: PoseAlignment
    scale: float
    offset: Float[Tensor, "3"]

    def place(self, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """A shape in the true world, float64."""
        return self.scale * vertices.detach().cpu().double() @ self.pose.rotation + self.offset


class WorldAlignments:
    """The alignments of all categories.

    Args:
        views: of training images, those without a true camera left out here.
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
        """A category's, or that of all images; None where no training image has a known camera."""
        return self.by_category.get(category, self.by_category.get(ALL))

    @property
    def note(self) -> str:
        """What a reader must know of how cameras and shapes were aligned."""
        if not self.by_category:
            return "pose: no training image has a known camera, so nothing is aligned and rotation_deg is all there is"
        parts = [
            f"{name or 'all'}: one {fit.pose.kind}, {100 * fit.pose.share_within:.0f} % of {fit.pose.num_images}"
            " training images within 30 degrees"
            for name, fit in self.by_category.items()
        ]
        return f"pose: aligned on the training split and frozen ({'; '.join(parts)}); rotation_deg is without"


def predict_training_views(
    model: ReconstructionModel,
    dataset: ShardedDataset,
    request: SampleRequest,
    data: DataConfig,
    seed: int = 0,
    max_images: int = MAX_IMAGES,
) -> list[TrainingView]:
    """The model's answers to training images, in the order of the images; each rank does a share, all get all.

    Args:
        model: in eval mode.
        request: what its samples carry.
        max_images: at most, evenly over the training split.
    """
    entries = chosen_entries(dataset, "train", data)
    chosen = [entries[index] for index in spread(max_images, len(entries))]
    categories = {entry.id: entry.category for entry in chosen}
    rank, world = collectives.rank(), collectives.world_size()
    device = next(model.parameters()).device
    own: dict[str, TrainingView] = {}
    with torch.no_grad():
        for batch in evaluation_batches(dataset, request, "train", data, seed, rank, world, entries=chosen):
            for found in model.reconstruct(batch.to(device)):
                name = found.id.rpartition("#")[0]
                camera = load_image(dataset, name).camera
                own[name] = TrainingView(
                    categories[name],
                    found.camera.rotation[0].detach().cpu().double(),
                    None if camera is None else camera.rotation[0].double(),
                    mesh_of(found, FIELD_RESOLUTION).vertices.detach().cpu().double(),
                )
    everyone = {name: view for share in collectives.gather_objects(own) for name, view in share.items()}
    return [everyone[entry.id] for entry in chosen]


def training_rotations(
    dataset: ShardedDataset, entries: Sequence[ObjectEntry], max_images: int
) -> dict[str, dict[str, Rotation]]:
    """True rotations of training images by category and image, where they are known; at most so many, evenly."""
    found: dict[str, dict[str, Rotation]] = {}
    for entry in (entries[index] for index in spread(max_images, len(entries))):
        camera = load_image(dataset, entry.id).camera
        if camera is not None:
            found.setdefault(entry.category, {})[entry.id] = camera.rotation[0].double()
    return found


def _fit(views: Sequence[TrainingView]) -> WorldAlignment:
    truths = torch.stack([view.truth for view in views if view.truth is not None])
    pose = fit_pose_alignment(torch.stack([view.predicted for view in views]), truths)
    boxes = []
    for view in views:
        if len(view.vertices):
            turned = view.vertices @ pose.rotation
            low, high = turned.amin(dim=0), turned.amax(dim=0)
            boxes.append(torch.cat([(high - low).amax()[None], (low + high) / 2]))
    if not boxes:
        return WorldAlignment(pose, 1.0, torch.zeros(3, dtype=torch.float64))
    edge, *center = torch.stack(boxes).median(dim=0).values.unbind()
    scale = 1 / max(float(edge), 1e-6)
    return WorldAlignment(pose, scale, -scale * torch.stack(center))
