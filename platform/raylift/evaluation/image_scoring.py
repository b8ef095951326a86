"""Reconstructions of an image collection: as their own cameras see them, and where more is known, against that too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core import collectives
from raylift.core.types import Batch, Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.config import DataConfig
from raylift.data.dataset import ShardedDataset
from raylift.data.images import TrueShape
from raylift.data.samples import composited
from raylift.data.stream import chosen_entries
from raylift.evaluation.color import Look, color_scores, looks_of, open_lpips
from raylift.evaluation.config import EvaluationConfig
from raylift.evaluation.held_out import HeldOut, load_held_out, shape_of
from raylift.evaluation.image_baselines import ImageBaselines
from raylift.evaluation.image_truth import ImageTruth, load_image_truth, unseen_views
from raylift.evaluation.keypoint_agreement import Located, locate, transferred_shares
from raylift.evaluation.report import MODEL, Tally
from raylift.evaluation.scorer import Scorer, Values
from raylift.geometry.placement import place_in_view
from raylift.metrics.comparison import Comparison
from raylift.metrics.pose import best_global_rotation, rotation_error_deg
from raylift.metrics.protocols import SHAPE_PROTOCOLS
from raylift.metrics.scores import Score, ScoreTable, mean_of
from raylift.metrics.silhouette import mask_hard, mask_soft
from raylift.networks.perceptual import PerceptualDistance
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

Rotation = Float[Tensor, "3 3"]
NOMINAL = torch.eye(3)


@dataclass
class _Cameras:
    """Predicted and true rotations by method and sample: what is gathered from all ranks."""

    predicted: dict[str, dict[str, Rotation]]
    truth: dict[str, Rotation]


class ImageScorer(Scorer):
    """The protocols of image collections.

    ``input``: the reconstruction as its own camera sees it, in the crop that the model was shown, at the truth's
    resolution: silhouettes by ``mask_soft`` and ``mask_hard``, and on white PSNR, SSIM, LPIPS.

    ``pose`` where cameras are known: the angle between predicted and true rotation as they are, and after the one
    rotation a category that aligns all of its images best, since a model that learns from images alone chooses its
    front itself (the alignment is fitted to the very images that are scored: three numbers for all of them). Accuracies
    are of the aligned ones.

    ``keypoints`` where there are any: see ``keypoint_agreement``.

    ``unicorn`` and ``unseen`` where the shape is known: the reconstruction is put where the true camera sees it as its
    own does (``geometry.placement``), then compared by Chamfer distance, and with stored views other than the input.
    """

    def __init__(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> None:
        super().__init__()
        self.dataset, self.config, self.seed, self.crop = dataset, config, seed, wanted.crop
        self._lpips, problem = open_lpips() if config.lpips else (None, "")
        self.notes += [problem] if problem else []
        self._baselines = None
        if config.baselines:
            self._baselines = ImageBaselines(dataset, chosen_entries(dataset, "train", data), wanted.crop)
        self._truth: ImageTruth | None = None
        self._shape: HeldOut | None = None
        self._cameras = _Cameras({}, {})
        self._located: dict[str, Located] = {}

    def request(self, wanted: SampleRequest) -> SampleRequest:
        return replace(wanted, num_points=0)

    def score(self, sample: str, reconstruction: Reconstruction, mesh: Mesh) -> Values:
        truth = self._of(sample)
        seen = render(mesh, reconstruction.camera, truth.image_px, Lighting.ambient(), supersample=2)[0]
        if truth.keypoints is not None and not mesh.is_empty:
            self._located[sample] = locate(reconstruction, mesh, seen.faces, truth)
        self._keep_camera(MODEL, sample, truth, reconstruction.camera.rotation[0])
        return {
            **_under("input", picture_scores([Look(seen.rgb, seen.alpha)], [truth.look], self._lpips)),
            **self._shape_scores(truth, mesh, reconstruction.camera),
        }

    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        if self._baselines is None:
            return {}
        truth = self._of(sample)
        nearest = self._baselines.nearest(picture["mask"][0].cpu().numpy())
        found = load_image_truth(self.dataset, nearest, self.crop, truth.image_px, self.config.true_shapes)
        looks = {"mean_image": self._baselines.mean_image(truth.image_px), "retrieval": found.look}
        rows = {
            method: _under("input", picture_scores([look], [truth.look], self._lpips)) for method, look in looks.items()
        }
        self._keep_camera("mean_image", sample, truth, NOMINAL)
        if found.camera is not None:
            self._keep_camera("retrieval", sample, truth, found.camera.rotation[0])
            if found.shape is not None:
                mesh = _mesh_of_shape(found.shape)
                rows["retrieval"] |= self._shape_scores(truth, mesh, found.camera)
        return rows

    def finish(self, whole: Tally) -> None:
        shares = collectives.gather_objects((self._cameras, self._located))
        methods = dict.fromkeys(method for cameras, _ in shares for method in cameras.predicted)
        true_rotations = {name: turn for cameras, _ in shares for name, turn in cameras.truth.items()}
        for method in methods:
            predicted = {
                name: turn for cameras, _ in shares for name, turn in cameras.predicted.get(method, {}).items()
            }
            self._add(whole.table(method), _pose_scores(predicted, true_rotations, whole.table(method)))
        if true_rotations:
            self.notes.append(
                f"pose: aligned_deg and accuracies after one rotation a category, fitted to the {len(true_rotations)}"
                " images that are scored; rotation_deg is without"
            )
        located = {name: one for _, share in shares for name, one in share.items()}
        if located:
            pck = transferred_shares(located, self.config.keypoint_sources, self.seed)
            self._add(whole.table(MODEL), {name: {"keypoints/pck": share} for name, share in pck.items()})
            self.notes.append(
                f"keypoints: transferred from {min(self.config.keypoint_sources, len(located) - 1)} images each, by the"
                f" nearest visible vertex; {len(located) - len(pck)} images without a keypoint to transfer"
            )

    def _add(self, table: ScoreTable, more: Mapping[str, Values]) -> None:
        for name, values in sorted(more.items()):
            row = table.scores[name]
            table.add(Score(row.id, row.category, {**row.values, **values}))

    def _of(self, sample: str) -> ImageTruth:
        image_id = sample.rpartition("#")[0]
        if self._truth is None or self._truth.id != image_id:
            config = self.config
            self._truth = load_image_truth(self.dataset, image_id, self.crop, config.image_px, config.true_shapes)
            self._shape = None
        return self._truth

    def _keep_camera(self, method: str, sample: str, truth: ImageTruth, rotation: Rotation) -> None:
        if truth.camera is not None:
            self._cameras.predicted.setdefault(method, {})[sample] = rotation.detach().cpu().double()
            self._cameras.truth[sample] = truth.camera.rotation[0].double()

    def _shape_scores(self, truth: ImageTruth, mesh: Mesh, camera: Camera) -> Values:
        if truth.shape is None or truth.camera is None:
            return {}
        known = truth.shape
        if self._shape is None:
            self._shape = load_held_out(known.shapes, known.object_id, 0, self.seed)
        placed = replace(mesh, vertices=place_in_view(mesh.vertices, camera, truth.camera).float())
        pair = Comparison(shape_of(placed), self._shape.truth)
        values = _under("unicorn", SHAPE_PROTOCOLS["unicorn"].score(pair))
        views = unseen_views(known, self.config.color_views)
        if views:
            size = self.config.color_px
            looks = looks_of(placed, Camera.stack([view.camera for view in views]), size)
            truths = [Look.of_pixels(*composited(view.rgba, size)) for view in views]
            values |= _under("unseen", picture_scores(looks, truths, self._lpips))
        return values


def picture_scores(looks: Sequence[Look], truths: Sequence[Look], lpips: PerceptualDistance | None) -> Values:
    """Mean silhouette and colour scores over pairs of pictures."""
    pairs = [(look.coverage, truth.coverage) for look, truth in zip(looks, truths, strict=True)]
    return {
        "mask_soft": mean_of([mask_soft(*pair) for pair in pairs]),
        "mask_hard": mean_of([mask_hard(*pair) for pair in pairs]),
        **color_scores(looks, truths, lpips),
    }


def _pose_scores(
    predicted: Mapping[str, Rotation], truth: Mapping[str, Rotation], table: ScoreTable
) -> dict[str, Values]:
    """Of one method: angles as they are, and after the best rotation of each category's frame.

    A category with a single image has no aligned score: it would always be perfect.
    """
    scores: dict[str, Values] = {}
    by_category: dict[str, list[str]] = {}
    for name in sorted(predicted):
        by_category.setdefault(table.scores[name].category, []).append(name)
    for names in by_category.values():
        ours, theirs = (torch.stack([some[name] for name in names]) for some in (predicted, truth))
        plain = rotation_error_deg(ours, theirs).tolist()
        turned = rotation_error_deg(ours @ best_global_rotation(ours, theirs), theirs).tolist()
        for name, angle, aligned in zip(names, plain, turned, strict=True):
            scores[name] = {"pose/rotation_deg": angle}
            if len(names) > 1:
                scores[name] |= {
                    "pose/aligned_deg": aligned,
                    "pose/accuracy_30": float(aligned < 30),
                    "pose/accuracy_10": float(aligned < 10),
                }
    return scores


def _mesh_of_shape(shape: TrueShape) -> Mesh:
    return shape.shapes.load_object(shape.object_id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh


def _under(protocol: str, values: Mapping[str, float]) -> Values:
    return {f"{protocol}/{name}": value for name, value in values.items()}
