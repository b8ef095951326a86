"""The protocol ``solid32`` of image collections tests itself: truth, misplaced truth, and baselines that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.types import Batch, Mesh, Reconstruction
from raylift.data.feed.stream import evaluation_batches
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import (
    COLLAPSED_CAMERAS,
    DEAD_DISCRIMINATOR,
    FLAT_SHAPES,
    FLOATERS,
    PAINTED_BACKGROUND,
)
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.images import scorer as image_scorer
from raylift.evaluation.images.alignment import TrainingView, WorldAlignments
from raylift.evaluation.images.solid_alignment import SolidAlignment, SolidAlignments
from raylift.evaluation.images.solid_baselines import RADII, TRUTH_OF, SolidBaselines, mesh_of_voxels
from raylift.evaluation.images.true_solids import TrueSolids
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.meshes import shape_of
from raylift.evaluation.report import EvaluationReport
from raylift.evaluation.validation import QUICK_RESOLUTION
from raylift.geometry.iso_surface import extract
from raylift.geometry.voxels import grid_points
from raylift.metrics.box_volume import BoxVolume
from raylift.metrics.iou import iou
from raylift.metrics.pose_alignment import yaw_rotation
from raylift.metrics.protocols import SHAPE_PROTOCOLS
from raylift.metrics.shape_pair import ShapePair, TargetShape
from tests.evaluation.models import BallModel
from tests.evaluation.photographs import TrueShapeModel
from tests.metrics.shapes import box

CONFIG = EvaluationConfig(color_views=1, color_px=32, resolution=32, lpips=False)
DATA = DataConfig(batch_size=2)


# --- the alignment ---------------------------------------------------------------------------------------------------


def _seat(index: int) -> Mesh:
    """A seat with a back and one arm: no two sides alike. Proportions differ; the longest edge is 1."""
    width, depth = 0.5 + 0.02 * index, 0.8 - 0.02 * index
    parts = [
        box((width, 0.25, depth), (0, -0.375, 0)),
        box((width, 0.7, 0.15), (0, 0.15, -depth / 2 + 0.075)),
        box((0.12, 0.2, depth - 0.2), (width / 2 - 0.06, -0.1, 0.1)),
    ]
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    faces = np.concatenate([own + start for (_, own), start in zip(parts, starts[:-1], strict=True)])
    return Mesh(torch.from_numpy(np.concatenate([v for v, _ in parts])).float(), torch.from_numpy(faces))


def _moved(mesh: Mesh, matrix: torch.Tensor, shift: float = 0.0) -> Mesh:
    """Turned within its own box's centre, so that a scale about it keeps the seat on the ground."""
    return replace(mesh, vertices=(mesh.vertices.double() @ matrix + torch.tensor([0.0, shift, 0.0])).float())


def _alignment(matrix: torch.Tensor, shift: float = 0.0) -> SolidAlignment:
    """Fitted to nine seats that a model sees through ``matrix``."""
    truths = {f"seat-{index}": _seat(index) for index in range(9)}
    views = []
    for name, mesh in truths.items():
        seen = _moved(mesh, matrix, shift)
        volume = BoxVolume.of(shape_of(seen))
        views.append(TrainingView("seats", torch.eye(3).double(), None, seen.vertices.double(), name, volume))
    found = SolidAlignments(views, lambda name: shape_of(truths[name]).solid, WorldAlignments([])).of("seats")
    assert found is not None
    return found


@pytest.mark.parametrize("change", ["turned", "halved", "mirrored", "all"])
def test_misplaced_truth_fails_and_recovers_by_other_objects(change: str) -> None:
    quarter = yaw_rotation(torch.tensor(90.0, dtype=torch.float64))
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    matrix = {
        "turned": quarter,
        "halved": torch.eye(3).double() / 2,
        "mirrored": mirror,
        "all": 1.7 * mirror @ yaw_rotation(torch.tensor(38.0, dtype=torch.float64)),
    }[change]
    held_out = _seat(12)
    truth = TargetShape("seat-12", shape_of(held_out))
    wrong = _moved(held_out, matrix, 0.2 if change == "all" else 0.0)
    score = SHAPE_PROTOCOLS["solid32"].score
    best, before = score(ShapePair(truth.shape, truth)), score(ShapePair(shape_of(wrong), truth))
    assert best["iou"] == 1.0
    assert before["iou"] < (0.95 if change == "mirrored" else 0.5)
    found = _alignment(matrix, 0.2 if change == "all" else 0.0)
    assert found.mirrored == (change in ("mirrored", "all"))
    after = score(ShapePair(shape_of(found.place(wrong)), truth))
    assert after["iou"] > 0.9
    assert after["chamfer_l1"] < 3 * best["chamfer_l1"] < before["chamfer_l1"]
    assert after["f_score_1"] > 0.95


