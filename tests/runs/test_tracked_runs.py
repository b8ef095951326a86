"""Runs of both models in a real store: what each must tell, a paper's table, comparing, registering."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from raylift.config.recipe import Recipe
from raylift.console import EXIT_FAILED, run_job
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.report import EvaluationReport
from raylift.models import catalogue
from raylift.runs.evaluate import evaluate_run, track_evaluation
from raylift.runs.reconstruct import Reconstructor
from raylift.runs.train import train
from raylift.tracking.address import default_tracking_uri
from tests.data.image_layouts import write_cutouts
from tests.export.test_viewer import data_of
from tests.scripts import load_script

HERE = ("scale.workers=0", "evaluation.panels=1", "evaluation.baselines=false")
SHORT = (*HERE, "schedule.num_steps=4", "schedule.log_every=1", "schedule.eval_every=2", "schedule.checkpoint_every=4")
TABLE = {
    "title": "What it is told",
    "source": "no paper",
    "recipe": "implicit/test",
    "data": "shapes",
    "columns": [{"metric": "occnet/iou", "paper": "as OccNet"}],
    "curves": ["loss/total", "val/iou"],
    "overrides": ['evaluation.protocols=["occnet"]'],
    "seeds": [0, 1],
    "rows": [
        {
            "name": "Voxels",
            "overrides": ["model.conditioning.kind=gt_sdf", "model.conditioning.resolution=32"],
            "paper": {"occnet/iou": 0.9},
        },
        {"name": "Image", "overrides": ["model.conditioning.kind=image"], "paper": {"occnet/iou": 0.7}},
    ],
    "claims": [
        {"better": "Voxels", "than": "Image", "metric": "occnet/iou"},
        {"better": "Voxels", "than": "Image", "metric": "val/iou", "by": "steps"},
    ],
}
NAMES = re.compile(
    r"epoch|loss/\w+|gradient_norm/\w+|learning_rate/\w+|throughput/(samples_per_s|step_s|data_wait_s|evaluation_s)"
    r"|val/([a-z_]+/)?(iou|mask_iou|ssim|thickness)(_median|_samples)?|alarm/\w+"
    r"|val/(solid_iou|depth_ratio|largest_component)(_median)?"
    r"|val/(azimuth_spread_deg|unseen_iou|canonical_iou|([a-z_]+/)?within_30)|test/[a-z_]+/[\w.]+_(mean|median)|system/[\w/]+"
)
"""The names that a metric may have, whatever the model."""


def call(folder: str, name: str, *words: object) -> int:
    """A script by its command line, in this process."""
    job = load_script(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        return run_job(job.Arguments, job.main, job.__doc__)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed since, on one line."""
    return lambda: " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Three chairs to train on, one to look at, two to test on."""
    folder = tmp_path_factory.mktemp("shapes")
    config = ShapesConfig(
        num_views=2, image_px=32, samples=300, cloud_points=500, surface_points=500, iou_points=4096,
        truth_resolution=32, scan_views=20, scan_px=64,
    )  # fmt: skip
    splits = ("train", "train", "train", "val", "test", "test")
    listed = {f"procedural/0-{index:05d}": split for index, split in enumerate(splits)}
    ingest([open_source("procedural:6")], str(folder), config, listed_splits=listed, parallel="none")
    return ShardedDataset.open(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Four cut-outs to train on, one to look at, one to test on."""
    folder = tmp_path_factory.mktemp("images")
    source = open_source(f"cutouts:{write_cutouts(folder / 'pictures')}")
    listed = dict(zip(sorted(item.id for item in source.items()), ("val", "test", *["train"] * 4), strict=True))
    ingest([source], str(folder / "data"), ImagesConfig(image_px=48), listed_splits=listed, parallel="none")
    return ShardedDataset.open(folder / "data")


@pytest.fixture(scope="module")
def storage(shapes: ShardedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs in which the table was run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "two.json").write_text(json.dumps(TABLE))
    words = (folder / "two.json", *SHORT, "--data", shapes.uri, "--storage", folder)
    assert call("tuning", "paper_table", *words) == 0
    return folder


@pytest.fixture(scope="module")
def birds(images: ShardedDataset, storage: Path) -> tuple[Recipe, Path]:
    """A run of the other model in the same store."""
    recipe = catalogue.get("mesh_texture/ucmr-test", SHORT)
    outcome = train(recipe, images.uri, storage, "birds", default_tracking_uri(storage))
    model = Reconstructor.of_run(outcome.place.folder, "cpu")
    found = evaluate_run(model, recipe, images, "test", storage / "birds" / "evaluation" / "test")
    track_evaluation(outcome.place.folder, "", found, images, 4)
    return recipe, storage / "birds"


def run_named(storage: Path, name: str) -> Run:
    client = MlflowClient(default_tracking_uri(storage))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"attributes.run_name = '{name}'")
    return run


def check_told(run: Run, recipe: Recipe, data: ShardedDataset) -> set[str]:
    """What MLflow's own comparison needs of a run of any model; gives the metrics' names."""
    strange = [name for name in run.data.metrics if not NAMES.fullmatch(name)]
    assert not strange
    assert run.data.params == {name: str(value) for name, value in recipe.flat().items()}
    fingerprint = data.manifest.fingerprint
    wanted = {"model": recipe.model_name, "recipe": recipe.name, "data.uri": data.uri,
              "data.fingerprint": fingerprint, "evaluation.test.data": fingerprint}  # fmt: skip
    assert {name: run.data.tags.get(name) for name in wanted} == wanted
    assert {"git.revision", "version.torch", "run.folder"} <= run.data.tags.keys()
    assert {entry.dataset.digest for entry in run.inputs.dataset_inputs} == {fingerprint[:36]}
    return set(run.data.metrics)


def test_both_models_tell_the_same_things(
    storage: Path, birds: tuple[Recipe, Path], shapes: ShardedDataset, images: ShardedDataset
) -> None:
    about = json.loads((storage / "two.voxels.seed0" / "run.json").read_text())
    recipe = catalogue.from_json(json.dumps(about["recipe"]))
    ours = check_told(run_named(storage, "two.voxels.seed0"), recipe, shapes)
    theirs = check_told(run_named(storage, "birds"), birds[0], images)
    alike = {"epoch", "loss/total", "throughput/samples_per_s", "throughput/step_s", "throughput/data_wait_s"}
    assert alike <= ours & theirs
    assert {"val/iou", "test/occnet/iou_mean"} <= ours
    assert {"val/mask_iou", "val/ssim", "test/input/mask_soft_mean", "test/input/ssim_median"} <= theirs


def test_a_table_is_a_run_with_its_rows_as_children(storage: Path) -> None:
    client = MlflowClient(default_tracking_uri(storage))
    parent = run_named(storage, "two")
    assert (parent.info.status, parent.data.tags["kind"]) == ("FINISHED", "table")
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_name for run in children} == {
        f"two.{row}.seed{seed}" for row in ("voxels", "image") for seed in (0, 1)
    }  # fmt: skip
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "table")} == {
        f"table/{name}" for name in ("table.html", "two.json", "scores.json", "directions.json")
    }  # fmt: skip
    figures = json.loads((storage / "two" / "scores.json").read_text())
    assert [(line["row"], line["seeds"], line["objects"], line["paper"]) for line in figures] == [
        ("Voxels", 2, 2, 0.9), ("Image", 2, 2, 0.7)
    ]  # fmt: skip
    by_score, by_steps = json.loads((storage / "two" / "directions.json").read_text())
    assert (by_score["verdict"], by_score["objects"], by_score["seeds"]) == ("undecided", 2, 2)
    assert by_score["paper_gain"] == pytest.approx(0.2)
    assert "too few" in by_steps["why"]
    page = data_of((storage / "two" / "table.html").read_text())
    assert [(chart["title"], len(chart["lines"])) for chart in page["charts"]] == [("loss/total", 4), ("val/iou", 4)]


def test_the_same_table_does_only_what_is_missing(
    storage: Path, shapes: ShardedDataset, images: ShardedDataset, said: Callable[[], str]
) -> None:
    words = (storage / "two.json", *SHORT)
    checkpoints = {path: path.stat().st_mtime_ns for path in storage.rglob("*.pt")}
    (storage / "two.image.seed1" / "scores-of-table.json").unlink()
    assert call("tuning", "paper_table", *words, "--storage", storage, "--data", shapes.uri) == 0
    printed = said()
    assert "evaluating two.image.seed1" in printed
    assert printed.count("evaluating") == 1
    assert "training" not in printed
    assert {path: path.stat().st_mtime_ns for path in storage.rglob("*.pt")} == checkpoints
    for changed, message in (
        (("model.weights.sdf=5", "--data", shapes.uri), "was trained with other recipe"),
        (("--data", images.uri), "holds images, but the table 'What it is told' needs shapes"),
        (("--data", shapes.uri, "--rows", "Voxel"), "has no row 'Voxel'"),
    ):
        assert call("tuning", "paper_table", *words, *changed, "--storage", storage) == EXIT_FAILED
        assert message in said()


def test_two_rows_are_compared_and_the_page_is_logged(storage: Path, said: Callable[[], str]) -> None:
    out = storage / "compare.html"
    runs = (storage / "two.image.seed0", "two.voxels.seed0")
    assert call("jobs", "compare", *runs, "--out", out) == 0, said()
    text = out.read_text()
    page = data_of(text)
    assert {"val/iou", "loss/total"} <= {chart["title"] for chart in page["charts"]}
    assert "model.conditioning.kind" in text
    assert "gt_sdf" in text
    client = MlflowClient(default_tracking_uri(storage))
    for name in ("two.image.seed0", "two.voxels.seed0"):
        listed = client.list_artifacts(run_named(storage, name).info.run_id, "comparisons")
        assert [item.path for item in listed] == ["comparisons/compare.html"]


def test_what_cannot_be_compared_is_refused(
    storage: Path, birds: tuple[Recipe, Path], said: Callable[[], str], tmp_path: Path
) -> None:
    run = storage / "two.voxels.seed0"
    for words, message in (
        ((run, birds[1]), "nothing in these runs can be compared: two.voxels.seed0: implicit, birds: mesh_texture"),
        ((run, "two.voxles.seed0"), "did you mean 'two.voxels.seed0'?"),
        ((run,), "name two or more different runs"),
        ((run, birds[1], "--tracking", default_tracking_uri(tmp_path)), "there is no tracking store"),
    ):
        assert call("jobs", "compare", *words, "--out", tmp_path / "c.html") == EXIT_FAILED
        assert message in said()
    assert not (tmp_path / "c.html").exists()


def test_a_run_that_is_measured_again_has_the_new_scores_and_its_old_status(
    storage: Path, birds: tuple[Recipe, Path], images: ShardedDataset, tmp_path: Path
) -> None:
    recipe, folder = birds
    before = run_named(storage, "birds")
    client = MlflowClient(default_tracking_uri(storage))
    client.update_run(before.info.run_id, status="FAILED")
    found = evaluate_run(Reconstructor.of_run(str(folder), "cpu"), recipe, images, "test", tmp_path)
    scores = {name: value + 0.125 for name, value in found.report.metrics().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EvaluationReport, "metrics", lambda report: scores)
        track_evaluation(str(folder), "", found, images, 4)
    after = run_named(storage, "birds")
    assert {name: after.data.metrics[name] for name in scores} == scores
    assert after.info.status == "FAILED"
    track_evaluation(str(folder), "", found, images, 4)
    client.update_run(before.info.run_id, status="FINISHED")
    assert run_named(storage, "birds").data.metrics == before.data.metrics


def test_a_registered_model_reconstructs_by_its_alias(
    storage: Path, birds: tuple[Recipe, Path], images: ShardedDataset, said: Callable[[], str], tmp_path: Path
) -> None:
    uri = default_tracking_uri(storage)
    client = MlflowClient(uri)
    client.update_run(run_named(storage, "birds").info.run_id, status="KILLED")
    assert call("jobs", "register", birds[1], "--model", "birds", "--alias", "best") == 0, said()
    assert "models:/birds@best" in said()
    assert run_named(storage, "birds").info.status == "KILLED", "it is no better for being registered"
    # The same model again is no new version.
    assert call("jobs", "register", "birds", "--model", "birds", "--alias", "best", "--tracking", uri) == 0
    assert "version 1 of birds" in said()
    version = client.get_model_version_by_alias("birds", "best")
    assert version.run_id == run_named(storage, "birds").info.run_id
    pictures = write_cutouts(tmp_path / "pictures", 2)
    words: tuple[Any, ...] = (
        "--tracking-uri",
        uri,
        "--images",
        pictures / "birds" / "some_thing-1.png",
        "--out",
        tmp_path / "out",
    )
    assert call("jobs", "reconstruct", "--model", "models:/birds@best", *words, "--formats", "glb") == 0, said()
    assert len(list((tmp_path / "out").glob("*.glb"))) == 1
    assert call("jobs", "reconstruct", "--model", "models:/birds@wrost", *words) == EXIT_FAILED
    assert "cannot fetch the model models:/birds@wrost" in said()
