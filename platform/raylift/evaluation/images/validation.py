"""Quick validation on an image collection: silhouettes, and whether the shapes behind them are 3D."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.errors import DataError, StorageError
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.feed.resizing import composited
from raylift.data.feed.stream import chosen_entries
from raylift.data.images.record import load_image, true_shape
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import (
    COLLAPSED_CAMERAS,
    FLAT_SHAPES,
    FLOATERS,
    collapsed_cameras,
    flat_shapes,
    floaters,
)
from raylift.evaluation.color import render_masked
from raylift.evaluation.images.alignment import Rotation, WorldAlignments, predict_training_views, training_rotations
from raylift.evaluation.images.poses import CONSTANT_CAMERA, constant_camera_scores, pose_scores
from raylift.evaluation.images.sanity import depth_extent, depth_ratio, largest_component
from raylift.evaluation.images.solid_alignment import SolidAlignments
from raylift.evaluation.images.target import NO_SHAPES, load_image_truth, unseen_views
from raylift.evaluation.images.true_solids import TrueSolids
from raylift.evaluation.meshes import mesh_of, shape_of
from raylift.evaluation.samples import eval_mode
from raylift.evaluation.validation import (
    QUICK_RESOLUTION,
    Validation,
    model_statistics,
    picture_score,
    sample_scores,
    summarise,
)
from raylift.geometry.placement import place_in_view
from raylift.metrics.iou import iou
from raylift.metrics.pose import azimuths_deg, circular_std_deg
from raylift.metrics.scores import mean_of
from raylift.metrics.silhouette import mask_hard

logger = logging.getLogger(__name__)

NUM_TRAINING_IMAGES = 48
"""Number of training images whose cameras are predicted in each validation."""
NUM_VOLUMES = 24
"""Number of them that align solids."""
NUM_UNSEEN_VIEWS, UNSEEN_PX = 3, 48
SCORES = (
    "mask_iou",
    "ssim",
    "thickness",
    "largest_component",
    "unseen_iou",
    "canonical_iou",
    "solid_iou",
    "depth_ratio",
)
"""Scores per sample, with mean and median over those that have them."""
TRUTH_PX = 32


class ImageValidation(Validation):
    """Silhouette IoU and SSIM from the model's own cameras, and scores that a model without 3D fails.

    * ``azimuth_spread_deg``: circular standard deviation of predicted azimuths, over the validation images and
      ``NUM_TRAINING_IMAGES`` training images;
    * ``within_30`` if cameras are known: after an alignment fitted to those training images, with the baseline
      ``constant_camera/within_30``, the best single camera;
    * ``unseen_iou`` if shapes are known: silhouettes in other views than the input's, the shape placed in the
      input's view; ``canonical_iou``: the same, placed by the alignment;
    * ``solid_iou`` if shapes are known: IoU of ``solid32``, after one yaw, mirror and scale fitted to ``NUM_VOLUMES``
      of the training images;
    * ``depth_ratio`` if shapes are known, and ``largest_component``: see ``images.sanity``.

    Args:
        wanted: request of the model's training samples.
        config: evaluation settings, with the location of true shapes.
    """

    def __init__(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> None:
        self.request = replace(wanted, num_points=0, supervised_camera=False)
        self._dataset, self._data, self._seed = dataset, data, seed
        self._shapes = config.true_shapes
        self._cameras: dict[str, Camera | None] = {}
        known = training_rotations(dataset, chosen_entries(dataset, "train", data), NUM_TRAINING_IMAGES)
        self._rotations = known
        everything = [one for rotations in known.values() for one in rotations.values()]
        self._true_spread = circular_std_deg(azimuths_deg(torch.stack(everything))) if everything else None
        self._has_shapes = self._shapes != NO_SHAPES and self._can_open_shapes()
        self._solids = TrueSolids(dataset, self._shapes if self._has_shapes else NO_SHAPES)
        self._true_depths: dict[str, float] = {}

    def scores(self, model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        with eval_mode(model):
            volumes = NUM_VOLUMES if self._has_shapes else 0
            views = predict_training_views(
                model, self._dataset, self.request, self._data, self._seed, NUM_TRAINING_IMAGES, volumes
            )
        alignments = WorldAlignments(views)
        solids = SolidAlignments(views, self._solids.of, alignments)
        rotations: dict[str, Rotation] = {}

        def score(batch: Batch, found: list[Reconstruction]) -> list[dict[str, float]]:
            images, masks = batch["image"].float().cpu().numpy(), batch["mask"].float().cpu().numpy()
            rows = []
            for one, image, mask in zip(found, images, masks, strict=True):
                rotations[one.id] = one.camera.rotation[0].detach().cpu().double()
                mesh = mesh_of(one, QUICK_RESOLUTION)
                one = replace(one, shape=mesh, camera=one.camera.to("cpu"))
                row = picture_score(one, image, mask) | {"largest_component": largest_component(mesh)}
                rows.append(row | self._shape_scores(one.id, mesh, one.camera, alignments, solids))
            return rows

        with torch.no_grad():
            everyone = sample_scores(model, batches, score)
        measured = [name for name in SCORES if any(name in row for row in everyone.values())]
        found = summarise(everyone, prefix, measured or ["mask_iou"])
        predicted = {name: turn for share in collectives.gather_objects(rotations) for name, turn in share.items()}
        found |= self._camera_scores(predicted, alignments, prefix)
        ours = [predicted[name] for name in sorted(predicted)]
        seen = torch.stack([*ours, *(view.predicted for view in views)])
        found[f"{prefix}/azimuth_spread_deg"] = circular_std_deg(azimuths_deg(seen))
        return found | model_statistics(everyone, found, prefix) | self._alarms(found, everyone, prefix)

    def _alarms(
        self, found: dict[str, float], everyone: Mapping[str, Mapping[str, float]], prefix: str
    ) -> dict[str, float]:
        def median(name: str) -> float:
            return found.get(f"{prefix}/{name}_median", math.nan)

        gaps = [row["unseen_iou"] - row["mask_iou"] for row in everyone.values() if "unseen_iou" in row]
        entropies = [row["hypothesis_entropy"] for row in everyone.values() if "hypothesis_entropy" in row]
        spread = found[f"{prefix}/azimuth_spread_deg"]
        return {
            COLLAPSED_CAMERAS: collapsed_cameras(spread, self._true_spread, mean_of(entropies)),
            FLAT_SHAPES: flat_shapes(median("thickness"), median("depth_ratio"), mean_of(gaps)),
            FLOATERS: floaters(median("largest_component")),
        }

    def _camera_scores(
        self, predicted: dict[str, Rotation], alignments: WorldAlignments, prefix: str
    ) -> dict[str, float]:
        cameras = {name: self._camera(name) for name in sorted(predicted)}
        known = {name: camera.rotation[0].double() for name, camera in cameras.items() if camera is not None}
        if not known or not self._rotations:
            return {}
        ours = {name: predicted[name] for name in known}
        categories = {name: self._category(name) for name in known}
        rows = {
            "": pose_scores(ours, known, categories, alignments.of),
            f"{CONSTANT_CAMERA}/": constant_camera_scores(self._rotations, known, categories),
        }
        return {
            f"{prefix}/{method}within_30": mean_of([row["pose/accuracy_30"] for row in scores.values()])
            for method, scores in rows.items()
        }

    def _shape_scores(
        self, sample: str, mesh: Mesh, own: Camera, alignments: WorldAlignments, solids: SolidAlignments
    ) -> dict[str, float]:
        """Scores against the true shape; empty if it or the camera is unknown."""
        camera = self._camera(sample)
        if not self._has_shapes or camera is None:
            return {}
        image_id = sample.rpartition("#")[0]
        in_view = place_in_view(mesh.vertices, own, camera).float()
        values = {"depth_ratio": depth_ratio(in_view, camera, self._true_depth(image_id, camera))}
        shapes = {"unseen_iou": Mesh(in_view, mesh.faces)}
        alignment, solid = alignments.of(self._category(sample)), solids.of(self._category(sample))
        if alignment is not None:
            shapes["canonical_iou"] = Mesh(alignment.place(mesh.vertices).float(), mesh.faces)
        truth = self._solids.of(image_id)
        if solid is not None and truth is not None:
            values["solid_iou"] = iou(shape_of(solid.place(Mesh(mesh.vertices, mesh.faces))).solid, truth)
        return values | self._unseen(image_id, shapes)

    def _unseen(self, image_id: str, shapes: Mapping[str, Mesh]) -> dict[str, float]:
        """IoU of silhouettes in other views than the input's, by name; empty if there are none."""
        views = unseen_views(true_shape(self._dataset, image_id, self._shapes), NUM_UNSEEN_VIEWS)
        if not views:
            return {}
        cameras = Camera.stack([view.camera for view in views])
        truths = [composited(view.rgba, UNSEEN_PX)[1][0] for view in views]
        values = {}
        for name, placed in shapes.items():
            images = render_masked(placed, cameras, UNSEEN_PX)
            values[name] = mean_of(
                [mask_hard(image.coverage, truth) for image, truth in zip(images, truths, strict=True)]
            )
        return values

    def _true_depth(self, image_id: str, camera: Camera) -> float:
        """Extent of the true shape along the image's optical axis, cached."""
        if image_id not in self._true_depths:
            known = true_shape(self._dataset, image_id, self._shapes)
            vertices = load_object(known.shapes, known.object_id, ("mesh_vertices",)).array("mesh_vertices")
            self._true_depths[image_id] = depth_extent(torch.from_numpy(vertices.copy()), camera)
        return self._true_depths[image_id]

    def _camera(self, sample: str) -> Camera | None:
        """The true camera of a sample's crop, cached; None if unknown."""
        image_id = sample.rpartition("#")[0]
        if image_id not in self._cameras:
            self._cameras[image_id] = load_image_truth(self._dataset, image_id, self.request.crop, TRUTH_PX).camera
        return self._cameras[image_id]

    def _category(self, sample: str) -> str:
        return self._dataset.entry(sample.rpartition("#")[0]).category

    def _can_open_shapes(self) -> bool:
        """Whether the images' true shapes can be loaded; logs a warning if they should exist but cannot."""
        entries = self._dataset.entries(None, self._data.categories)
        if not entries or not load_image(self._dataset, entries[0].id).truth:
            return False
        try:
            true_shape(self._dataset, entries[0].id, self._shapes)
        except (DataError, StorageError) as error:
            logger.warning("validation skips unseen views: %s; %s", error.problem, error.remedy)
            return False
        return True
