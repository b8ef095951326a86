"""A paper's table through a real Ray: its rows train one after another in the same cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raylift.tracking.address import default_tracking_uri
from tests.runs.test_tracked_runs import TABLE, call


@pytest.mark.ray
def test_rows_train_in_the_cluster_and_come_back_as_a_table(cluster: None, data: Path, tmp_path: Path) -> None:
    (tmp_path / "two.json").write_text(json.dumps(TABLE))
    short = ("schedule.num_steps=4", "schedule.eval_every=2", "evaluation.panels=0", "evaluation.baselines=false")
    scaled = ("scale.workers=2", "scale.data_cpus=0.25")
    place = ("--data", data, "--storage", tmp_path / "runs", "--seeds", 0)
    assert call("tuning", "paper_table", tmp_path / "two.json", *short, *scaled, *place) == 0
    figures = json.loads((tmp_path / "runs" / "two" / "scores.json").read_text())
    assert [(line["row"], line["seeds"]) for line in figures] == [("Voxels", 1), ("Image", 1)]
    assert all(0 <= line["mean"] <= 1 for line in figures)
    client = MlflowClient(default_tracking_uri(tmp_path / "runs"))
    (experiment,) = [found for found in client.search_experiments() if found.name == "implicit"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"two", "two.voxels.seed0", "two.image.seed0"}
    for name in ("two.voxels.seed0", "two.image.seed0"):
        assert runs[name].data.tags["mlflow.parentRunId"] == runs["two"].info.run_id
        assert [point.step for point in client.get_metric_history(runs[name].info.run_id, "val/iou")] == [2, 4]
