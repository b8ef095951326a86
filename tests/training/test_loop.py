"""The loop: a restart is invisible (law 4), what is due happens, and bad input stops it with its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.config.optimizers import OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.errors import CheckpointError, ConfigError, TrainingError
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch
from raylift.testing.ranks import run_ranks
from raylift.tracking.tracker import MemoryTracker
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import FitOutcome, Hooks, RunProgress, fit
from raylift.training.plan import FitPlan, RunIdentity
from tests.training.toy import BATCH, ToyModel, epoch_of, feed

NUM_STEPS = 11
OPTIMIZERS = {"default": OptimizerConfig(learning_rate=0.05, ema_decay=0.9)}
# Intervals that do not divide one another: checkpoints fall inside of logging windows.
SCHEDULE = ScheduleConfig(num_steps=NUM_STEPS, log_every=3, eval_every=5, checkpoint_every=4, keep_last=2)
RECIPE = {"name": "toy", "schedule": {"num_steps": NUM_STEPS}}


class Killed(Exception):
    pass


def _evaluate(model: ReconstructionModel, done: int) -> dict[str, float]:
    assert not model.training
    return {"val/iou": float(model.state_dict()["hidden"].abs().sum()) / (1 + abs(done - 5))}


def _run(
    folder: Path | None,
    killed_after: int | None = None,
    tracker: MemoryTracker | None = None,
    reports: list[RunProgress] | None = None,
    recipe: Mapping[str, object] = RECIPE,
) -> tuple[ToyModel, FitOutcome | None]:
    model = ToyModel()

    def killable(start: int, stop: int) -> Iterator[Batch]:
        for step, batch in zip(range(start, stop), feed()(start, stop), strict=True):
            if step == killed_after:
                raise Killed
            yield batch

    try:
        outcome = fit(
            model,
            killable,
            FitPlan(
                OPTIMIZERS,
                SCHEDULE,
                epoch_of=epoch_of,
                seed=3,
                checkpoints=None if folder is None else CheckpointStore(folder),
                identity=RunIdentity(recipe, free_paths=("scale",)),
            ),
            Hooks(evaluate=_evaluate, tracker=tracker, on_progress=None if reports is None else reports.append),
        )
    except Killed:
        return model, None
    return model, outcome


def _told(trackers: list[MemoryTracker]) -> dict[int, dict[str, float]]:
    """What the trackers were told, by step, without wall times; what is told twice must be told alike."""
    told: dict[int, dict[str, float]] = {}
    for step, metrics in (entry for tracker in trackers for entry in tracker.metrics):
        news = {name: value for name, value in metrics.items() if not name.startswith("throughput/")}
        assert told.setdefault(step, news) == news
    return told


@pytest.mark.parametrize("killed_after", [1, 4, 5, 6, 9, 10])
def test_a_restart_is_invisible(tmp_path: Path, killed_after: int) -> None:
    """Weights, buffers, averages and every logged number are those of the run that was never killed, bit by bit."""
    whole, again = MemoryTracker(), [MemoryTracker(), MemoryTracker(), MemoryTracker()]
    model, _ = _run(tmp_path / "whole", tracker=whole)
    _, outcome = _run(tmp_path / "killed", killed_after, again[0])
    assert outcome is None
    _run(tmp_path / "killed", min(killed_after + 2, NUM_STEPS - 1), again[1])
    resumed, outcome = _run(tmp_path / "killed", None, again[2])
    assert outcome is not None
    assert outcome.step == NUM_STEPS
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    stores = [CheckpointStore(tmp_path / name) for name in ("whole", "killed")]
    averages = [store.read(entry).averages for store in stores if (entry := store.last())]
    assert all(torch.equal(value, averages[1][name]) for name, value in averages[0].items())
    assert _told(again) == _told([whole])


def test_checkpoints_are_invisible_too(tmp_path: Path) -> None:
    with_checkpoints, without = MemoryTracker(), MemoryTracker()
    model, _ = _run(tmp_path, tracker=with_checkpoints)
    other, _ = _run(None, tracker=without)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    assert _told([with_checkpoints]) == _told([without])


def _resumed_on_ranks(folder: str) -> dict[int, dict[str, float]]:
    tracker = MemoryTracker()
    _run(Path(folder), tracker=tracker)
    return _told([tracker])


def test_a_run_may_go_on_with_more_workers(tmp_path: Path) -> None:
    """Six steps on one rank, five on two: the numbers of one rank all the way (law 1 and law 4 together)."""
    whole, first = MemoryTracker(), MemoryTracker()
    _run(tmp_path / "whole", tracker=whole)
    _run(tmp_path / "moved", 6, first)
    later = run_ranks(2, _resumed_on_ranks, str(tmp_path / "moved"))
    assert later[1] == {}, "only rank 0 tracks"
    told = {**_told([first]), **later[0]}
    expected = _told([whole])
    assert sorted(told) == sorted(expected)
    for step, metrics in expected.items():
        assert told[step] == pytest.approx(metrics, rel=1e-10)


def test_what_is_due_happens_and_is_reported(tmp_path: Path) -> None:
    tracker, reports = MemoryTracker(), list[RunProgress]()
    _, outcome = _run(tmp_path, tracker=tracker, reports=reports)
    assert [step for step, metrics in tracker.metrics if "loss/residual" in metrics] == [3, 6, 9, 11]
    assert [step for step, metrics in tracker.metrics if "val/iou" in metrics] == [5, 10, 11]
    # Those of steps 4 and 8 are written meanwhile; by the next report there is a newer one.
    assert [report.step for report in reports if report.checkpoint] == [5, 10, 11]
    assert {"throughput/samples_per_s", "throughput/step_s", "throughput/data_wait_s"} < set(tracker.metrics[0][1])
    assert outcome is not None
    assert (outcome.step, outcome.resumed_from) == (NUM_STEPS, None)
    assert outcome.best is not None
    assert outcome.best.endswith("step-00000005.pt")
    assert outcome.last is not None
    assert outcome.last.endswith("step-00000011.pt")
    assert outcome.best_metrics["val/iou"] > outcome.metrics["val/iou"]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    _run(tmp_path)
    tracker = MemoryTracker()
    _, outcome = _run(tmp_path, killed_after=0, tracker=tracker)
    assert outcome is not None
    assert (outcome.step, outcome.resumed_from) == (NUM_STEPS, NUM_STEPS)
    assert tracker.metrics == []
    assert "val/iou" in outcome.metrics


def test_pictures_are_drawn_when_due_with_averaged_weights_and_the_weights_come_back() -> None:
    seen: list[tuple[int, torch.Tensor]] = []
    model = ToyModel()

    def draw(model: ReconstructionModel, done: int) -> None:
        assert not model.training
        seen.append((done, model.state_dict()["hidden"].clone()))

    fit(model, feed(), FitPlan(OPTIMIZERS, replace(SCHEDULE, panel_every=4)), Hooks(draw=draw))
    assert [done for done, _ in seen] == [4, 8, 11]
    assert not torch.equal(seen[-1][1], model.hidden), "the averaged weights were drawn, the trained ones are back"
    assert model.training


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, killed_after=6)
    with pytest.raises(CheckpointError, match=r"schedule\.num_steps: 11 there, 12 now"):
        _run(tmp_path, recipe={"name": "toy", "schedule": {"num_steps": 12}})
    # What does not decide what is learned may change.
    _run(tmp_path, recipe={**RECIPE, "scale": {"workers": 7}})


def test_a_damaged_checkpoint_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    whole = MemoryTracker()
    _run(tmp_path / "whole", tracker=whole)
    folder = tmp_path / "run"
    _run(folder, killed_after=9)
    (folder / "step-00000008.pt").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"last good checkpoint is .*step-00000005\.pt; delete step-00000008"):
        _run(folder)
    (folder / "step-00000008.pt").unlink()
    (folder / "step-00000008.json").unlink()
    tracker = MemoryTracker()
    _, outcome = _run(folder, tracker=tracker)
    assert outcome is not None
    assert outcome.resumed_from == 5
    assert _told([tracker]) == {step: metrics for step, metrics in _told([whole]).items() if step > 5}


def test_data_that_ends_too_early_is_an_error() -> None:
    with pytest.raises(TrainingError, match="the data ended at step 4 of 11"):
        fit(ToyModel(), lambda start, stop: feed()(start, 4), FitPlan(OPTIMIZERS, SCHEDULE))


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint_good(tmp_path: Path) -> None:
    def poison(step: int, batch: Batch) -> Batch:
        return replace(batch, fields={**batch.fields, "y": batch["y"] * (float("inf") if step == 6 else 1)})

    store = CheckpointStore(tmp_path)
    with pytest.raises(TrainingError, match=r"step 6, phase 'generate': term residual, doubt, watched is not finite"):
        fit(ToyModel(), feed(poison), FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store))
    last = store.last()
    assert last is not None
    assert last.step == 4
    store.read(last)


def test_training_learns() -> None:
    """The toy reaches a tenth of its first loss: averages of gradients, rates and updates have the right signs."""
    tracker = MemoryTracker()
    schedule = ScheduleConfig(num_steps=300, log_every=20)
    slow = {"default": replace(OPTIMIZERS["default"], learning_rate=0.02)}
    fit(ToyModel(), feed(), FitPlan(slow, schedule), Hooks(tracker=tracker))
    losses = [metrics["loss/residual"] for _, metrics in tracker.metrics]
    assert losses[-1] < 0.1 * losses[0]


def test_averages_count_the_plans_batches() -> None:
    half_life = {"default": OptimizerConfig(ema_half_life_images=20 * BATCH)}
    short = replace(SCHEDULE, num_steps=3)
    with pytest.raises(ConfigError, match="size of the batch"):
        fit(ToyModel(), feed(), FitPlan(half_life, short))
    assert fit(ToyModel(), feed(), FitPlan(half_life, short, batch_size=BATCH)).step == 3
