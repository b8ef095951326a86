"""Runs of a recogniser by the platform's own path: trained, validated, evaluated, tracked, and compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from raylift.config.recipe import Recipe
from raylift.console import run_job
from raylift.core.errors import ConfigError
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.comparison.runs import compare_runs
from raylift.models import catalogue
from raylift.runs.train import train
from raylift.tracking.address import default_tracking_uri
from raylift.tracking.reading import TrackingReader
from tests.evaluation.recognisable import prepare_slabs
from tests.scripts import load_script

SHORT = ("scale.workers=0", "schedule.num_steps=4", 'evaluation.symmetries=["dish=half_turn"]', "evaluation.panels=2")


@pytest.fixture(scope="module")
def slabs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_slabs(tmp_path_factory.mktemp("slabs"))


def recipe(*more: str) -> Recipe:
    return catalogue.get("recognition/resnet-test", [*SHORT, *more])


def test_two_runs_are_validated_evaluated_and_compared(
    slabs: ShardedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, tracking = tmp_path / "runs", default_tracking_uri(tmp_path / "runs")
    for name, seed in (("first", 0), ("second", 1)):
        outcome = train(recipe(f"seed={seed}"), slabs.uri, runs, name, tracking)
        metrics = outcome.fit.metrics
        assert {"val/joint_pi6", "val/constant/pose_pi6", "val/amodal_iou", "alarm/collapsed_classes"} <= set(metrics)
        job = load_script("jobs", "evaluate")
        monkeypatch.setattr(sys, "argv", ["evaluate.py", "--run", str(runs / name), "--data", slabs.uri])
        assert run_job(job.Arguments, job.main, job.__doc__) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("pose pi6 x100 by level of occlusion", "main scores on test", "fitted to 6 validation images"):
        assert text in printed
    folder = runs / "first" / "evaluation" / "test"
    assert {"scores.json", "panels.png", "worst.png"} <= {path.name for path in folder.iterdir()}
    assert "dish half turn" in json.loads((folder / "scores.json").read_text())["notes"][0]
    reader = TrackingReader(tracking)
    found = compare_runs([reader.read(reader.find(str(runs / name))) for name in ("first", "second")])
    assert found.shares_objects
    gains = {line.metric: line.gains[1] for line in found.scores}
    gain = gains["outline/amodal_iou"]
    assert gain is not None
    assert gain.num_objects == 6


def test_a_metric_that_is_not_measured_is_refused_before_training(slabs: ShardedDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="val/joint_pi6"):
        train(recipe("schedule.best_metric=val/iou"), slabs.uri, tmp_path, "refused")
