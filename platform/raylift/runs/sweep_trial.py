"""One trial of a sweep, in its own Tune process: a run of ``runs.train``, watched, recorded and reported."""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ray import tune

from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, NonFiniteError, RayliftError
from raylift.core.storage import Storage
from raylift.models import catalogue
from raylift.runs.train import TrainOutcome, train
from raylift.runs.worker import CHECKPOINTS
from raylift.sweeps import config as sweeps
from raylift.sweeps.records import End, Generation, SweepFolder, Trial
from raylift.sweeps.space import Values
from raylift.sweeps.stop_rules import Observation, reason_to_stop
from raylift.sweeps.trial_recipes import trial_recipe
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import RunProgress

ORIGIN = "origin.json"


class MetricError(ConfigError):
    """The sweep's metric is not among those that trials report, so every other trial would fail too."""


@dataclass(frozen=True)
class TrialPlace:
    """The settings that all trials of a sweep share; plain values, since they cross process boundaries.

    Attributes:
        sweep: ``Sweep.to_dict``.
        recipe: the base recipe as JSON.
        folder: folder of the sweep.
        data, tracking, experiment, parent_run_id: see ``runs.worker.RunPaths``.
    """

    sweep: dict[str, Any]
    recipe: str
    folder: str
    data: str
    tracking: str = ""
    experiment: str = ""
    parent_run_id: str = ""


def run_trial(config: dict[str, Any], place: TrialPlace) -> None:
    """What Tune calls: the trial of this process's name, with the values of ``config``."""
    number = int(tune.get_context().get_trial_name().rpartition("-")[2])
    sweep = sweeps.from_dict(place.sweep)
    values = {path: value for path, value in config.items() if path in sweep.space.dimensions}
    folder = SweepFolder(place.folder)
    trial = folder.trial(number)
    handed = tune.get_checkpoint()
    base = catalogue.from_json(place.recipe)
    if base.scale.workers == 0:
        # A Ray that we start gives every process one thread.
        torch.set_num_threads(max(1, int(base.scale.cpus_per_worker)))
    reporter = Reporter(sweep, place, trial)
    if handed is not None:
        reporter.take_up(handed, base, values)
    elif trial.reports:
        reporter.repeat()
    reporter.run(base)


