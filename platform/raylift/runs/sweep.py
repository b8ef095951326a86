"""Sweeps on Ray Tune: trials that share a cluster, records that outlive any process, results at the end."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.core.lease import Lease
from raylift.core.storage import Storage
from raylift.data.feed.stream import dataset_info
from raylift.data.ray_nodes import Say
from raylift.data.store.dataset import ShardedDataset
from raylift.runs.driving import check_storage
from raylift.runs.sweep_report import SweepTracker, report_sweep
from raylift.runs.sweep_room import check_room, demands, driver_resources, wait_for_room
from raylift.runs.sweep_schedulers import NUMBER, Proposing, name_of, open_scheduler, recall
from raylift.runs.sweep_trial import MetricError, TrialPlace, run_trial
from raylift.runs.train import absolute, check_before_start, checked_name, start_patiently
from raylift.runs.worker import RunPaths
from raylift.sweeps.config import Sweep
from raylift.sweeps.proposals import open_proposals
from raylift.sweeps.records import End, SweepFolder, Trial
from raylift.sweeps.trial_recipes import base_recipe, base_values, check_metrics, check_same_state, check_space

# Tune's own files and tables duplicate the sweep's records, and its checks support only one metric.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
CHECKPOINTS_A_POPULATION_KEEPS = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepEvent:
    """News of a running sweep.

    Attributes:
        trial: the trial's current record.
        num_ended: number of trials that have ended, over all commands.
        num_trials: total number of trials.
        kind: "report" or "end".
    """

    trial: Trial
    num_ended: int
    num_trials: int
    kind: str


@dataclass(frozen=True)
class SweepOutcome:
    """The results of a command.

    Attributes:
        folder: folder of the sweep.
        trials: all recorded trials.
        best: the best trial, or None.
        best_recipe: path of its recipe; "" if there is none.
        files: paths of the other results: the table and the plots.
        num_trials: number of trials of the whole sweep.
        num_run: number of trials that this command ran or resumed.
        room: number of trials at once; 0 if there was nothing to run.
        seconds: wall time of this command.
        unsent: whether MLflow was unreachable at the end; the same command sends what was kept.
    """

    folder: str
    trials: tuple[Trial, ...]
    best: Trial | None
    best_recipe: str
    files: tuple[str, ...]
    num_trials: int
    num_run: int
    room: int
    seconds: float
    unsent: bool = False


def run_sweep(
    sweep: Sweep,
    data_uri: str | Path,
    storage_path: str | Path,
    name: str,
    tracking_uri: str = "",
    *,
    experiment: str = "",
    retry_failed: bool = False,
    progress: Callable[[SweepEvent], None] | None = None,
    say: Say = logger.info,
) -> SweepOutcome:
    """Run a sweep to its end, or resume it where an earlier call stopped.

    Args:
        data_uri: a prepared data set, local or s3://.
        storage_path: folder of sweeps and runs, local (shared by all nodes) or s3://.
        name: name of the sweep's folder there and of its MLflow run.
        tracking_uri: MLflow tracking URI; "" disables tracking.
        experiment: MLflow experiment; "" is the model's name.
        retry_failed: whether failed trials resume from their last checkpoint.
        progress: called in this process.
        say: called in this process with lines about the nodes that the sweep waits for and gets.

    Raises:
        RayliftError: the sweep was refused before any trial started, or no trial reports its metric.
    """
    started = time.monotonic()
    base = base_recipe(sweep)
    if base.start_from:
        base = replace(base, start_from=absolute(base.start_from))
    place = RunPaths(
        absolute(data_uri), absolute(storage_path), checked_name(name), tracking_uri, experiment or base.model_name
    )
    check_storage(place)
    num_trials = _check(sweep, base, place)
    folder = SweepFolder(place.folder)
    fingerprint = ShardedDataset.open(place.data).manifest.fingerprint
    folder.check(sweep, fingerprint)
    with Lease(Storage.at(place.folder), f"sweep {place.name!r}") as lease:
        if retry_failed:
            for trial in folder.trials():
                if trial.end.status == "failed":
                    folder.reopen(trial.number)
        ended, waiting, numbers = _to_do(folder, num_trials)
        num_run = len(waiting) + len(numbers)
        # A finished sweep can be reported without a cluster.
        room = _find_room(sweep, base, num_run, say) if num_run else 0
        folder.claim(sweep, place.data, fingerprint)
        tracker = SweepTracker(sweep, base, place)
        refusal: Exception | None = None
        if num_run:
            told = TrialPlace(
                sweep.to_dict(), base.to_json(), place.folder, place.data,
                place.tracking, place.experiment, tracker.run_id,
            )  # fmt: skip
            watcher = _Watcher(folder, num_trials, len(ended), progress)
            lease.on_lost = watcher.end_all
            try:
                _fit(sweep, base, told, room, ended, waiting, numbers, watcher)
            except BaseException:
                tracker.abandon()
                raise
            refusal = watcher.refusal
        trials = folder.trials()
        best, files = report_sweep(sweep, base, folder, trials)
        unsent = not tracker.close(trials, files, "FAILED" if refusal else "FINISHED")
        if refusal is not None:
            raise refusal
    return SweepOutcome(
        folder=folder.uri,
        trials=tuple(trials),
        best=best,
        best_recipe=files.get("best.json", ""),
        files=tuple(path for file, path in files.items() if file != "best.json"),
        num_trials=num_trials,
        num_run=num_run,
        room=room,
        seconds=time.monotonic() - started,
        unsent=unsent,
    )


def _check(sweep: Sweep, base: Recipe, place: RunPaths) -> int:
    """Refuse what can be refused without a cluster; returns the number of trials."""
    recipes = check_space(sweep, base)
    dataset = ShardedDataset.open(place.data)
    check_metrics(sweep, dataset, base)
    check_before_start(base, replace(place, name=f"{place.name}/trials/none"))
    if sweep.scheduler.kind == "pbt":
        check_same_state(recipes, dataset_info(dataset, base.data))
    if sweep.searcher.kind != "grid":
        return sweep.budget.trials
    cells = len(sweep.space.grid(base_values(base)))
    return min(cells, sweep.budget.trials) if sweep.budget.trials else cells


def _find_room(sweep: Sweep, base: Recipe, num_run: int, say: Say) -> int:
    """Start or join Ray; returns the number of trials at once."""
    wanted = sum(demand["CPU"] for demand in demands(base.scale))
    # A Ray that we start may have more logical CPUs than the machine has cores: slow is better than stuck.
    start_patiently(max(os.cpu_count() or 1, math.ceil(wanted)))
    in_turns = sweep.scheduler.kind != "pbt" or base.scale.workers == 0
    population, concurrency = 0 if in_turns else sweep.budget.trials, sweep.resources.concurrency
    nodes = wait_for_room(base.scale, num_run, population, concurrency, say)
    room = check_room(nodes, base.scale, population, concurrency)
    say(f"{min(room, num_run)} trials at once")
    return room


def _to_do(folder: SweepFolder, num_trials: int) -> tuple[list[Trial], list[Trial], list[int]]:
    """Trials that ended, trials to resume, and numbers of trials to propose."""
    known = {trial.number: trial for trial in folder.trials()}
    ended = [trial for trial in known.values() if trial.end.status != "unfinished"]
    waiting = [trial for trial in known.values() if trial.end.status == "unfinished" and trial.number < num_trials]
    return ended, waiting, [number for number in range(num_trials) if number not in known]


def _fit(
    sweep: Sweep,
    base: Recipe,
    place: TrialPlace,
    room: int,
    ended: Sequence[Trial],
    waiting: Sequence[Trial],
    numbers: Sequence[int],
    watcher: _Watcher,
) -> None:
    folder, is_population = watcher.folder, sweep.scheduler.kind == "pbt"
    known = base_values(base)
    scheduler = open_scheduler(sweep, base, partial(_close_stopped, folder))
    recall(scheduler, ended, sweep)
    proposals = open_proposals(sweep, known, ended, len(waiting))

    def trial(config: dict[str, Any]) -> None:
        run_trial(config, place)

    space: dict[str, Any] = {}
    searcher = None
    if is_population:
        # Tune accepts no searcher with PBT, so the first generation is passed as a list.
        values = {one.number: one.generation.values for one in waiting}
        for number in numbers:
            proposed = proposals.propose(number)
            assert proposed is not None
            folder.plan(number, proposed)
            values[number] = proposed
        space = {NUMBER: tune.grid_search(list(values))}
        for path in sweep.space.dimensions:
            space[path] = tune.sample_from(partial(_initial, values, path))
    else:
        searcher = Proposing(proposals, folder, waiting, numbers)
    home = f"{folder.uri}/tune"
    tuner = tune.Tuner(
        tune.with_resources(trial, driver_resources(base.scale)),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=1 if is_population else len(waiting) + len(numbers),
            max_concurrent_trials=None if is_population else room,
            time_budget_s=sweep.budget.minutes * 60 or None,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=tune.RunConfig(
            name=f"call-{int(time.time())}",
            storage_path=home,
            callbacks=[watcher],
            stop=watcher.stopper,
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=CHECKPOINTS_A_POPULATION_KEEPS if is_population else None
            ),
            verbose=0,
        ),
    )
    # A trial's error is in its record; Tune would print its traceback, too.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    tuner.fit()
    if "://" not in home:
        # Nothing is resumed from it.
        shutil.rmtree(home, ignore_errors=True)


def _initial(values: dict[int, dict[str, Any]], path: str, config: Any) -> Any:
    return values[config[NUMBER]][path]


def _close_stopped(folder: SweepFolder, number: int, reason: str) -> None:
    folder.close(number, End("stopped", reason))


class _EndAll(tune.Stopper):
    """Ends the whole sweep once ``is_told`` is set."""

    def __init__(self) -> None:
        self.is_told = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.is_told

    def stop_all(self) -> bool:
        return self.is_told


class _Watcher(tune.Callback):
    """Keeps the records of trials that can no longer do so themselves, and passes on news."""

    def __init__(
        self, folder: SweepFolder, num_trials: int, num_ended: int, progress: Callable[[SweepEvent], None] | None
    ) -> None:
        self.folder, self.stopper = folder, _EndAll()
        self.refusal: ConfigError | None = None
        self._num_trials, self._num_ended, self._progress = num_trials, num_ended, progress

    def end_all(self, refusal: ConfigError) -> None:
        """End the whole sweep with this error."""
        self.refusal = refusal
        self.stopper.is_told = True

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to restore from; a sweep resumes from its records, and a progress bar has locks.
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self._tell(trial, "report")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._num_ended += 1
        self._tell(trial, "end")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = _number(trial)
        known = self.folder.trial(number)
        if known.end.status == "unfinished":
            lines = str(trial.get_error() or "its process died").strip().splitlines()
            self.folder.close(number, End("failed", lines[-1][:600]))
        elif known.end.reason.startswith(MetricError.__name__):
            problem, _, remedy = known.end.reason.partition(": ")[2].partition("\n  remedy: ")
            self.end_all(ConfigError(problem, remedy))
        self.on_trial_complete(iteration, trials, trial)

    def _tell(self, trial: Any, kind: str) -> None:
        if self._progress is not None:
            self._progress(SweepEvent(self.folder.trial(_number(trial)), self._num_ended, self._num_trials, kind))


def _number(trial: Any) -> int:
    return int(str(trial).rpartition("-")[2])