def test_a_mirrored_mesh_is_still_seen_from_outside() -> None:
    turned = _alignment(torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))).place(_seat(0))
    corners = turned.vertices[turned.faces].double()
    assert float((corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum()) > 0


def test_without_known_shapes_nothing_is_aligned() -> None:
    nothing = SolidAlignments([], lambda name: None, WorldAlignments([]))
    assert nothing.of("seats") is None
    assert "nothing is aligned" in nothing.note


# --- baselines -------------------------------------------------------------------------------------------------------


def test_meshes_of_voxels_contain_the_voxels_above_the_level() -> None:
    values = np.random.default_rng(0).random((4, 4, 4)).repeat(8, 0).repeat(8, 1).repeat(8, 2).ravel()
    mesh = mesh_of_voxels(values, 0.4)
    assert np.array_equal(shape_of(mesh).solid, values > 0.4)
    assert mesh_of_voxels(values, 1.1).is_empty


@pytest.fixture(scope="module")
def photos(chairs: ShardedDataset, tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Four views of five chairs: three to train on."""
    folder: Path = tmp_path_factory.mktemp("photos")
    ingest(
        [open_source(f"shapes:{chairs.uri}")],
        str(folder),
        ImagesConfig(image_px=48, min_object_px=4),
        parallel="none",
    )
    return ShardedDataset.open(folder)


def test_the_sphere_is_the_best_of_its_radii(photos: ShardedDataset) -> None:
    solids = TrueSolids(photos, "")
    entries = photos.entries("train")
    baselines = SolidBaselines(photos, entries, None, solids)
    known = [solid for entry in entries if (solid := solids.of(entry.id)) is not None]
    assert len(known) == len(entries)
    distances = np.linalg.norm(grid_points(32, 0.5), axis=1)

    def mean(inside: np.ndarray) -> float:
        return float(np.mean([iou(inside, solid) for solid in known]))

    sphere = shape_of(baselines.constant(entries[0].category)["sphere"]).solid
    assert mean(sphere) == pytest.approx(max(mean(distances < radius) for radius in RADII), abs=0.01)
    assert mean(shape_of(baselines.constant(entries[0].category)["mean_voxels"]).solid) > mean(sphere)


def _leave_out_unicorn(patch: pytest.MonkeyPatch) -> None:
    """Its alignment of every object by itself takes seconds, and is tested elsewhere."""
    score = replace(SHAPE_PROTOCOLS["unicorn"], score=lambda pair: {})
    patch.setattr(image_scorer, "SHAPE_PROTOCOLS", {**SHAPE_PROTOCOLS, "unicorn": score})


@pytest.fixture(scope="module")
def watched(photos: ShardedDataset) -> tuple[EvaluationReport, list[str]]:
    """The report on the truth in another world, and the splits of the images whose true solids were asked for."""
    asked = []
    original = TrueSolids.of

    def watch(self: TrueSolids, image_id: str) -> np.ndarray | None:
        asked.append(photos.entry(image_id).split)
        return original(self, image_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrueSolids, "of", watch)
        _leave_out_unicorn(patch)
        report = evaluate(_HalfSize(photos), photos, "test", CONFIG, DATA)
    return report, asked


@pytest.fixture(scope="module")
def of_truth(watched: tuple[EvaluationReport, list[str]]) -> EvaluationReport:
    return watched[0]


class _HalfSize(TrueShapeModel):
    """The truth, in a world of half the size, turned by 70 degrees."""

    def __init__(self, dataset: ShardedDataset) -> None:
        super().__init__(dataset, (0.5, 0.5, 0.5))
        self.turn = (0.0, 1.22, 0.0)


def test_truth_in_another_world_beats_every_baseline(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    assert metrics["test/solid32/iou_mean"] > 0.8  # thin legs of an alignment that is right up to a degree
    assert metrics["test/solid32/f_score_1_mean"] > 0.8
    for method in TRUTH_OF:
        assert set(of_truth.tables[method].scores) == set(of_truth.model.scores)
        for name in SHAPE_PROTOCOLS["solid32"].metrics:
            ours, theirs = (metrics[f"test/{prefix}solid32/{name}_mean"] for prefix in ("", f"{method}/"))
            assert ours < theirs if "chamfer" in name else ours > theirs
    iou_of = {method: metrics[f"test/{method}/solid32/iou_mean"] for method in TRUTH_OF}
    assert iou_of["sphere"] < iou_of["mean_voxels"] < iou_of["known_pose"]


def test_the_report_says_what_was_aligned_and_what_truth_baselines_use(of_truth: EvaluationReport) -> None:
    assert any("fitted on the training split and frozen" in note and "solid32" in note for note in of_truth.notes)
    assert any("known_pose: true training shapes and the true camera" in note for note in of_truth.notes)
    assert not any("alarm/" in note for note in of_truth.notes)


def test_no_held_out_shape_reaches_alignment_or_baselines(watched: tuple[EvaluationReport, list[str]]) -> None:
    assert set(watched[1]) == {"train"}


# --- alarms ----------------------------------------------------------------------------------------------------------


class _Reporting(TrueShapeModel):
    """Reports statistics of its own."""

    def __init__(self, dataset: ShardedDataset, painted: float, real_sign: float) -> None:
        super().__init__(dataset)
        self.statistics = {"painted_background": painted, "real_sign": real_sign}

    def scores(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {name: torch.full((len(batch),), value) for name, value in self.statistics.items()}


class _Ball(TrueShapeModel):
    """A ball for every image, as a field or as its mesh."""

    def __init__(self, dataset: ShardedDataset, as_field: bool) -> None:
        super().__init__(dataset)
        self.as_field = as_field

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        assert batch.camera is not None
        field = BallModel(0.4).answer("ball#0")
        shape = field if self.as_field else extract(field, QUICK_RESOLUTION)[0]
        return [Reconstruction(name, shape, batch.camera[index]) for index, name in enumerate(batch.ids)]


class _Crumbs(TrueShapeModel):
    """The truth with a loose box of a tenth of its volume and more."""

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        vertices, faces = box((0.2, 0.2, 0.2), (0.0, 0.8, 0.0))
        found = []
        for one in super().reconstruct(batch):
            assert isinstance(one.shape, Mesh)
            joined = torch.cat([one.shape.vertices, torch.from_numpy(vertices).float()])
            more = torch.from_numpy(faces) + len(one.shape.vertices)
            found.append(replace(one, shape=Mesh(joined, torch.cat([one.shape.faces, more]))))
        return found


class _Relief(TrueShapeModel):
    """The truth pressed to a third of its depth along each input's ray: the same silhouette."""

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        found = []
        for one in super().reconstruct(batch):
            assert isinstance(one.shape, Mesh)
            ray = one.camera.rotation[0, 2]
            vertices = one.shape.vertices - 2 / 3 * (one.shape.vertices @ ray)[:, None] * ray
            found.append(replace(one, shape=replace(one.shape, vertices=vertices)))
        return found


def _validation(photos: ShardedDataset, model: TrueShapeModel) -> dict[str, float]:
    watched = evaluation_of(photos).validation(photos, model.request, CONFIG, DATA, 0)
    return watched.scores(model, evaluation_batches(photos, watched.request, "test", DATA, 0, 0, 1))


def test_healthy_shapes_ring_nothing(photos: ShardedDataset) -> None:
    found = _validation(photos, _Reporting(photos, 0.01, 0.6))
    assert found["val/solid_iou"] > 0.8
    assert found["val/depth_ratio"] == pytest.approx(1.0, abs=0.01)
    assert found["val/largest_component"] > 0.999
    assert found["val/painted_background"] == pytest.approx(0.01)
    alarms = {name: value for name, value in found.items() if name.startswith("alarm/")}
    assert alarms == dict.fromkeys(
        (COLLAPSED_CAMERAS, FLAT_SHAPES, FLOATERS, PAINTED_BACKGROUND, DEAD_DISCRIMINATOR), 0.0
    )


def test_fields_are_validated_as_meshes_are(photos: ShardedDataset) -> None:
    fields, meshes = _validation(photos, _Ball(photos, True)), _validation(photos, _Ball(photos, False))
    for name in ("mask_iou", "unseen_iou", "canonical_iou", "solid_iou", "depth_ratio"):
        assert 0.05 < fields[f"val/{name}"] == pytest.approx(meshes[f"val/{name}"], abs=0.01)


def test_planted_failures_ring(photos: ShardedDataset) -> None:
    relief = _validation(photos, _Relief(photos))
    assert relief["val/depth_ratio_median"] == pytest.approx(1 / 3, abs=0.02)
    assert relief[FLAT_SHAPES] == 1.0
    assert relief[FLOATERS] == 0.0
    crumbs = _validation(photos, _Crumbs(photos))
    assert crumbs[FLOATERS] == 1.0
    assert crumbs[FLAT_SHAPES] == 0.0
    reported = _validation(photos, _Reporting(photos, 0.2, 1.0))
    assert reported[PAINTED_BACKGROUND] == reported[DEAD_DISCRIMINATOR] == 1.0


def test_the_evaluation_names_the_alarms(photos: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    _leave_out_unicorn(monkeypatch)
    config = replace(CONFIG, baselines=False)
    report = evaluate(_Relief(photos), photos, "test", config, DATA)
    assert any(note.startswith(FLAT_SHAPES) for note in report.notes)
