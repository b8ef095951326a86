"""The evaluation of image collections by models whose answers are known: the truth, and what is wrong in one way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.errors import ConfigError, DataError
from raylift.core.types import SampleRequest
from raylift.data.feed.stream import evaluation_batches
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import COLLAPSED_CAMERAS, FLAT_SHAPES, FLOATERS
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.panels import draw_panels
from raylift.evaluation.report import EvaluationReport
from raylift.evaluation.tables import category_table, score_tables, worst_table
from raylift.testing.ranks import run_ranks
from tests.evaluation.photographs import CollapsedModel, EggModel, TrueShapeModel, prepare_eggs

CONFIG = EvaluationConfig(color_views=2, color_px=48, resolution=32)
DATA = DataConfig(batch_size=2)


@pytest.fixture(scope="module")
def eggs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_eggs(tmp_path_factory.mktemp("eggs"))


@pytest.fixture(scope="module")
def of_truth(eggs: ShardedDataset) -> EvaluationReport:
    return evaluate(EggModel(), eggs, "test", CONFIG, DATA)


def test_the_truth_scores_best(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    assert metrics["test/input/mask_soft_mean"] > 0.93  # two equal soft edges of 0.5 count a third
    assert metrics["test/input/mask_hard_mean"] > 0.97
    assert metrics["test/input/ssim_mean"] > 0.97
    assert metrics["test/input/ssim_masked_mean"] > 0.95
    assert metrics["test/pose/rotation_deg_mean"] < 1e-3
    assert metrics["test/pose/aligned_deg_median"] < 1e-3
    assert metrics["test/pose/accuracy_10_mean"] == 1.0
    assert metrics["test/keypoints/pck_mean"] == 1.0
    for method in ("mean_image", "retrieval"):
        for name in ("input/mask_soft", "input/ssim", "input/psnr_masked"):
            assert metrics[f"test/{method}/{name}_mean"] < metrics[f"test/{name}_mean"]
    for method in ("retrieval", "constant_camera", "random_camera"):
        assert metrics[f"test/{method}/pose/rotation_deg_mean"] > 10
        assert metrics[f"test/{method}/pose/accuracy_30_mean"] < 0.5
    assert not any("mean_image/pose" in name for name in metrics)
    assert all(np.isfinite(value) for value in metrics.values())


def test_what_is_wrong_in_one_way_is_scored_worse_in_that_way(eggs: ShardedDataset, of_truth: EvaluationReport) -> None:
    config = replace(CONFIG, baselines=False)
    best = of_truth.metrics()

    def scores(model: EggModel) -> dict[str, float]:
        return evaluate(model, eggs, "test", config, DATA).metrics()

    thin = scores(EggModel(stretch=(0.7, 1.0, 0.7)))
    assert thin["test/input/mask_soft_mean"] < best["test/input/mask_soft_mean"] - 0.1
    assert thin["test/pose/rotation_deg_mean"] < 1e-3
    grey = scores(EggModel(grey=True))
    assert grey["test/input/mask_soft_mean"] == pytest.approx(best["test/input/mask_soft_mean"])
    assert grey["test/input/ssim_masked_mean"] < best["test/input/ssim_masked_mean"] - 0.3
    rolled = scores(EggModel(error_deg=20.0))
    assert rolled["test/pose/rotation_deg_mean"] == pytest.approx(20.0, abs=0.01)
    assert rolled["test/pose/accuracy_30_mean"] == 1.0
    assert rolled["test/pose/accuracy_10_mean"] < 1.0
    assert rolled["test/keypoints/pck_mean"] < 1.0


def test_another_choice_of_the_front_costs_nothing_but_the_plain_angle(
    eggs: ShardedDataset, of_truth: EvaluationReport
) -> None:
    metrics = evaluate(EggModel(turn=(0.3, 1.2, -0.5)), eggs, "test", CONFIG, DATA).metrics()
    best = of_truth.metrics()
    assert metrics["test/pose/rotation_deg_mean"] > 50
    assert metrics["test/pose/aligned_deg_mean"] < 1e-2
    for name in ("input/mask_soft_mean", "input/ssim_mean", "keypoints/pck_mean"):
        assert metrics[f"test/{name}"] == pytest.approx(best[f"test/{name}"], abs=2e-3)


def test_reports_read_back_and_print(of_truth: EvaluationReport) -> None:
    content = json.loads(of_truth.to_json())
    assert content["worst_by"] == "input/mask_soft"
    assert content["num_samples"] == 5
    methods = {"model", "mean_image", "retrieval", "constant_camera", "random_camera"}
    assert {row["method"] for row in content["objects"]} == methods
    assert any("on the training split and frozen" in note for note in content["notes"])
    for table in (*score_tables(of_truth), category_table(of_truth), worst_table(of_truth)):
        assert table.row_count > 0


def test_batches_and_repeats_do_not_matter(eggs: ShardedDataset, of_truth: EvaluationReport) -> None:
    again = evaluate(EggModel(), eggs, "test", CONFIG, DataConfig(batch_size=3))
    assert again.to_json() == of_truth.to_json()


def _on_rank(uri: str) -> tuple[str, dict[str, float]]:
    eggs, rank, world = ShardedDataset.open(uri), collectives.rank(), collectives.world_size()
    report = evaluate(EggModel(error_deg=7.0), eggs, "test", CONFIG, DATA)
    return report.to_json(), _validation(eggs, EggModel(error_deg=7.0), rank, world)


def test_ranks_share_the_work_and_agree(eggs: ShardedDataset) -> None:
    """Both in an evaluation and in a validation; ranks are started once."""
    alone = _on_rank(eggs.uri)
    assert run_ranks(2, _on_rank, eggs.uri) == [alone, alone]


# --- where the shape is known ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chair_photos(chairs: ShardedDataset, tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    folder: Path = tmp_path_factory.mktemp("photos")
    config = ImagesConfig(image_px=48, min_object_px=4)
    ingest([open_source(f"shapes:{chairs.uri}")], str(folder), config, parallel="none")
    return ShardedDataset.open(folder)


def test_true_shapes_are_compared_and_seen_from_other_sides(chair_photos: ShardedDataset) -> None:
    metrics = evaluate(TrueShapeModel(chair_photos), chair_photos, "test", CONFIG, DATA).metrics()
    assert metrics["test/unicorn/chamfer_l1_mean"] < 0.01
    assert metrics["test/unseen/mask_hard_mean"] > 0.8  # thin legs at 48 pixels
    for name in ("unicorn/chamfer_l1_unaligned", "unseen/mask_soft", "unseen/psnr", "canonical/chamfer_l1"):
        better = metrics[f"test/{name}_mean"] - metrics[f"test/retrieval/{name}_mean"]
        assert better < 0 if "chamfer" in name else better > 0
    assert metrics["test/canonical/chamfer_l1_mean"] < 0.015  # watertight truths are a little thicker than 1
    assert metrics["test/canonical/mask_hard_mean"] > 0.8
    config = replace(CONFIG, baselines=False)
    flat = evaluate(TrueShapeModel(chair_photos, (1.0, 0.6, 1.0)), chair_photos, "test", config, DATA).metrics()
    assert flat["test/unicorn/chamfer_l1_unaligned_mean"] > 2 * metrics["test/unicorn/chamfer_l1_unaligned_mean"]
    assert flat["test/unseen/mask_soft_mean"] < metrics["test/unseen/mask_soft_mean"] - 0.1


def test_shapes_that_are_gone_are_said_or_left_out(chair_photos: ShardedDataset) -> None:
    model = TrueShapeModel(chair_photos)
    config = replace(CONFIG, baselines=False)
    with pytest.raises(DataError, match="nowhere"):
        evaluate(model, chair_photos, "test", replace(config, true_shapes="/nowhere"), DATA)
    metrics = evaluate(model, chair_photos, "test", replace(config, true_shapes="none"), DATA).metrics()
    assert not any("unicorn" in name or "unseen" in name for name in metrics)
    assert "test/pose/rotation_deg_mean" in metrics


# --- while training --------------------------------------------------------------------------------------------------


def _validation(dataset: ShardedDataset, model: EggModel, rank: int = 0, world: int = 1) -> dict[str, float]:
    watched = evaluation_of(dataset).validation(dataset, model.request, CONFIG, DATA, 0)
    return watched.scores(model, evaluation_batches(dataset, watched.request, "test", DATA, 0, rank, world))


def test_validation_watches_silhouettes_and_colour(eggs: ShardedDataset) -> None:
    best, thin = _validation(eggs, EggModel()), _validation(eggs, EggModel(stretch=(0.7, 1.0, 0.7)))
    known = [name for name in evaluation_of(eggs).validated if not name.startswith(("unseen", "canonical", "solid"))]
    more = {"val/mask_iou_samples", "val/constant_camera/within_30", COLLAPSED_CAMERAS, FLAT_SHAPES, FLOATERS}
    more |= {"val/largest_component", "val/largest_component_median"}
    assert set(best) == {f"val/{name}" for name in known} | more
    assert best["val/mask_iou"] > 0.93
    assert best["val/ssim"] > 0.97
    assert best["val/mask_iou_samples"] == 5
    assert thin["val/mask_iou"] < best["val/mask_iou"] - 0.1
    assert thin["val/ssim"] < best["val/ssim"]
    assert best["val/within_30"] == 1.0
    assert best["val/constant_camera/within_30"] < 0.5
    assert best["val/azimuth_spread_deg"] > 60
    assert best[COLLAPSED_CAMERAS] == best[FLAT_SHAPES] == best[FLOATERS] == 0.0


def test_collapsed_cameras_and_flat_shapes_ring(eggs: ShardedDataset) -> None:
    collapsed = _validation(eggs, CollapsedModel())
    assert collapsed["val/azimuth_spread_deg"] < 1e-3
    assert collapsed[COLLAPSED_CAMERAS] == 1.0
    assert collapsed["val/within_30"] < 0.5
    assert _validation(eggs, EggModel(stretch=(1.0, 1.0, 0.03)))[FLAT_SHAPES] == 1.0


def test_validation_sees_known_shapes_from_other_sides(chair_photos: ShardedDataset) -> None:
    truth = _validation(chair_photos, TrueShapeModel(chair_photos))
    flat = _validation(chair_photos, TrueShapeModel(chair_photos, (1.0, 0.6, 1.0)))
    for name in ("val/unseen_iou", "val/canonical_iou"):
        assert truth[name] > 0.8
        assert flat[name] < truth[name] - 0.1


def test_best_metrics_that_are_not_measured_are_refused(eggs: ShardedDataset, chairs: ShardedDataset) -> None:
    evaluation_of(eggs).check_best_metric("val/ssim")
    evaluation_of(chairs).check_best_metric("val/iou")
    with pytest.raises(ConfigError, match="val/mask_iou"):
        evaluation_of(eggs).check_best_metric("val/iou")


def test_panels_show_input_reconstruction_and_turns(eggs: ShardedDataset) -> None:
    panels = draw_panels(EggModel(), eggs, "test", DATA, 2, image_px=48)
    assert len({panel.id for panel in panels}) == 2
    strip = panels[0].picture
    assert strip.shape == (48, 5 * 48, 3)
    columns = [strip[:, k * 48 : (k + 1) * 48].astype(float) / 255 for k in range(5)]
    same = np.abs(columns[0] - columns[1]).mean()
    assert all(same < 0.5 * np.abs(columns[0] - other).mean() for other in columns[2:])
    assert panels[0].source.shape[2] == 4


def test_a_request_without_a_crop_sees_the_whole_image(eggs: ShardedDataset) -> None:
    whole = evaluation_of(eggs).input_of(eggs, SampleRequest(48), "egg-1#0")
    assert whole.shape == (64, 64, 4)
