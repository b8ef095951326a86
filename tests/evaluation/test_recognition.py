"""The evaluation of recognisers of objects by planted ones, whose scores are known in closed form."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.errors import ConfigError, DataError
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import COLLAPSED_CLASSES, COLLAPSED_POSES
from raylift.evaluation.comparison.paired import object_scores
from raylift.evaluation.images.recognition import Recognised, evaluate_recognition
from raylift.evaluation.images.recognition_data import RecognitionData
from raylift.evaluation.images.recognition_validation import RecognitionValidation
from raylift.evaluation.report import EvaluationReport
from raylift.evaluation.tables import category_table, score_tables, worst_table
from raylift.testing.ranks import run_ranks
from tests.evaluation.recognisable import NUM_TEST, NUM_TRAIN, NUM_VAL, STORED_PX, PlantedRecogniser, prepare_slabs

CONFIG = EvaluationConfig(symmetries=())  # the bodies are no data set of shapes
DATA = DataConfig(batch_size=5)


@pytest.fixture(scope="module")
def slabs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_slabs(tmp_path_factory.mktemp("slabs"))


def evaluated(model: PlantedRecogniser, slabs: ShardedDataset, **more: object) -> EvaluationReport:
    return evaluate_recognition(model, slabs, "test", replace(CONFIG, **more), DATA)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def of_truth(slabs: ShardedDataset) -> EvaluationReport:
    return evaluated(PlantedRecogniser(), slabs)


def test_the_truth_scores_best(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    for name in ("viewpoint/pose_pi18", "viewpoint/joint_pi18", "class/class_accuracy", "told/symmetric_pi18"):
        assert metrics[f"test/{name}_mean"] == 1.0
    for name in ("amodal_iou", "boundary_f", "visible_iou", "hidden_iou", "occluder_auc"):
        assert metrics[f"test/outline/{name}_mean"] == 1.0
    assert metrics["test/viewpoint/rotation_deg_mean"] < 1e-4
    assert metrics["test/class/nll_mean"] == pytest.approx(-math.log(0.9))
    # It claims 0.9 and is always right: the gap is 0.1, and a temperature closes it.
    assert metrics["test/class/ece_mean"] == pytest.approx(0.1)
    assert metrics["test/class/calibrated_ece_mean"] < 1e-6
    assert metrics["test/class/none_auc_mean"] == 1.0
    for level in ("L0", "L1", "L2", "L3"):
        assert metrics[f"test/{level}/class_accuracy_mean"] == 1.0
    assert not any("between" in name for name in metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    # A median of shares would be 0 or 1.
    medians = [name for name in metrics if name.endswith("_median")]
    assert "test/viewpoint/rotation_deg_median" in medians
    assert not any("_pi" in name or "accuracy" in name for name in medians)
    assert not any("alarm" in note for note in of_truth.notes)


def test_levels_share_the_images(of_truth: EvaluationReport) -> None:
    counts = {
        level: len(of_truth.model.values(f"{level}/class_accuracy")) for level in ("L0", "L1", "L2", "L3", "between")
    }
    assert counts == {"L0": 3, "L1": 3, "L2": 3, "L3": 3, "between": 0}
    # A hidden part is scored where there is one.
    assert len(of_truth.model.values("outline/hidden_iou")) == 9
    assert len(of_truth.model.values("L0/hidden_iou")) == 0


def test_what_is_wrong_in_one_way_is_scored_worse_in_that_way(slabs: ShardedDataset) -> None:
    def scores(model: PlantedRecogniser) -> dict[str, float]:
        return evaluated(model, slabs, baselines=False, calibration_images=0).metrics()

    turned = scores(PlantedRecogniser(turn_deg=20.0))
    assert turned["test/viewpoint/rotation_deg_mean"] == pytest.approx(20.0, abs=1e-3)
    assert turned["test/viewpoint/pose_pi6_mean"] == 1.0
    assert turned["test/viewpoint/pose_pi18_mean"] == 0.0
    assert turned["test/class/class_accuracy_mean"] == 1.0
    wrong = scores(PlantedRecogniser(wrong_every=3))  # all four dishes, images 18, 21, 24 and 27
    assert wrong["test/class/class_accuracy_mean"] == pytest.approx(8 / 12)
    assert wrong["test/class_mean/class_accuracy_mean"] == pytest.approx((1 + 0 + 1) / 3)
    assert wrong["test/viewpoint/pose_pi6_mean"] == 1.0
    assert wrong["test/viewpoint/joint_pi6_mean"] == pytest.approx(7 / 11)
    assert wrong["test/told/pose_pi6_mean"] == 1.0
    assert wrong["test/class/nll_mean"] == pytest.approx((-8 * math.log(0.9) - 4 * math.log(0.05)) / 12)
    shifted = scores(PlantedRecogniser(shift_px=3))
    assert shifted["test/outline/visible_iou_mean"] == pytest.approx(7 / 13)
    widths = (10, 14, 20, 32)
    assert shifted["test/outline/amodal_iou_mean"] == pytest.approx(sum((w - 3) / (w + 3) for w in widths) / 4)
    hidden = [(w - 10 - 3) / (w - 10 + 3) for w in widths[1:]]
    assert shifted["test/outline/hidden_iou_mean"] == pytest.approx(sum(hidden) / 3)


def test_baselines_stand_beside_the_model(of_truth: EvaluationReport) -> None:
    metrics = of_truth.metrics()
    assert list(of_truth.tables) == ["model", "constant", "random_pose", "nearest_silhouette", "visible_mask"]
    # The training split has 8 cups and 4 dishes: the constant says cup, to 7 of 12 test images.
    assert metrics["test/constant/class/class_accuracy_mean"] == pytest.approx(7 / 12)
    assert metrics["test/constant/class/nll_mean"] == pytest.approx(
        -(7 * math.log(2 / 3) + 4 * math.log(1 / 3) + math.log(1e-6)) / 12
    )
    assert metrics["test/visible_mask/outline/amodal_iou_mean"] == pytest.approx((1 + 10 / 14 + 10 / 20 + 10 / 32) / 4)
    assert "test/visible_mask/outline/visible_iou_mean" not in metrics
    assert 0 < metrics["test/random_pose/viewpoint/pose_pi6_mean"] < 0.5
    assert metrics["test/random_pose/viewpoint/pose_pi6_mean"] < metrics["test/constant/viewpoint/pose_pi6_mean"] < 1
    assert metrics["test/constant/outline/amodal_iou_mean"] < 1
    assert any("are given the true visible silhouette" in note for note in of_truth.notes)


def test_the_model_sees_the_images_alone(slabs: ShardedDataset) -> None:
    model = PlantedRecogniser()
    evaluated(model, slabs, baselines=False)
    assert model.seen_fields == {"image"}
    # Temperatures are fitted to validation images.
    assert model.seen_ids == {f"slab-{index:02d}#0" for index in range(NUM_TRAIN, NUM_TRAIN + NUM_VAL + NUM_TEST)}


def test_an_unknown_class_cannot_be_told(of_truth: EvaluationReport) -> None:
    assert len(of_truth.model.values("outline/amodal_iou")) == NUM_TEST
    assert len(of_truth.model.values("told/amodal_iou")) == NUM_TEST - 1


def test_images_of_one_object_are_one_unit(of_truth: EvaluationReport) -> None:
    rows = of_truth.object_rows()
    assert len(object_scores(rows, "class/class_accuracy")) == NUM_TEST // 2
    assert {row["object"] for row in rows if row["id"] in ("slab-18#0", "slab-19#0")} == {"body-9"}


def test_reports_read_back_and_print(of_truth: EvaluationReport) -> None:
    content = json.loads(of_truth.to_json())
    assert content["worst_by"] == "viewpoint/symmetric_deg"
    titles = [str(table.title).partition(" ")[0] for table in score_tables(of_truth)]
    levels = ["L0", "L1", "L2", "L3"]
    told = [f"told_{level}" for level in levels]
    assert titles == ["viewpoint", "class", "outline", "told", *levels, *told, "class_mean"]
    for table in (*score_tables(of_truth), category_table(of_truth), worst_table(of_truth)):
        assert table.row_count > 0


def test_alarms_ring_for_a_blind_model(slabs: ShardedDataset) -> None:
    notes = evaluated(PlantedRecogniser(blind=True), slabs, baselines=False).notes
    assert any(note.startswith(COLLAPSED_CLASSES) for note in notes)
    assert any(note.startswith(COLLAPSED_POSES) for note in notes)


def test_symmetries_are_listed_by_category(slabs: ShardedDataset) -> None:
    metrics = evaluated(
        PlantedRecogniser(turn_deg=0.0), slabs, baselines=False, symmetries=("cup=round", "dish=half_turn")
    ).metrics()
    assert metrics["test/viewpoint/symmetric_deg_mean"] < 1e-4
    with pytest.raises(ConfigError, match="cup, dish"):
        evaluated(PlantedRecogniser(), slabs, symmetries=("plate=round",))
    with pytest.raises(DataError, match="(?s)symmetry of categories.*not a prepared data set.*without auto"):
        evaluated(PlantedRecogniser(), slabs, symmetries=("auto",))


def test_each_sample_is_handed_on_for_panels(slabs: ShardedDataset) -> None:
    kept: list[Recognised] = []
    evaluate_recognition(PlantedRecogniser(), slabs, "test", CONFIG, DATA, on_sample=kept.append)
    assert len(kept) == NUM_TEST
    assert kept[0].evidence["image"].shape == (1, 3, STORED_PX, STORED_PX)
    assert kept[0].scores["viewpoint/pose_pi6"] == 1.0


def test_images_without_amodal_masks_are_scored_by_the_rest(tmp_path: Path) -> None:
    report = evaluate_recognition(PlantedRecogniser(), prepare_slabs(tmp_path, amodal=False), "test", CONFIG, DATA)
    metrics = report.metrics()
    assert metrics["test/viewpoint/pose_pi6_mean"] == 1.0
    assert not any("amodal" in name or "/L0/" in name for name in metrics)
    assert any("no amodal masks" in note for note in report.notes)


def test_shapes_are_refused(chairs: ShardedDataset) -> None:
    with pytest.raises(DataError, match="not an image collection"):
        evaluate_recognition(PlantedRecogniser(), chairs, "test", CONFIG, DATA)


# --- while training --------------------------------------------------------------------------------------------------


def validated(slabs: ShardedDataset, model: PlantedRecogniser) -> dict[str, float]:
    validation = RecognitionValidation(slabs, model, CONFIG, DATA, 0)
    share = collectives.rank(), collectives.world_size()
    images = RecognitionData(slabs, DATA, model.categories, model.request)
    return validation.scores(model, images.batches(validation.request, "val", 0, share))


def test_validation_names_what_checkpoints_are_chosen_by(slabs: ShardedDataset) -> None:
    found = validated(slabs, PlantedRecogniser(turn_deg=20.0))
    measured = {name.removeprefix("val/") for name in found}
    assert set(RecognitionValidation.validated) <= measured
    assert found["val/class_accuracy"] == found["val/pose_pi6"] == found["val/amodal_iou"] == 1.0
    assert found["val/pose_pi18"] == 0.0
    assert found["val/own"] == 3.0
    assert found["val/constant/class_accuracy"] < 1
    assert found[COLLAPSED_CLASSES] == found[COLLAPSED_POSES] == 0.0
    assert validated(slabs, PlantedRecogniser(blind=True))[COLLAPSED_CLASSES] == 1.0
    validation = RecognitionValidation(slabs, PlantedRecogniser(), CONFIG, DATA, 0)
    validation.check_best_metric("val/pose_pi6")
    with pytest.raises(ConfigError, match="val/pose_pi6"):
        validation.check_best_metric("val/iou")


def on_rank(uri: str) -> tuple[str, dict[str, float]]:
    slabs, model = ShardedDataset.open(uri), PlantedRecogniser(turn_deg=7.0, wrong_every=4)
    report = evaluated(model, slabs)
    # The seconds per image are not in it.
    return report.to_json(), validated(slabs, model)


def test_ranks_share_the_work_and_agree(slabs: ShardedDataset) -> None:
    alone = on_rank(slabs.uri)
    assert run_ranks(2, on_rank, slabs.uri) == [alone, alone]


def test_batches_do_not_matter(slabs: ShardedDataset, of_truth: EvaluationReport) -> None:
    again = evaluate_recognition(PlantedRecogniser(), slabs, "test", CONFIG, DataConfig(batch_size=2))
    assert again.to_json() == of_truth.to_json()


def test_a_recogniser_that_fails_is_scored_as_the_worst(slabs: ShardedDataset) -> None:
    model = PlantedRecogniser(turn_deg=torch.nan)
    metrics = evaluated(model, slabs, baselines=False).metrics()
    assert metrics["test/viewpoint/rotation_deg_mean"] == 180.0
