"""The evaluation of known answers: the truth itself, a ball, nothing; beside baselines; over ranks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import DataError
from raylift.core.types import Field, Mesh
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation import meshes
from raylift.evaluation.color import ColorScorer
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.report import EvaluationReport
from raylift.evaluation.shapes import scorer as shape_scoring
from raylift.evaluation.shapes.retrieval import Retrieval, fit_mean_shape
from raylift.evaluation.shapes.target import load_held_out, spread
from raylift.evaluation.tables import category_table, score_tables, worst_table
from raylift.networks.perceptual import PerceptualDistance
from raylift.testing.ranks import run_ranks
from tests.evaluation.models import BallModel, NothingModel, TruthModel
from tests.metrics.test_image import _random_weights

QUICK = EvaluationConfig(("disn", "meshrcnn"), resolution=32, color_views=2, color_px=48)
DATA = DataConfig(batch_size=2)


@pytest.fixture(scope="module")
def of_truth(chairs: ShardedDataset) -> EvaluationReport:
    return evaluate(TruthModel(chairs), chairs, "test", replace(QUICK, protocols=EvaluationConfig().protocols), DATA)


def test_the_truth_scores_best(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    assert metrics["test/ifnet/iou_mean"] == 1.0
    assert metrics["test/disn/iou_mean"] == 1.0
    assert metrics["test/occnet/iou_mean"] > 0.95  # stored membership is not the mesh's own
    assert metrics["test/occnet/chamfer_l1_mean"] < 0.004
    assert metrics["test/occnet/normal_consistency_mean"] > 0.95
    assert metrics["test/color/psnr_mean"] > 18  # thin legs are lost at that resolution
    assert metrics["test/color/ssim_mean"] > 0.85
    assert of_truth.num_empty == 0
    for method in ("mean_shape", "retrieval", "oracle_retrieval"):
        assert metrics[f"test/{method}/occnet/iou_mean"] < metrics["test/occnet/iou_mean"]
        assert metrics[f"test/{method}/color/psnr_mean"] < metrics["test/color/psnr_mean"]
    assert metrics["test/oracle_retrieval/disn/iou_mean"] >= metrics["test/retrieval/disn/iou_mean"] - 0.05


def test_every_number_has_protocol_mean_and_median(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    for name in ("occnet/chamfer_l1", "ifnet/chamfer_l2", "disn/chamfer", "deepsdf/chamfer", "meshrcnn/f1_0.3"):
        assert {f"test/{name}_mean", f"test/{name}_median"} <= set(metrics)
    assert "test/disn/f_score_1_mean" in metrics
    assert "test/disn/f_score_1_median" not in metrics  # it is a class's number
    assert all(np.isfinite(value) for value in metrics.values())


def test_missing_lpips_is_said_and_the_rest_of_colour_is_there(of_truth: EvaluationReport) -> None:
    assert any("LPIPS is left out" in note and "RAYLIFT_WEIGHTS" in note for note in of_truth.notes)
    assert not any("lpips" in name for name in of_truth.metrics())
    assert any("24 views" in note for note in of_truth.notes)


def test_report_reads_back_and_prints(of_truth: EvaluationReport) -> None:
    content = json.loads(of_truth.to_json())
    assert content["num_samples"] == 2
    assert {row["method"] for row in content["objects"]} >= {"model", "mean_shape", "retrieval", "carved_mean"}
    assert content["worst_by"] == "occnet/iou"
    assert content["worst"][0]["occnet/iou"] <= content["worst"][1]["occnet/iou"]
    assert {row["category"] for row in content["summary"]} == {"all", "seats"}
    for table in (*score_tables(of_truth), category_table(of_truth), worst_table(of_truth)):
        assert table.row_count > 0


def test_evaluation_is_deterministic_and_batches_do_not_matter(chairs: ShardedDataset) -> None:
    first = evaluate(BallModel(), chairs, "test", QUICK, DATA)
    again = evaluate(BallModel(), chairs, "test", QUICK, DataConfig(batch_size=1))
    assert first.to_json() == again.to_json()


def _on_rank(uri: str) -> str:
    return evaluate(BallModel(), ShardedDataset.open(uri), "test", QUICK, DATA).to_json()


def test_ranks_share_the_work_and_agree(chairs: ShardedDataset) -> None:
    alone = evaluate(BallModel(), chairs, "test", QUICK, DATA).to_json()
    assert run_ranks(2, _on_rank, chairs.uri) == [alone, alone]


def test_all_views_of_an_object(chairs: ShardedDataset) -> None:
    seen: list[tuple[int, int, str]] = []
    found_meshes: dict[str, Mesh | Field] = {}
    config = replace(QUICK, protocols=("meshrcnn",), color_views=0, baselines=False)
    report = evaluate(
        BallModel(),
        chairs,
        "test",
        config,
        replace(DATA, eval_views=3),
        progress=lambda done, total, sample: seen.append((done, total, sample)),
        on_sample=lambda found, solid: found_meshes.__setitem__(found.id, solid.mesh),
    )
    assert len(report.model) == 6
    assert report.num_views == 3
    assert [done for done, _, _ in seen] == list(range(1, 7))
    assert {total for _, total, _ in seen} == {6}
    assert set(found_meshes) == set(report.model.scores)
    assert not any(name.startswith("test/color") for name in report.metrics())


def test_points_alone_ask_the_field_and_make_no_surface(
    chairs: ShardedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(QUICK, protocols=("occnet", "points"), resolution=128, level=0.0)
    both = evaluate(BallModel(), chairs, "test", config, DATA).metrics()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a surface was extracted")

    monkeypatch.setattr(meshes, "extract", refuse)
    report = evaluate(BallModel(), chairs, "test", replace(config, protocols=("points",)), DATA)
    entry = chairs.entries("test")[0]
    record = load_object(chairs, entry.id)
    ball = np.linalg.norm(record.iou_points, axis=1) < 0.4
    truth = record.iou_inside
    exact = np.count_nonzero(ball & truth) / np.count_nonzero(ball | truth)
    assert report.model.scores[f"{entry.id}#0"].values["points/iou"] == pytest.approx(exact, abs=1e-4)
    metrics = report.metrics()
    assert {name.partition("/")[2] for name in metrics if "/iou_" in name} == {
        f"{method}points/iou_{kind}"
        for method in ("", "mean_shape/", "retrieval/", "oracle_retrieval/", "carved_mean/", "carved_neighbours/")
        for kind in ("mean", "median")
    }
    assert "test/color/surface_l1_mean" in metrics
    assert "test/color/psnr_mean" not in metrics
    for method in ("", "retrieval/", "carved_mean/"):
        assert metrics[f"test/{method}points/iou_mean"] == pytest.approx(both[f"test/{method}points/iou_mean"])
        assert both[f"test/{method}points/iou_mean"] == pytest.approx(both[f"test/{method}occnet/iou_mean"], abs=0.01)


def test_nothing_reconstructed_is_the_worst_not_left_out(chairs: ShardedDataset) -> None:
    config = replace(QUICK, protocols=("occnet",), baselines=False)
    report = evaluate(NothingModel(), chairs, "test", config, DATA)
    assert report.num_empty == 2
    metrics = report.metrics()
    assert metrics["test/occnet/iou_mean"] == 0.0
    assert metrics["test/occnet/chamfer_l1_mean"] == pytest.approx(3**0.5)
    assert np.isfinite(metrics["test/color/psnr_mean"])


def test_training_objects_are_retrieved_exactly(chairs: ShardedDataset) -> None:
    metrics = evaluate(BallModel(), chairs, "train", replace(QUICK, color_views=0), DATA).metrics()
    assert metrics["train/retrieval/disn/iou_mean"] == 1.0
    assert metrics["train/oracle_retrieval/disn/iou_mean"] == 1.0


def test_an_unknown_split_is_refused_by_name(chairs: ShardedDataset) -> None:
    with pytest.raises(DataError, match="'val'"):
        evaluate(BallModel(), chairs, "val", QUICK, DATA)


def test_mean_shape_is_the_best_cut(chairs: ShardedDataset) -> None:
    entries = chairs.entries("train")
    shape = fit_mean_shape(chairs, entries)
    grids = np.stack([load_object(chairs, entry.id).occupancy32 > 0.5 for entry in entries])
    inside = shape.values.numpy() < 0

    def score(guess: np.ndarray) -> float:
        return float(np.mean([(guess & grid).sum() / (guess | grid).sum() for grid in grids]))

    assert score(inside) == pytest.approx(shape.training_iou)
    for level in (0.1, 0.4, 0.6, 0.9):
        assert score(grids.mean(axis=0) > level) <= shape.training_iou
    centers = ((torch.arange(32) + 0.5) / 32 * 2 - 1) * 0.55
    points = torch.stack(torch.meshgrid(centers, centers, centers, indexing="ij"), dim=-1).reshape(-1, 3)
    values, colors = shape.field().query(points)
    torch.testing.assert_close(values.view(32, 32, 32), shape.values, rtol=1e-4, atol=1e-5)
    assert colors.min() >= 0
    assert colors.max() <= 1
    assert not shape.mesh(32).is_empty
    with pytest.raises(DataError, match="no"):
        fit_mean_shape(chairs, [])


def test_retrieval_by_picture_and_by_shape(chairs: ShardedDataset) -> None:
    entries = chairs.entries("train")
    retrieval = Retrieval(chairs, entries)
    for entry in entries:
        rgba = torch.from_numpy(load_view(chairs, entry.id, 2).rgba.copy()).float().permute(2, 0, 1) / 255
        image = rgba[:3] * rgba[3:] + 1 - rgba[3:]
        assert retrieval.nearest(image, rgba[3:]) == entry.id
        assert retrieval.closest(load_object(chairs, entry.id).occupancy32 > 0.5) == entry.id


def test_lpips_is_one_of_the_colour_scores(chairs: ShardedDataset) -> None:
    weights, _ = _random_weights("alexnet")
    held_out = load_held_out(chairs, chairs.entries("test")[0].id, 2, 0)
    scores = ColorScorer(48, PerceptualDistance("alexnet", weights)).score(held_out.mesh, held_out.views)
    assert list(scores) == ["psnr", "psnr_masked", "ssim", "ssim_masked", "lpips"]
    assert scores["lpips"] > 0
    assert scores["psnr_masked"] < scores["psnr"]  # the white around the object is easy
    assert ColorScorer(48, None).score(held_out.mesh, ()) == {}


def test_views_are_spread() -> None:
    assert spread(4, 30) == [0, 7, 15, 22]
    assert spread(9, 4) == [0, 1, 2, 3]
    assert spread(0, 4) == spread(4, 0) == []


def test_a_damaged_shard_stops_with_its_name(chairs: ShardedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise DataError("shard objects-00000.parquet is damaged", "prepare again")

    monkeypatch.setattr(shape_scoring, "load_held_out", broken)
    model = BallModel().train()
    with pytest.raises(DataError, match="objects-00000"):
        evaluate(model, chairs, "test", replace(QUICK, baselines=False), DATA)
    assert model.training
