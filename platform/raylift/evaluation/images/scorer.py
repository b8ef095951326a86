"""Scores reconstructions of an image collection: against the input and, where known, cameras, keypoints and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.feed.resizing import composited
from raylift.data.feed.stream import chosen_entries
from raylift.data.images.record import ShapeRef, load_image
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import (
    COLLAPSED_CAMERAS,
    FLAT_SHAPES,
    FLOATERS,
    AlarmBell,
    collapsed_cameras,
    flat_shapes,
    floaters,
)
from raylift.evaluation.color import MaskedImage, color_scores, open_lpips, render_masked
from raylift.evaluation.images.alignment import Rotation, WorldAlignments, predict_training_views
from raylift.evaluation.images.baselines import ImageBaselines
from raylift.evaluation.images.keypoints import Located, locate, transferred_shares
from raylift.evaluation.images.poses import (
    CONSTANT_CAMERA,
    RANDOM_CAMERA,
    Cameras,
    constant_camera_scores,
    in_place,
    pose_scores,
    random_camera_scores,
)
from raylift.evaluation.images.sanity import depth_extent, depth_ratio, largest_component
from raylift.evaluation.images.solid_alignment import MAX_VOLUMES
from raylift.evaluation.images.solid_scorer import SolidScorer, score_solid
from raylift.evaluation.images.target import NO_SHAPES, ImageTarget, load_image_truth, unseen_views
from raylift.evaluation.meshes import Solid, shape_of
from raylift.evaluation.report import MODEL_METHOD, Tally
from raylift.evaluation.scorer import Scorer, Values
from raylift.evaluation.shapes.target import ShapeTarget, load_held_out
from raylift.geometry.placement import place_in_view
from raylift.metrics.pose import azimuths_deg, circular_std_deg
from raylift.metrics.protocols import EMPTY_DISTANCE, SHAPE_PROTOCOLS
from raylift.metrics.scores import Score, ScoreTable, mean_of
from raylift.metrics.shape_pair import ShapePair
from raylift.metrics.silhouette import mask_hard, mask_soft
from raylift.metrics.surface_distance import chamfer_l1
from raylift.networks.perceptual import PerceptualDistance
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

CHAMFER_POINTS = 30_000


class ImageScorer(Scorer):
    """The protocols of image collections.

    ``input``: the reconstruction rendered with its own camera, in the model's crop, at the truth's resolution:
    silhouettes by ``mask_soft`` and ``mask_hard``, and on white PSNR, SSIM, LPIPS.

    ``pose`` if cameras are known, see ``pose_scores``: the model's world is aligned by its predictions on *training*
    images (``images.alignment``). ``constant_camera`` and ``random_camera`` are the baselines.

    ``keypoints`` if known: see ``transferred_shares``.

    ``unicorn`` and ``unseen`` if the shape is known: the reconstruction is placed so that the true camera sees it as
    its own camera does (``geometry.placement``), then compared by Chamfer distance, and with stored views other than
    the input.

    ``canonical`` if the shape is known: the same with the frozen alignment, which does not depend on held-out truth.
    This scores the shape as a 3D object, not as a relief that fits the input's view.

    ``solid32`` if the shape is known: its solid under one yaw, mirror and scale, fitted to the solids of training
    images (``images.solid_alignment``), with ``sphere``, ``mean_voxels``, ``retrieval`` and ``known_pose`` as
    baselines.

    ``sanity``: depth and loose parts (``images.sanity``). The report's notes say which alarms ring.
    """

    def __init__(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> None:
        super().__init__()
        self.dataset, self.config, self.data, self.seed, self.crop = dataset, config, data, seed, wanted.crop
        self._lpips, problem = open_lpips() if config.lpips else (None, "")
        self.notes += [problem] if problem else []
        self._baselines, self._solids = None, SolidScorer(dataset, config.true_shapes)
        if config.baselines:
            entries = chosen_entries(dataset, "train", data)
            self._baselines = ImageBaselines(dataset, entries, wanted.crop)
            note = self._solids.add_baselines(entries, wanted.crop)
            self.notes += [note] if note else []
        self._truth: ImageTarget | None = None
        self._shape: ShapeTarget | None = None
        self._alignments = WorldAlignments([])
        self._cameras = Cameras()
        self._located: dict[str, Located] = {}

    def request(self, wanted: SampleRequest) -> SampleRequest:
        return replace(wanted, num_points=0, supervised_camera=False)

    def prepare(self, model: ReconstructionModel, split: str) -> None:
        """Align the model's world on the training split, if held-out cameras are known."""
        first = chosen_entries(self.dataset, split, self.data)[0]
        if load_image(self.dataset, first.id).camera is None:
            return
        request = self.request(model.request)
        with_shapes = bool(load_image(self.dataset, first.id).truth) and self.config.true_shapes != NO_SHAPES
        views = predict_training_views(
            model, self.dataset, request, self.data, self.seed, max_volumes=MAX_VOLUMES if with_shapes else 0
        )
        self._alignments = WorldAlignments(views)
        self.notes.append(self._alignments.note)
        if with_shapes:
            self.notes.append(self._solids.align(views, self._alignments))

    def score(self, sample: str, reconstruction: Reconstruction, solid: Solid) -> Values:
        truth, mesh = self._of(sample), solid.mesh
        seen = render(mesh, reconstruction.camera, truth.image_px, Lighting.ambient(), supersample=2)[0]
        if truth.keypoints is not None and not mesh.is_empty:
            self._located[sample] = locate(reconstruction, mesh, seen.faces, truth)
        self._keep_camera(MODEL_METHOD, sample, truth, reconstruction.camera.rotation[0])
        values = _under("input", picture_scores([MaskedImage(seen.rgb, seen.alpha)], [truth.image], self._lpips))
        values["sanity/largest_component"] = largest_component(mesh)
        if truth.shape is not None and truth.camera is not None:
            placed = replace(mesh, vertices=place_in_view(mesh.vertices, reconstruction.camera, truth.camera).float())
            target = self._target(truth.shape)
            depth = depth_extent(target.mesh.vertices, truth.camera)
            values["sanity/depth_ratio"] = depth_ratio(placed.vertices, truth.camera, depth)
            alignment = self._alignments.of(self._category(sample))
            canonical = None if alignment is None else replace(mesh, vertices=alignment.place(mesh.vertices).float())
            values |= self._shape_scores(truth.shape, placed, canonical)
            values |= self._solids.score(self._category(sample), mesh, target.truth)
        return values

    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        if self._baselines is None:
            return {}
        truth = self._of(sample)
        nearest = self._baselines.nearest(picture["mask"][0].cpu().numpy())
        found = load_image_truth(self.dataset, nearest, self.crop, truth.image_px, self.config.true_shapes)
        images = {"mean_image": self._baselines.mean_image(truth.image_px), "retrieval": found.image}
        rows = {
            method: _under("input", picture_scores([image], [truth.image], self._lpips))
            for method, image in images.items()
        }
        if found.camera is not None:
            self._keep_camera("retrieval", sample, truth, found.camera.rotation[0])
            if found.shape is not None and truth.shape is not None and truth.camera is not None:
                mesh = _mesh_of_shape(found.shape)
                placed = replace(mesh, vertices=place_in_view(mesh.vertices, found.camera, truth.camera).float())
                rows["retrieval"] |= self._shape_scores(truth.shape, placed, mesh)
                rows["retrieval"] |= score_solid(mesh, self._target(truth.shape).truth)
        if truth.shape is not None:
            rows |= self._solids.score_baselines(self._category(sample), truth, self._target(truth.shape).truth)
        if truth.camera is not None and self._baselines.rotations:
            rows |= {CONSTANT_CAMERA: {}, RANDOM_CAMERA: {}}
        return rows

    def finish(self, whole: Tally) -> None:
        shares = collectives.gather_objects((self._cameras, self._located))
        cameras = sum((share for share, _ in shares), Cameras())
        categories = {name: row.category for name, row in whole.table(MODEL_METHOD).scores.items()}
        for method, predicted in cameras.predicted.items():
            align = self._alignments.of if method == MODEL_METHOD else in_place
            more = pose_scores(predicted, cameras.truth, categories, align)
            self._add(whole.table(method), more)
        if self._baselines is not None and self._baselines.rotations and cameras.truth:
            known = self._baselines.rotations
            self._add(whole.table(CONSTANT_CAMERA), constant_camera_scores(known, cameras.truth, categories))
            self._add(whole.table(RANDOM_CAMERA), random_camera_scores(known, cameras.truth, categories))
        if cameras.truth:
            spread_deg = circular_std_deg(
                azimuths_deg(torch.stack([cameras.truth[name] for name in sorted(cameras.truth)]))
            )
            self.notes.append(
                f"pose: true azimuths spread by {spread_deg:.0f} degrees over the {len(cameras.truth)} scored images;"
                " a model with collapsed cameras is far below"
            )
        self.notes += self._alarms(whole.table(MODEL_METHOD), cameras)
        located = {name: one for _, share in shares for name, one in share.items()}
        if located:
            pck = transferred_shares(located, self.config.keypoint_sources, self.seed)
            self._add(whole.table(MODEL_METHOD), {name: {"keypoints/pck": share} for name, share in pck.items()})
            self.notes.append(
                f"keypoints: transferred from {min(self.config.keypoint_sources, len(located) - 1)} images each, by the"
                f" nearest visible vertex; {len(located) - len(pck)} images without a keypoint to transfer"
            )

    def _alarms(self, table: ScoreTable, cameras: Cameras) -> list[str]:
        """Notes on the alarms that ring for the scored samples."""

        def spread_deg(rotations: Mapping[str, Rotation]) -> float:
            return circular_std_deg(azimuths_deg(torch.stack([rotations[name] for name in sorted(rotations)])))

        def mean(metric: str) -> float:
            return table.summary(metric).mean

        found = {
            FLOATERS: floaters(table.summary("sanity/largest_component").median),
            FLAT_SHAPES: flat_shapes(
                math.nan, table.summary("sanity/depth_ratio").median, mean("unseen/mask_soft") - mean("input/mask_soft")
            ),
        }
        if cameras.truth and len(cameras.truth) > 1:
            ours = cameras.predicted[MODEL_METHOD]
            found[COLLAPSED_CAMERAS] = collapsed_cameras(spread_deg(ours), spread_deg(cameras.truth))
        return [f"{name}: {meaning}" for name, meaning in AlarmBell().news(found).items()]

    def _add(self, table: ScoreTable, more: Mapping[str, Values]) -> None:
        for name, values in sorted(more.items()):
            row = table.scores[name]
            table.add(Score(row.id, row.category, {**row.values, **values}))

    def _of(self, sample: str) -> ImageTarget:
        image_id = sample.rpartition("#")[0]
        if self._truth is None or self._truth.id != image_id:
            config = self.config
            self._truth = load_image_truth(self.dataset, image_id, self.crop, config.image_px, config.true_shapes)
        return self._truth

    def _target(self, known: ShapeRef) -> ShapeTarget:
        """The true shape, cached for one object: its views follow each other."""
        if self._shape is None or self._shape.id != known.object_id:
            self._shape = load_held_out(known.shapes, known.object_id, 0, self.seed)
        return self._shape

    def _category(self, sample: str) -> str:
        return self.dataset.entry(sample.rpartition("#")[0]).category

    def _keep_camera(self, method: str, sample: str, truth: ImageTarget, rotation: Rotation) -> None:
        if truth.camera is not None:
            self._cameras.keep(method, sample, rotation, truth.camera.rotation[0])

    def _shape_scores(self, known: ShapeRef, placed: Mesh, canonical: Mesh | None) -> Values:
        """``unicorn`` and ``unseen`` for the shape placed in the input's view, ``canonical`` for the aligned one."""
        truth = self._target(known).truth
        pair = ShapePair(shape_of(placed), truth)
        values = _under("unicorn", SHAPE_PROTOCOLS["unicorn"].score(pair))
        views = unseen_views(known, self.config.color_views)
        size = self.config.color_px
        truths = [MaskedImage.of_pixels(*composited(view.rgba, size)) for view in views]
        for protocol, mesh in (("unseen", placed), ("canonical", canonical)):
            if mesh is None:
                continue
            if protocol == "canonical":
                near = ShapePair(shape_of(mesh), truth)
                distance = EMPTY_DISTANCE if near.predicted.is_empty else chamfer_l1(near.near(CHAMFER_POINTS))
                values["canonical/chamfer_l1"] = distance
            if views:
                images = render_masked(mesh, Camera.stack([view.camera for view in views]), size)
                values |= _under(protocol, picture_scores(images, truths, self._lpips))
        return values


def picture_scores(
    images: Sequence[MaskedImage], truths: Sequence[MaskedImage], lpips: PerceptualDistance | None
) -> Values:
    """Mean silhouette and colour scores over image pairs."""
    pairs = [(image.coverage, truth.coverage) for image, truth in zip(images, truths, strict=True)]
    return {
        "mask_soft": mean_of([mask_soft(*pair) for pair in pairs]),
        "mask_hard": mean_of([mask_hard(*pair) for pair in pairs]),
        **color_scores(images, truths, lpips),
    }


def _mesh_of_shape(shape: ShapeRef) -> Mesh:
    return load_object(shape.shapes, shape.object_id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh


def _under(protocol: str, values: Mapping[str, float]) -> Values:
    return {f"{protocol}/{name}": value for name, value in values.items()}
