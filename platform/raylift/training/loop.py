"""The training loop: from the last checkpoint, or the start, to the last step. Imports neither Ray nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from raylift.core.collectives import from_main, gather_objects, is_main
from raylift.core.errors import CheckpointError, TrainingError
from raylift.core.model import Model
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.tracking.tracker import Tracker
from raylift.training.background_commit import BackgroundCommit
from raylift.training.checkpoint import check_recipe, load_state
from raylift.training.metric_accumulator import MetricAccumulator
from raylift.training.parameter_groups import ParameterGroup, averaged, build_groups
from raylift.training.plan import FitPlan
from raylift.training.prefetch import prefetched
from raylift.training.snapshot import Snapshot
from raylift.training.step import TrainingStep

BatchSource = Callable[[int, int], Iterator[Batch]]
"""(start step, stop step) -> this rank's part of each global batch in between."""


@dataclass(frozen=True)
class RunProgress:
    """What a run reports after a step.

    Attributes:
        step: optimizer steps done.
        num_steps: steps of the whole run.
        metrics: values by name, from the training window, an evaluation, or both.
        checkpoint: path of the newest checkpoint that has been committed since the last report, or None: of this step
            if it was evaluated or is the last, else of an earlier one, which was written while training went on.
    """

    step: int
    num_steps: int
    metrics: dict[str, float]
    checkpoint: str | None = None


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a run; all are optional.

    Attributes:
        evaluate: (model in eval mode, steps done) -> metrics. Every rank evaluates its share; all return the same.
        draw: (model in eval mode, steps done): draws fixed held-out objects; called on rank 0 only.
        on_progress: called on every rank after each log, evaluation and commit.
        tracker: used on rank 0 only.
    """

    evaluate: Callable[[Model, int], Mapping[str, float]] | None = None
    draw: Callable[[Model, int], None] | None = None
    on_progress: Callable[[RunProgress], None] | None = None
    tracker: Tracker | None = None


@dataclass(frozen=True)
class FitOutcome:
    """How a run ended.

    Attributes:
        step: optimizer steps done in total.
        resumed_from: step of the checkpoint that it resumed from, or None.
        metrics: the last logged and evaluated metrics, by name.
        last, best: paths of checkpoints, if there is a store.
        best_metrics: metrics of the best checkpoint.
        doubts: the model's own reasons to distrust its result (``Model.doubts``).
    """

    step: int
    resumed_from: int | None
    metrics: dict[str, float]
    last: str | None = None
    best: str | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def fit(model: Model, feed: BatchSource, plan: FitPlan, hooks: Hooks | None = None) -> FitOutcome:
    """Train a model to the plan's last step, from its last checkpoint if there is one.

    Every rank calls this with the same plan, and a feed for its own part. A checkpoint is committed every
    ``checkpoint_every`` steps, after every evaluation (so that the best one is always kept) and at the end; a thread
    writes it while training goes on, and a failure to do so is raised when the next one is due.

    Args:
        feed: must be a pure function of the steps asked for; a resumed run starts it in the middle (law 4). It is read
            by another thread, up to two batches ahead.

    Raises:
        TrainingError: a loss or gradient that is not finite, or data that ends too early.
        CheckpointError: a damaged checkpoint, one of another recipe, or storage that cannot be written.
    """
    run = _Run(model, plan, hooks or Hooks())
    resumed_from = run.resume()
    if resumed_from is None and plan.init_fn is not None:
        run.initialise(plan.init_fn)
    step = TrainingStep(run.model, run.groups, plan.bf16)
    start, num_steps = resumed_from or 0, plan.total_steps
    run.stopwatch.restart()
    with run.finished_commits(), prefetched(lambda: feed(start, num_steps), run.device) as batches:
        for done in range(start, num_steps):
            waited = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                raise TrainingError(
                    f"the data ended at step {done} of {num_steps}", "the feed must yield one batch per step"
                )
            run.stopwatch.waited_s += time.perf_counter() - waited
            step_info = StepInfo(done, num_steps, plan.epoch_of(done), plan.seed)
            step.run(batch, step_info, run.accumulator)
            run.accumulator.add_share("samples", float(len(batch)))
            run.stopwatch.num_steps += 1
            if run.is_due(step_info):
                step.settle()
            run.after_step(step_info)
    return run.outcome(resumed_from)


@dataclass
class _Stopwatch:
    """Wall time of a window of steps, without evaluations and checkpoints."""

    started: float = 0.0
    waited_s: float = 0.0
    num_steps: int = 0
    spent_s: float = 0.0

    def restart(self) -> None:
        self.started, self.waited_s, self.num_steps, self.spent_s = time.perf_counter(), 0.0, 0, 0.0

    def pause(self) -> None:
        self.spent_s += time.perf_counter() - self.started

    def go_on(self) -> None:
        self.started = time.perf_counter()

    def read(self, samples_a_step: float) -> dict[str, float]:
        spent = max(1e-9, self.spent_s + time.perf_counter() - self.started)
        steps = max(1, self.num_steps)
        return {
            "throughput/samples_per_s": samples_a_step * self.num_steps / spent,
            "throughput/step_s": spent / steps,
            "throughput/data_wait_s": self.waited_s / steps,
        }


class _Run:
    """The state of one fit, and what happens between its steps."""

    def __init__(self, model: Model, plan: FitPlan, hooks: Hooks) -> None:
        self.device = torch.device(plan.device)
        self.model = model.to(self.device)
        self.groups: dict[str, ParameterGroup] = build_groups(self.model, plan.optimizers, plan.batch_size)
        self.schedule, self.num_steps = plan.schedule, plan.total_steps
        self.checkpoints, self.identity = plan.checkpoints, plan.identity
        self.hooks = hooks
        self.accumulator = MetricAccumulator(self.device)
        self.stopwatch = _Stopwatch()
        self.metrics: dict[str, float] = {}
        self.commit: BackgroundCommit | None = None
        self.is_committing, self.committed_at = False, time.monotonic()

    def initialise(self, init_fn: Callable[[Model], None]) -> None:
        """Initialise the fresh model; averages of parameters restart from there."""
        init_fn(self.model)
        for group in self.groups.values():
            group.restart_average()

    def resume(self) -> int | None:
        """Load the last checkpoint; returns its step, or None if there is none."""
        if self.checkpoints is None:
            return None
        entry = self.checkpoints.last()
        seen = gather_objects(None if entry is None else (entry.step, entry.sha256))
        if len(set(seen)) > 1:
            raise CheckpointError(
                f"the workers do not see the same last checkpoint in {self.checkpoints.folder.uri}",
                "storage must be shared by all nodes: a network folder or s3://",
            )
        if entry is None:
            return None
        where = self.checkpoints.path(entry)
        check_recipe(entry, self.identity.recipe, self.identity.free_paths, where, self.identity.data)
        store, found = self.checkpoints, entry
        checkpoint = from_main(lambda: store.read(found))
        load_state(self.model, checkpoint.model, where)
        if sorted(checkpoint.groups) != sorted(self.groups):
            raise CheckpointError(
                f"{where} has groups {sorted(checkpoint.groups)}, the model {sorted(self.groups)}",
                "resume with the recipe that the run was started with",
            )
        for name, group in self.groups.items():
            group.restore(checkpoint.groups[name])
        self.accumulator.restore(checkpoint.accumulator)
        self.metrics.update(entry.metrics)
        return entry.step

    def is_due(self, step_info: StepInfo) -> bool:
        """Whether anything happens after this step that reads what was trained."""
        schedule = self.schedule
        every = (schedule.log_every, schedule.eval_every, schedule.panel_every, schedule.checkpoint_every)
        return step_info.step + 1 == self.num_steps or any(step_info.is_due(one) for one in every)

    def after_step(self, step_info: StepInfo) -> None:
        """Log, evaluate, draw, commit and report what is due."""
        done, is_last = step_info.step + 1, step_info.step + 1 == self.num_steps
        window: dict[str, float] = {}
        if is_last or step_info.is_due(self.schedule.log_every):
            window = self._window(step_info)
        self.stopwatch.pause()
        evaluates = self.hooks.evaluate is not None and (is_last or step_info.is_due(self.schedule.eval_every))
        commits = self._is_commit_due(step_info, is_last or evaluates, bool(window))
        committed = self._start_commit(done) if commits else None
        evaluated = self._evaluate(done) if evaluates else {}
        if self.hooks.draw is not None and (is_last or step_info.is_due(self.schedule.panel_every)):
            self._draw(done)
        metrics = {**window, **evaluated}
        self.metrics.update(metrics)
        if metrics and self.hooks.tracker is not None and is_main():
            self.hooks.tracker.log_metrics(metrics, done)
        if commits:
            if self.commit is not None:
                self.commit.set_metrics(evaluated)
            if is_last or evaluates:
                committed = self._finish_commit()
        if self.hooks.on_progress is not None and (metrics or committed):
            self.hooks.on_progress(RunProgress(done, self.num_steps, metrics, committed))
        self.stopwatch.go_on()

    def _window(self, step_info: StepInfo) -> dict[str, float]:
        means = self.accumulator.flush()
        means |= self.stopwatch.read(means.pop("samples", 0.0))
        self.stopwatch.restart()
        return {**means, "epoch": float(step_info.epoch)}

    def _evaluate(self, done: int) -> dict[str, float]:
        evaluate = self.hooks.evaluate
        assert evaluate is not None
        started = time.perf_counter()
        with averaged(list(self.groups.values())), torch.no_grad():
            self.model.eval()
            try:
                found = dict(evaluate(self.model, done))
            finally:
                self.model.train()
        return {**found, "throughput/evaluation_s": time.perf_counter() - started}

    def _draw(self, done: int) -> None:
        if self.hooks.draw is None or not is_main():
            return
        with averaged(list(self.groups.values())), torch.no_grad():
            self.model.eval()
            try:
                self.hooks.draw(self.model, done)
            finally:
                self.model.train()

    def _is_commit_due(self, step_info: StepInfo, is_needed: bool, is_logged: bool) -> bool:
        """Whether to start a checkpoint now; the same on every rank."""
        if is_needed or step_info.is_due(self.schedule.checkpoint_every):
            return True
        every_s = self.schedule.checkpoint_every_s
        # Rank 0's clock decides for all.
        return bool(every_s and is_logged and from_main(lambda: time.monotonic() - self.committed_at >= every_s))

    def _start_commit(self, done: int) -> str | None:
        """Let a thread of rank 0 write a checkpoint; returns the path of the one before, if none reported it."""
        if self.checkpoints is None:
            return None
        before = self._finish_commit()
        window = self.accumulator.fold()
        self.is_committing, self.committed_at = True, time.monotonic()
        if is_main():
            snapshot = Snapshot.take(
                step=done,
                num_steps=self.num_steps,
                model=self.model,
                groups={name: group.state() for name, group in self.groups.items()},
                recipe=self.identity.recipe,
                data=self.identity.data,
                info=self.identity.info,
                accumulator=window,
            )
            self.commit = BackgroundCommit(self.checkpoints, snapshot)
        return before

    def _finish_commit(self) -> str | None:
        """Wait for the checkpoint that is being written; returns its path, on every rank.

        Raises:
            RayliftError: it could not be written; on every rank.
        """
        if not self.is_committing:
            return None
        self.is_committing = False
        return from_main(lambda: self.commit.finish() if self.commit is not None else None)

    @contextmanager
    def finished_commits(self) -> Iterator[None]:
        """Leave no checkpoint half written: after an error, too, the last one that was started is committed."""
        try:
            yield
        finally:
            if self.commit is not None:
                self.commit.abandon()

    def outcome(self, resumed_from: int | None) -> FitOutcome:
        last = best = None
        if self.checkpoints is not None:
            last, best = self.checkpoints.last(), self.checkpoints.best()
        return FitOutcome(
            step=self.num_steps,
            resumed_from=resumed_from,
            metrics=dict(self.metrics),
            last=self.checkpoints.path(last) if self.checkpoints and last else None,
            best=self.checkpoints.path(best) if self.checkpoints and best else None,
            best_metrics=dict(best.metrics) if best else {},
            doubts=self.model.doubts(),
        )