class Reporter:
    """Runs a trial, keeps its record, and reports to Tune what its scheduler needs."""

    def __init__(self, sweep: sweeps.Sweep, place: TrialPlace, trial: Trial) -> None:
        self.sweep, self.place = sweep, place
        self.trial = replace(trial, generations=trial.generations or (trial.generation,))
        self.folder = SweepFolder(place.folder)
        self._is_population = sweep.scheduler.kind == "pbt"
        self._history: list[Observation] = list(trial.reports)
        self._has_reported = False
        self._seconds, self._started = trial.seconds, time.monotonic()
        self._steps_before, self._first_step = trial.steps, trial.step

    # -- population-based training -------------------------------------------------------------------------------------

    def take_up(self, handed: Any, base: Recipe, values: Values) -> None:
        """Resume from the checkpoint that Tune passes: the trial's own after a pause, or a better trial's."""
        with handed.as_directory() as folder:
            origin = json.loads((Path(folder) / ORIGIN).read_text())
            if origin["trial"] == self.trial.number and values == self.trial.generation.values:
                return
            step = int(origin["step"])
            run = f"{self.trial.name}.g{len(self.trial.generations)}"
            stem = f"step-{step:08d}"
            store = CheckpointStore(f"{self.folder.runs}/{run}/{CHECKPOINTS}")
            content, described = (Path(folder) / f"{stem}{end}" for end in (".pt", ".json"))
            store.import_checkpoint(content.read_bytes(), described.read_bytes(), trial_recipe(base, values).to_dict())
        generation = Generation(run, values, int(origin["trial"]), step)
        # Its own scores belong to a discarded model; from here on the trial continues the other's.
        reports = (Observation(step, origin["metrics"]),)
        self.trial = replace(self.trial, generations=(*self.trial.generations, generation), reports=reports)
        self._history, self._first_step = list(reports), step
        self._tell()

    def _copy(self, report: Observation, path: str, folder: str) -> Any:
        """A copy of a committed checkpoint for Tune, which may hand it to any trial at any time."""
        source, _, name = path.rpartition("/")
        for part in (name, f"{name.removesuffix('.pt')}.json"):
            (Path(folder) / part).write_bytes(Storage.at(source).read(part))
        origin = {"trial": self.trial.number, "step": report.step, "metrics": dict(report.metrics)}
        (Path(folder) / ORIGIN).write_text(json.dumps(origin))
        return tune.Checkpoint.from_directory(folder)

    # -- reports -------------------------------------------------------------------------------------------------------

    def repeat(self) -> None:
        """Report to Tune again what an earlier command reported, so that its scheduler compares with it."""
        if not self._is_population:
            for report in self.trial.reports:
                self._report(report, None)
            return
        store = CheckpointStore(f"{self.folder.runs}/{self.trial.generation.run}/{CHECKPOINTS}")
        entry = next((entry for entry in store.entries() if entry.step == self.trial.step), None)
        if entry is not None:
            self._report(self.trial.reports[-1], store.path(entry))

    def _report(self, report: Observation, checkpoint: str | None) -> None:
        scores = {metric.name: report.metrics[metric.name] for metric in self.sweep.metrics}
        # Tune has made its own copy when `report` returns.
        with tempfile.TemporaryDirectory(prefix="raylift-pbt-") as folder:
            handed = self._copy(report, checkpoint, folder) if checkpoint and self._is_population else None
            tune.report({**scores, "step": report.step}, checkpoint=handed)
        self._has_reported = True

    def _tell(self, end: End | None = None, step: int = 0) -> None:
        spent = self._seconds + time.monotonic() - self._started
        steps = self._steps_before + max(0, max(step, self.trial.step) - self._first_step)
        self.trial = replace(self.trial, seconds=spent, steps=steps)
        self.folder.tell(self.trial.number, self.trial, end)

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self, base: Recipe) -> None:
        """Train to the end, or until a rule stops it; errors are recorded before they are raised."""
        self._tell()
        try:
            recipe = trial_recipe(base, self.trial.generation.values)
            training = _Training(lambda progress: self._train(recipe, progress))
            try:
                end = self._watch(training)
            finally:
                training.cancel()
        except NonFiniteError as error:
            if not self.sweep.stop.non_finite:
                self._fail(f"{type(error).__name__}: {error}")
                raise
            end = End("stopped", f"non_finite: {error.problem}")
        except RayliftError as error:
            self._fail(f"{type(error).__name__}: {error}")
            raise
        except Exception as error:
            self._fail("".join(traceback.format_exception_only(error)).strip()[-600:])
            raise
        self._tell(end)
        if end.status == "stopped" and not self._has_reported:
            # Schedulers treat a trial that ends without a report as failed, so it ends as failed.
            raise RuntimeError(end.reason)
        # PBT would otherwise restart a finished trial from another's checkpoint.
        if end.status == "finished" and not self._is_population:
            self._report(self.trial.reports[-1], None)

    def _fail(self, reason: str) -> None:
        self._tell(End("failed", reason))

    def _train(self, recipe: Recipe, progress: Callable[[RunProgress], None]) -> TrainOutcome:
        return train(
            recipe,
            self.place.data,
            self.folder.runs,
            self.trial.generation.run,
            self.place.tracking,
            experiment=self.place.experiment,
            parent_run_id=self.place.parent_run_id,
            progress=progress,
            is_trial=True,
        )

    def _watch(self, training: _Training) -> End:
        for report in training:
            seen = Observation(report.step, report.metrics)
            is_last = report.step == report.num_steps
            self._history.append(seen)
            if self._is_evaluation(seen) and report.step > self.trial.step:
                self._keep(seen)
                self._tell(step=report.step)
                # The last report waits until the run has finished cleanly: a scheduler may end the trial on it.
                if not is_last:
                    self._report(self.trial.reports[-1], report.checkpoint)
            reason = reason_to_stop(self._history, self.sweep.stop)
            if reason is not None:
                return End("stopped", reason)
        outcome = training.outcome
        assert outcome is not None
        if self.trial.step < outcome.fit.step:
            # It had finished when an earlier command was interrupted, and reports nothing new.
            self._keep(Observation(outcome.fit.step, outcome.fit.metrics))
            self._tell()
        return End("finished")

    def _is_evaluation(self, seen: Observation) -> bool:
        return any(name.startswith("val/") for name in seen.metrics) or all(
            metric.name in seen.metrics for metric in self.sweep.metrics
        )

    def _keep(self, seen: Observation) -> None:
        scores = dict(seen.metrics)
        for metric in self.sweep.metrics:
            # A loss is logged at its own interval: the last value counts.
            known = (one.metrics[metric.name] for one in reversed(self._history) if metric.name in one.metrics)
            value = scores.get(metric.name, next(known, None))
            if value is None:
                listed = ", ".join(sorted(name for name in scores if not name.startswith("throughput/")))
                raise MetricError(f"metric {metric.name} never appears", f"a trial reports {listed}")
            scores[metric.name] = value
        self.trial = replace(self.trial, reports=(*self.trial.reports, Observation(seen.step, scores)))


class _Cancelled(Exception):
    """Ends a training run in this process from within its own reports."""


class _Training:
    """A training run in its own thread, iterated over as reports. Its errors are raised at the end.

    The thread is a daemon: when the trial's process ends, so do its Ray Train workers, which belong to it.
    """

    def __init__(self, start: Callable[[Callable[[RunProgress], None]], TrainOutcome]) -> None:
        self.outcome: TrainOutcome | None = None
        self._news: queue.Queue[RunProgress | BaseException | None] = queue.Queue()
        self._is_cancelled = threading.Event()
        self._start = start

    def __iter__(self) -> Any:
        threading.Thread(target=self._run, name="training", daemon=True).start()
        while (news := self._news.get()) is not None:
            if isinstance(news, BaseException):
                raise news
            yield news

    def cancel(self) -> None:
        """Make the training run in this process end at its next report."""
        self._is_cancelled.set()

    def _run(self) -> None:
        try:
            self.outcome = self._start(self._take)
            self._news.put(None)
        except _Cancelled:
            return
        except BaseException as error:
            self._news.put(error)

    def _take(self, report: RunProgress) -> None:
        if self._is_cancelled.is_set():
            raise _Cancelled
        self._news.put(report)
