"""Quick validation on an image collection: silhouettes, and whether the shapes behind them are 3D."""

from __future__ import annotations

import logging
from collections.abc import Iterable
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
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import COLLAPSED_CAMERAS, FLAT_SHAPES, collapsed_cameras, flat_shapes
from raylift.evaluation.color import render_masked
from raylift.evaluation.images.alignment import Rotation, WorldAlignments, predict_training_views, training_rotations
from raylift.evaluation.images.poses import CONSTANT_CAMERA, constant_camera_scores, pose_scores
from raylift.evaluation.images.target import NO_SHAPES, load_image_truth, unseen_views
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.samples import eval_mode
from raylift.evaluation.validation import QUICK_RESOLUTION, Validation, picture_score, sample_scores, summarise
from raylift.geometry.placement import place_in_view
from raylift.metrics.pose import azimuths_deg, circular_std_deg
from raylift.metrics.scores import mean_of
from raylift.metrics.silhouette import mask_hard

logger = logging.getLogger(__name__)

NUM_TRAINING_IMAGES = 48
"""Number of training images whose cameras are predicted in each validation."""
NUM_UNSEEN_VIEWS, UNSEEN_PX = 3, 48
TRUTH_PX = 32


class ImageValidation(Validation):
    """Silhouette IoU and SSIM from the model's own cameras, and scores that a model without 3D fails.

    * ``azimuth_spread_deg``: circular standard deviation of predicted azimuths, over the validation images and
      ``NUM_TRAINING_IMAGES`` training images;
    * ``within_30`` if cameras are known: after an alignment fitted to those training images, with the baseline
      ``constant_camera/within_30``, the best single camera;
    * ``unseen_iou`` if shapes are known: silhouettes in other views than the input's, the shape placed in the
      input's view; ``canonical_iou``: the same, placed by the alignment.

    Args:
        wanted: request of the model's training samples.
        config: evaluation settings, with the location of true shapes.
    """

    def __init__(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> None:
        self.request = replace(wanted, num_points=0)
        self._dataset, self._data, self._seed = dataset, data, seed
        self._shapes = config.true_shapes
        self._cameras: dict[str, Camera | None] = {}
        known = training_rotations(dataset, chosen_entries(dataset, "train", data), NUM_TRAINING_IMAGES)
        self._rotations = known
        everything = [one for rotations in known.values() for one in rotations.values()]
        self._true_spread = circular_std_deg(azimuths_deg(torch.stack(everything))) if everything else None
        self._has_shapes = self._shapes != NO_SHAPES and self._can_open_shapes()

    def scores(self, model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        with eval_mode(model):
            views = predict_training_views(
                model, self._dataset, self.request, self._data, self._seed, NUM_TRAINING_IMAGES
            )
        alignments = WorldAlignments(views)
        rotations: dict[str, Rotation] = {}

        def score(batch: Batch, found: list[Reconstruction]) -> list[dict[str, float]]:
            images, masks = batch["image"].float().cpu().numpy(), batch["mask"].float().cpu().numpy()
            rows = []
            for one, image, mask in zip(found, images, masks, strict=True):
                rotations[one.id] = one.camera.rotation[0].detach().cpu().double()
                rows.append(picture_score(one, image, mask) | self._unseen(one, alignments))
            return rows

        with torch.no_grad():
            everyone = sample_scores(model, batches, score)
        names = [name for name in ("mask_iou", "ssim", "thickness") if everyone]
        names += [name for name in ("unseen_iou", "canonical_iou") if any(name in row for row in everyone.values())]
        found = summarise(everyone, prefix, names or ["mask_iou"])
        predicted = {name: turn for share in collectives.gather_objects(rotations) for name, turn in share.items()}
        found |= self._camera_scores(predicted, alignments, prefix)
        ours = [predicted[name] for name in sorted(predicted)]
        seen = torch.stack([*ours, *(view.predicted for view in views)])
        spread = circular_std_deg(azimuths_deg(seen))
        return found | {
            f"{prefix}/azimuth_spread_deg": spread,
            COLLAPSED_CAMERAS: collapsed_cameras(spread, self._true_spread),
            FLAT_SHAPES: flat_shapes(found.get(f"{prefix}/thickness_median", float("nan"))),
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

    def _unseen(self, found: Reconstruction, alignments: WorldAlignments) -> dict[str, float]:
        """IoU of silhouettes in other views than the input's; empty if the truth is unknown."""
        camera = self._camera(found.id)
        if not self._has_shapes or camera is None:
            return {}
        views = unseen_views(true_shape(self._dataset, found.id.rpartition("#")[0], self._shapes), NUM_UNSEEN_VIEWS)
        if not views:
            return {}
        mesh = mesh_of(found, QUICK_RESOLUTION)
        in_view = place_in_view(mesh.vertices, found.camera, camera).float()
        shapes = {"unseen_iou": replace(mesh, vertices=in_view)}
        alignment = alignments.of(self._category(found.id))
        if alignment is not None:
            shapes["canonical_iou"] = replace(mesh, vertices=alignment.place(mesh.vertices).float())
        cameras = Camera.stack([view.camera for view in views])
        truths = [composited(view.rgba, UNSEEN_PX)[1][0] for view in views]
        values = {}
        for name, placed in shapes.items():
            bare = Mesh(placed.vertices, placed.faces)
            images = render_masked(bare, cameras, UNSEEN_PX)
            values[name] = mean_of(
                [mask_hard(image.coverage, truth) for image, truth in zip(images, truths, strict=True)]
            )
        return values

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
