"""Alignments of a model's world: found on the training split, and frozen whatever the held-out truth says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.data.images.record import ImageRecord, load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.images import alignment as image_alignment
from raylift.evaluation.images import target as image_truth
from raylift.evaluation.images.alignment import TrainingView, WorldAlignments, predict_training_views
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.icosphere import icosphere
from raylift.metrics.pose import rotation_error_deg
from raylift.metrics.pose_alignment import yaw_rotation
from tests.evaluation.photographs import CollapsedModel, EggModel, prepare_eggs

CONFIG = EvaluationConfig(color_views=0, resolution=32)
DATA = DataConfig(batch_size=2)


@pytest.fixture(scope="module")
def eggs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_eggs(tmp_path_factory.mktemp("eggs"))


def _views(count: int, turn: torch.Tensor, scale: float, shift: float, category: str = "a") -> list[TrainingView]:
    """Ellipsoids of longest edge 1 in a world that is turned, scaled and moved."""
    vertices = torch.from_numpy(icosphere(2)[0]).double()
    vertices = 0.5 * vertices / vertices.norm(dim=1, keepdim=True) * torch.tensor([0.6, 0.8, 1.0])
    truth = orbit_rotations(360 / count * torch.arange(count), 20 + torch.arange(count) % 3)
    placed = scale * vertices @ turn.T + torch.tensor([0.0, shift, 0.0])
    return [TrainingView(category, one @ turn.T, one, placed) for one in truth]


def test_a_planted_world_is_found_and_one_bad_shape_does_not_move_it() -> None:
    turn = yaw_rotation(torch.tensor(77.0, dtype=torch.float64))
    views = _views(9, turn, 3.0, 0.5)
    views[4] = replace(views[4], vertices=views[4].vertices * 40 + 7)
    found = WorldAlignments(views).of("a")
    assert found is not None
    assert found.scale == pytest.approx(1 / 3, rel=0.02)
    back = found.place(views[0].vertices)
    assert float(back.abs().amax()) == pytest.approx(0.5, abs=0.01)
    assert float((back.amax(0) + back.amin(0)).abs().max()) < 0.01
    # Along its true axes again: its edges differ by axis.
    torch.testing.assert_close(back.amax(0), torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64), rtol=0, atol=0.01)


def test_categories_have_worlds_of_their_own_where_they_are_large_enough() -> None:
    first, second, third = (yaw_rotation(torch.tensor(angle, dtype=torch.float64)) for angle in (20.0, 140.0, 250.0))
    views = _views(20, first, 1, 0, "a") + _views(12, second, 1, 0, "b") + _views(3, third, 1, 0, "c")
    found = WorldAlignments(views)
    for category, turn in (("a", first), ("b", second), ("c", first), ("unheard of", first)):
        alignment = found.of(category)
        assert alignment is not None
        torch.testing.assert_close(alignment.pose.rotation, turn, rtol=0, atol=1e-6)
    assert WorldAlignments([replace(view, truth=None) for view in views]).of("a") is None


def _with_other_test_cameras(dataset: ShardedDataset, image_id: str) -> ImageRecord:
    record = load_image(dataset, image_id)
    if dataset.entry(image_id).split == "train" or record.camera is None:
        return record
    turn = orbit_rotations(torch.tensor([71.0]), torch.tensor([30.0])).float()
    return replace(record, camera=replace(record.camera, rotation=record.camera.rotation @ turn[0]))


def test_no_held_out_truth_reaches_the_alignment(eggs: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EggModel(turn=(0.0, 1.2, 0.0))
    notes, errors = [], []
    for mutated in (False, True):
        if mutated:
            monkeypatch.setattr(image_alignment, "load_image", _with_other_test_cameras)
            monkeypatch.setattr(image_truth, "load_image", _with_other_test_cameras)
        views = predict_training_views(model, eggs, model.request, DATA)
        notes.append(WorldAlignments(views).of("eggs"))
        report = evaluate(model, eggs, "test", CONFIG, DATA)
        errors.append(report.metrics()["test/pose/aligned_deg_mean"])
    before, after = notes
    assert before is not None
    assert after is not None
    assert torch.equal(before.pose.rotation, after.pose.rotation)
    assert (before.scale, before.pose.fraction_within) == (after.scale, after.pose.fraction_within)
    assert torch.equal(before.offset, after.offset)
    assert errors[0] < 1e-2
    assert errors[1] > 30, "the truth did change, and an alignment fitted to it would have followed"


def test_collapsed_cameras_show(eggs: ShardedDataset) -> None:
    report = evaluate(CollapsedModel(), eggs, "test", CONFIG, DATA)
    metrics = report.metrics()
    assert metrics["test/pose/azimuth_spread_deg_mean"] < 1e-3
    assert evaluate(EggModel(), eggs, "test", CONFIG, DATA).metrics()["test/pose/azimuth_spread_deg_mean"] > 60
    assert metrics["test/pose/accuracy_30_mean"] <= metrics["test/constant_camera/pose/accuracy_30_mean"]
    assert any("true azimuths spread" in note for note in report.notes)


def test_the_random_camera_is_an_expectation(eggs: ShardedDataset) -> None:
    report = evaluate(EggModel(), eggs, "test", CONFIG, DATA)
    known = [load_image(eggs, entry.id).camera for entry in eggs.entries("train")]
    row = report.tables["random_camera"].rows[0]
    truth = load_image(eggs, row.id.rpartition("#")[0]).camera
    assert truth is not None
    angles = [float(rotation_error_deg(one.rotation, truth.rotation)) for one in known if one is not None]
    assert row.values["pose/aligned_deg"] == pytest.approx(sum(angles) / len(angles))
