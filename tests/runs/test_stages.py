"""Two stages by one command, on a folder of cut-outs: each from the one before, each alone, each resumable."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from raylift.console import EXIT_FAILED, run_job
from raylift.core.errors import CheckpointError, ConfigError
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.models import catalogue
from raylift.runs.start import starting_checkpoint
from raylift.runs.train import train
from raylift.training.checkpoint import Checkpoint, CheckpointStore
from tests.data.image_layouts import write_cutouts
from tests.scripts import load_job

HERE = ("scale.workers=0", "evaluation.panels=0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images to train on, one to look at."""
    folder = tmp_path_factory.mktemp("images")
    source = open_source(f"cutouts:{write_cutouts(folder / 'pictures')}")
    names = sorted(item.id for item in source.items())
    splits = {name: "val" if index == 0 else "train" for index, name in enumerate(names)}
    ingest([source], str(folder / "data"), ImagesConfig(image_px=48), listed_splits=splits, parallel="none")
    return folder / "data"


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages of umr-test, by the job."""
    storage = tmp_path_factory.mktemp("runs")
    assert call(images, storage, "mesh_texture/umr-test", "--name", "both", "stage2:schedule.num_steps=5") == 0
    return storage


def call(images: Path, storage: Path, *words: str) -> int:
    job = load_job("train")
    arguments = ["train.py", *words, *HERE, "--data", str(images), "--storage", str(storage), "--tracking", "none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        return run_job(job.Arguments, job.main, job.__doc__)


def last(run: Path) -> Checkpoint:
    store = CheckpointStore(run / "checkpoints")
    entry = store.last()
    assert entry is not None
    return store.read(entry)


def test_stage_two_keeps_the_template_of_stage_one(runs: Path) -> None:
    first, second = last(runs / "both.stage1"), last(runs / "both.stage2")
    name = "network.template.positions"
    assert torch.equal(second.model[name], first.model[name])
    assert (first.entry.step, second.entry.step) == (8, 5)
    assert "val/mask_iou" in second.entry.metrics
    assert second.entry.recipe["start_from"] == str(runs / "both.stage1")
    assert second.entry.info["num_images"] == 5


def test_a_chain_begins_with_a_stage_of_another_model(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Poses, then cameras and shapes that are held to them; doubts are printed, and one path sets both stages."""
    same = "model.poses.ranges.azimuths=10"
    assert call(images, tmp_path, "mesh_texture/best-test", "--name", "posed", same, "stage1:schedule.num_steps=5") == 0
    assert "weakly determined" in " ".join(capsys.readouterr().out.split())
    poses, first = last(tmp_path / "posed.poses"), last(tmp_path / "posed.stage1")
    assert torch.equal(first.model["network.poses.views"], poses.model["posterior.views"])
    assert first.model["network.poses.bias"].shape == (10,)
    assert "val/mask_iou" in poses.entry.metrics
    other = ["model.poses.ranges.azimuths=12", f"start_from={tmp_path / 'posed.poses'}"]
    recipe = catalogue.get("mesh_texture/best-test.stage1", [*HERE, *other])
    with pytest.raises(CheckpointError, match=r"model\.poses"):
        train(recipe, images, tmp_path, "refused")


def test_the_same_command_finds_both_finished(images: Path, runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")}
    assert call(images, runs, "mesh_texture/umr-test", "--name", "both", "stage2:schedule.num_steps=5") == 0
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")} == before


def test_a_killed_stage_two_goes_on_without_stage_one(images: Path, runs: Path) -> None:
    """Once it has a checkpoint of its own, where it started from is not read again; the weights are the same bits."""
    recipe = catalogue.get(
        "mesh_texture/umr-test.stage2", [*HERE, "schedule.num_steps=5", f"start_from={runs / 'both.stage1'}"]
    )
    assert train(recipe, images, runs, "again").fit.step == 5
    store = CheckpointStore(runs / "again" / "checkpoints")
    entries = store.entries()
    assert [entry.step for entry in entries] == [4, 5]
    for suffix in ("json", "pt"):
        store.folder.delete(f"{entries[-1].stem}.{suffix}")
    (runs / "both.stage1").rename(runs / "elsewhere")
    try:
        assert train(recipe, images, runs, "again").fit.resumed_from == 4
    finally:
        (runs / "elsewhere").rename(runs / "both.stage1")
    expected = last(runs / "both.stage2").model
    assert all(torch.equal(value, expected[name]) for name, value in last(runs / "again").model.items())


def test_what_cannot_be_started_from_is_refused_before_anything_starts(images: Path, runs: Path) -> None:
    def start(path: object, *overrides: str) -> None:
        recipe = catalogue.get("mesh_texture/umr-test.stage2", [*HERE, f"start_from={path}", *overrides])
        train(recipe, images, runs, "refused")

    with pytest.raises(CheckpointError, match="has no checkpoint"):
        start(runs / "nothing")
    with pytest.raises(CheckpointError, match=r"positions.*\n.*model\.shape"):
        start(runs / "both.stage1", "model.shape.level=2")
    with pytest.raises(ConfigError, match="has no part maps"):
        start(runs / "both.stage1", "model.parts.use=always")
    assert not (runs / "refused").exists()
    # A run that stopped on its way: as if its last checkpoint were of step 8 of 20.
    entry = CheckpointStore(runs / "both.stage1" / "checkpoints").last()
    assert entry is not None
    sidecar = runs / "both.stage1" / "checkpoints" / f"{entry.stem}.json"
    whole = sidecar.read_text()
    sidecar.write_text(json.dumps(json.loads(whole) | {"num_steps": 20}))
    try:
        with pytest.raises(CheckpointError, match="stopped at step 8 of 20"):
            start(runs / "both.stage1")
        stopped = sidecar.with_suffix(".pt")
        recipe = catalogue.get("mesh_texture/umr-test.stage2", [f"start_from={stopped}"])
        assert starting_checkpoint(recipe)[1] == str(stopped)
    finally:
        sidecar.write_text(whole)
    with pytest.raises(ConfigError, match="belongs to the model 'mesh_texture'"):
        starting_checkpoint(catalogue.get("implicit/test", [f"start_from={runs / 'both.stage1'}"]))


def test_overrides_of_stages_are_checked(images: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(images, runs, "mesh_texture/umr-test", "stage3:seed=1") == EXIT_FAILED
    assert "known stages: stage1, stage2" in " ".join(capsys.readouterr().out.split())
    assert call(images, runs, "mesh_texture/umr-test", "stage2:sede=1") == EXIT_FAILED
    assert "did you mean 'seed'" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError, match=r"is a chain of mesh_texture/umr-test\.stage1"):
        catalogue.get("mesh_texture/umr-test")
