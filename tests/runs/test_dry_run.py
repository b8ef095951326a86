"""A training's checks and cost, without a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from raylift.commands.main import main
from raylift.console import EXIT_FAILED
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.models import catalogue
from raylift.runs import dry_run
from raylift.runs.dry_run import estimate_run
from tests.data.image_layouts import write_cutouts

TINY = ("scale.workers=0", "evaluation.panels=0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images to train on, one to validate on."""
    folder = tmp_path_factory.mktemp("images")
    source = open_source(f"cutouts:{write_cutouts(folder / 'pictures')}")
    names = sorted(item.id for item in source.items())
    splits = {name: "val" if index == 0 else "train" for index, name in enumerate(names)}
    ingest([source], str(folder / "data"), ImagesConfig(image_px=48), listed_splits=splits, parallel="none")
    return folder / "data"


def test_both_stages_are_checked_before_the_first_one_exists(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mesh_texture/umr-test", "--data", str(images), "--storage", str(tmp_path), "--tracking", "none"]
    assert main(["train", *words, "--dry-run", "stage2:schedule.num_steps=5", "data.batch_size=4", *TINY]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "run mesh_texture-umr-test.stage2" in told[-5]
    assert told[-4:-1] == [
        "  5 steps: 4 epochs of 5 objects",
        "  20 samples to train on, 4 per step, with 0 workers",
        "  2 evaluations of 1 validation samples",  # after steps 4 and 5
    ]
    assert f"start_from={tmp_path}/mesh_texture-umr-test.stage1" in told
    assert told[-1].startswith("nothing was started")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("schedule.best_metric=val/nothing",), "val/nothing"),
        (("scale.workers=100",), "too small for 100 workers"),
        (("data.categories=unicorns",), "no training objects"),
        (("start_from=nowhere",), "nowhere"),
        (("--name", "a/b"), "run name 'a/b'"),
    ],
)
def test_what_a_start_would_refuse_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    place = ["--data", str(images), "--storage", str(tmp_path)]
    assert main(["train", "mesh_texture/umr-test.stage1", *place, "--dry-run", *words]) == EXIT_FAILED
    assert problem in " ".join(capsys.readouterr().out.split())


def test_a_run_that_has_begun_counts_what_is_left(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [*TINY, "data.batch_size=4", "schedule.num_steps=8", "schedule.eval_every=3"]
    recipe = catalogue.get("mesh_texture/umr-test.stage1", short)
    before = estimate_run(recipe, images, tmp_path, "begun")
    assert (before.num_steps, before.done_steps, before.num_samples, before.num_evaluations) == (8, 0, 32, 3)
    last = SimpleNamespace(step=6)
    monkeypatch.setattr(dry_run, "checkpoint_store", lambda recipe, place: SimpleNamespace(last=lambda: last))
    after = estimate_run(recipe, images, tmp_path, "begun")
    assert (after.num_steps, after.done_steps, after.num_samples, after.num_evaluations) == (8, 6, 8, 1)
    last.step = 8
    ended = estimate_run(recipe, images, tmp_path, "begun")
    assert (ended.num_samples, ended.num_evaluations) == (0, 0)
