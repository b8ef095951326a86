"""Unlearned answers on planted shapes, what they may see, and their cached scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.types import Camera, SampleRequest, VoxelRequest
from raylift.data.feed.stream import evaluation_batches
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.shapes.baselines import ShapeBaselines
from raylift.evaluation.shapes.carving import CarvingRule, choose_rule, told_grid_field
from raylift.evaluation.shapes.surface_color import colors_of, surface_color_scores, visible_points
from raylift.evaluation.shapes.training_shapes import TrainingShapes
from raylift.evaluation.shapes.visible_evidence import Told, VisibleEvidence
from raylift.evaluation.validation import inside_of
from raylift.geometry.cameras import orthographic_views
from raylift.geometry.voxels import grid_points
from tests.evaluation.models import BallModel

DATA = DataConfig(batch_size=2)
QUICK = EvaluationConfig(("meshrcnn",), resolution=32, color_views=1, color_px=32, lpips=False)
IMAGE_ONLY = SampleRequest(32)
WITH_DEPTH = SampleRequest(32, depth=True)
POINTS = torch.from_numpy(grid_points(32))


class TellingModel(BallModel):
    """A ball, whatever it is told."""

    def __init__(self, request: SampleRequest) -> None:
        super().__init__()
        self._request = request

    @property
    def request(self) -> SampleRequest:
        return self._request


def _from_the_front(mask: torch.Tensor, depth: torch.Tensor | None = None) -> VisibleEvidence:
    """Seen along -z by an orthographic camera at z = 2 that shows [-0.55, 0.55]^2."""
    camera: Camera = orthographic_views(torch.tensor([[0.0, 0.0, 1.0]]), 0.55)
    return VisibleEvidence(torch.rand(3, *mask.shape[1:]), mask, depth, camera)


def _half_mask(size: int = 44) -> torch.Tensor:
    """The right half of the picture: x > 0."""
    return torch.cat([torch.zeros(1, size, size // 2), torch.ones(1, size, size // 2)], dim=2)


def test_the_silhouette_carves_exactly_what_projects_outside_of_it() -> None:
    seen = _from_the_front(_half_mask())
    inside = inside_of(CarvingRule(0.5).field(np.ones(32**3), seen), POINTS)
    assert torch.equal(inside, POINTS[:, 0] > 0)
    half_full = np.where(grid_points(32)[:, 1] > 0, 0.4, 0.6)
    inside = inside_of(CarvingRule(0.5).field(half_full, seen), POINTS)
    assert torch.equal(inside, (POINTS[:, 0] > 0) & (POINTS[:, 1] < 0))


def test_depth_carves_free_space_its_mirror_image_and_keeps_a_layer() -> None:
    # A sheet at z = 0.2 for x > 0, another at z = -0.2 for x < 0; the camera stands at z = 2.
    mask = torch.ones(1, 44, 44)
    depth = torch.where(_half_mask() > 0, 1.8, 2.2)
    seen = _from_the_front(mask, depth)
    right, z = POINTS[:, 0] > 0, POINTS[:, 2]
    behind = torch.where(right, z < 0.2, z < -0.2)
    full = np.ones(32**3)
    assert torch.equal(inside_of(CarvingRule(0.5).field(full, seen), POINTS), behind)
    mirrored = inside_of(CarvingRule(0.5, mirrored=True).field(full, seen), POINTS)
    assert torch.equal(mirrored, z < -0.2)
    empty = inside_of(CarvingRule(0.5, layer=0.1).field(np.zeros(32**3), seen), POINTS)
    assert torch.equal(empty, behind & torch.where(right, z > 0.1, z > -0.3))
    tolerant = inside_of(CarvingRule(0.5, tolerance=0.1).field(full, seen), POINTS)
    assert torch.equal(tolerant, torch.where(right, z < 0.3, z < -0.1))


def test_visible_colours_are_those_of_the_nearest_point_or_pixel() -> None:
    depth = torch.full((1, 44, 44), 2.0)
    seen = _from_the_front(torch.ones(1, 44, 44), depth)
    seen.image[0, :, :22], seen.image[0, :, 22:] = 0.0, 1.0
    points = torch.tensor([[-0.3, 0.1, 0.4], [0.3, 0.1, -0.4]])
    for ask in (seen.nearest_colors, seen.pixel_colors):
        torch.testing.assert_close(ask(points)[:, 0], torch.tensor([0.0, 1.0]))
    half = _from_the_front(_half_mask())
    torch.testing.assert_close(half.mean_color, half.image[:, :, 22:].mean(dim=(1, 2)), rtol=1e-4, atol=1e-4)


def test_told_grids_are_interpolated() -> None:
    distance = (POINTS.norm(dim=1) - 0.35).view(1, 32, 32, 32)
    field = told_grid_field(distance / 0.1, "gt_sdf", 0.1, None)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    away = points.norm(dim=1) > 0.1
    assert float((field.query(points)[0] - (points.norm(dim=1) - 0.35))[away].abs().max()) < 0.005
    occupancy = told_grid_field((distance < 0).float(), "gt_occupancy", 0.1, None)
    clear = (points.norm(dim=1) - 0.35).abs() > 0.03
    assert torch.equal(inside_of(occupancy, points)[clear], (points.norm(dim=1) < 0.35)[clear])


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (IMAGE_ONLY, set()),
        (WITH_DEPTH, {"depth_carved_mean", "depth_carved_neighbours", "nearest_visible_color"}),
        (SampleRequest(32, voxels=VoxelRequest("gt_sdf")), {"input_interpolated"}),
        (SampleRequest(32, voxels=VoxelRequest("gt_occupancy")), {"input_interpolated"}),
    ],
)
def test_what_is_told_decides_which_baselines_there_are(
    chairs: ShardedDataset, request_: SampleRequest, more: set[str]
) -> None:
    config = replace(QUICK, cache_baselines=False)
    report = evaluate(TellingModel(request_), chairs, "test", config, DATA)
    always = {"model", "mean_shape", "retrieval", "oracle_retrieval", "carved_mean", "carved_neighbours"}
    assert set(report.tables) == always | {"mean_visible_color", "projected_pixel_color"} | more
    metrics = report.metrics()
    if "input_interpolated" in more:
        told, looked_up = (
            f"test/{method}/meshrcnn/f1_0.1_mean" for method in ("input_interpolated", "oracle_retrieval")
        )
        assert metrics[told] > metrics[looked_up]
    colors = {"color/surface_l1", "color/visible_l1", "color/hidden_l1"}
    assert set(report.tables["mean_visible_color"].metrics) == colors
    if request_.depth:
        nearest, mean = (f"test/{method}_visible_color/color/visible_l1_mean" for method in ("nearest", "mean"))
        assert metrics[nearest] < metrics[mean]


def test_baselines_never_read_a_held_out_object(chairs: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [
        batch.select(slice(0, 1)) for batch in evaluation_batches(chairs, WITH_DEPTH, "test", DataConfig(batch_size=1))
    ]
    training = {entry.id for entry in chairs.entries("train")}
    lookup, seen = ShardedDataset.lookup, set()

    def only_training(self: ShardedDataset, key: tuple[str, str]) -> object:
        assert key[0] in training  # every read of an object or view asks the cache first
        seen.add(key[0])
        return lookup(self, key)

    monkeypatch.setattr(ShardedDataset, "lookup", only_training)
    baselines = ShapeBaselines(chairs, chairs.entries("train"), Told.of(WITH_DEPTH), 32)
    assert len(baselines.notes()) == 5
    for batch in batches:
        for field in baselines.fields(batch).values():
            assert torch.isfinite(field.query(POINTS)[0]).all()
        assert baselines.colors(batch)
    assert seen == training


def test_a_rule_is_judged_by_the_other_training_objects(chairs: ShardedDataset) -> None:
    shapes = TrainingShapes(chairs, chairs.entries("train"))
    grids = np.stack([shapes.inside(index) for index in range(3)])
    np.testing.assert_allclose(shapes.mean(), grids.mean(axis=0))
    np.testing.assert_allclose(shapes.mean(without=1), grids[[0, 2]].mean(axis=0))
    seen = shapes.evidence(1, 0, 32, False)
    np.testing.assert_allclose(shapes.neighbours(seen.mask, without=1), grids[[0, 2]].mean(axis=0))

    def answer(seen: VisibleEvidence, without: int | None) -> np.ndarray:
        return grids[1].astype(float) * (without == 1)

    assert choose_rule(shapes, answer, 32, False).training_iou < 0.4, "the others find nothing"

    def cheat(seen: VisibleEvidence, without: int | None) -> np.ndarray:
        assert without is not None
        return grids[without].astype(float)

    assert choose_rule(shapes, cheat, 32, True).training_iou > 0.8


def test_one_body_is_left_out_as_a_whole(chairs: ShardedDataset) -> None:
    entries = [
        replace(entry, group="same" if index < 2 else "other") for index, entry in enumerate(chairs.entries("train"))
    ]
    shapes = TrainingShapes(chairs, entries)
    np.testing.assert_allclose(shapes.mean(without=0), shapes.inside(2).astype(float))


def test_kept_scores_are_the_same_and_are_not_worked_out_again(
    chairs: ShardedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TellingModel(WITH_DEPTH)
    first = evaluate(model, chairs, "test", QUICK, DATA, seed=3)

    def refused(*_: object) -> dict[str, object]:
        raise AssertionError("scored again")

    monkeypatch.setattr(ShapeBaselines, "fields", refused)
    monkeypatch.setattr(ShapeBaselines, "of_object", refused)
    assert evaluate(model, chairs, "test", QUICK, DATA, seed=3).to_json() == first.to_json()
    with pytest.raises(AssertionError, match="scored again"):
        evaluate(TellingModel(IMAGE_ONLY), chairs, "test", QUICK, DATA, seed=3)
    with pytest.raises(AssertionError, match="scored again"):
        evaluate(model, chairs, "test", replace(QUICK, color_px=40), DATA, seed=3)


def test_surface_colours_are_asked_where_the_truth_lies(chairs: ShardedDataset) -> None:
    entry = chairs.entries("test")[0]
    record, view = load_object(chairs, entry.id), load_view(chairs, entry.id, 0)
    points = torch.from_numpy(record.surface_points[:1000].copy())
    true = colors_of(record.mesh)
    assert true is not None
    visible = visible_points(points, view)
    assert 0.1 < float(visible.float().mean()) < 0.7
    exact = surface_color_scores(true, points, true(points), visible)
    assert exact == {"surface_l1": 0.0, "visible_l1": 0.0, "hidden_l1": 0.0}
    off = surface_color_scores(lambda asked: true(asked) + 0.1 * visible[:, None], points, true(points) * 0.8, visible)
    assert off["visible_l1"] > off["hidden_l1"] > 0


def test_validation_shows_what_needs_no_learning(chairs: ShardedDataset) -> None:
    model = TellingModel(WITH_DEPTH)
    watched = evaluation_of(chairs).validation(chairs, WITH_DEPTH, QUICK, DATA, 0)
    watched.request = replace(watched.request, num_iou_points=2000)
    runs = [watched.scores(model, evaluation_batches(chairs, watched.request, "test", DATA)) for _ in range(2)]
    assert runs[0] == runs[1], "the second time they are remembered"
    methods = ("carved_mean", "carved_neighbours", "depth_carved_mean", "depth_carved_neighbours")
    assert all(0 < runs[0][f"val/{method}/iou"] < 1 for method in methods)
    bare = evaluation_of(chairs).validation(chairs, WITH_DEPTH, replace(QUICK, baselines=False), DATA, 0)
    bare.request = watched.request
    found = bare.scores(model, evaluation_batches(chairs, bare.request, "test", DATA))
    assert found == {name: value for name, value in runs[0].items() if "carved" not in name}
