"""Training on Ray: workers with DistributedDataParallel, restarted automatically, resumed by the same command."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from raylift.config.recipe import Recipe, ScaleConfig, node_labels
from raylift.core.errors import ConfigError, RayliftError, StorageUnavailableError, TrainingError
from raylift.core.lease import Lease
from raylift.core.storage import Storage
from raylift.data.feed.stream import dataset_info
from raylift.data.ray_session import start_ray
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import AlarmBell
from raylift.models.catalogue import build_model, from_json
from raylift.runs.driving import check_secrets, check_storage, ending_with, lease_of
from raylift.runs.placement import Node, num_loaders
from raylift.runs.run_status import StatusBoard
from raylift.runs.start import check_start
from raylift.runs.training_room import find_room
from raylift.runs.worker import RunPaths, checkpoint_store, describe, mlflow_run, train_worker
from raylift.training.checkpoint import check_recipe
from raylift.training.loop import FitOutcome, RunProgress
from raylift.training.parameter_groups import build_groups

logger = logging.getLogger(__name__)

POLL_S = 0.3
# A report of a committed checkpoint waits until the controller next polls its workers, every 2 s by default.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


@dataclass(frozen=True)
class TrainOutcome:
    """How a run ended.

    Attributes:
        place: paths of the run.
        fit: steps, metrics and checkpoints.
        num_workers: number of workers at the end; 0 is the driver.
        num_restarts: number of worker failures that it survived.
        seconds: wall time of this command.
    """

    place: RunPaths
    fit: FitOutcome
    num_workers: int
    num_restarts: int
    seconds: float


def train(
    recipe: Recipe,
    data_uri: str | Path,
    storage_path: str | Path,
    run_name: str,
    tracking_uri: str = "",
    *,
    experiment: str = "",
    parent_run_id: str = "",
    progress: Callable[[RunProgress], None] | None = None,
    callbacks: Sequence[Any] = (),
    is_trial: bool = False,
    say: Callable[[str], None] = logger.info,
) -> TrainOutcome:
    """Train a recipe to its last step; the same call resumes an interrupted run.

    Args:
        data_uri: a prepared data set, local or s3://.
        storage_path: folder of runs, local (shared by all nodes) or s3://.
        run_name: name of the run's folder and of its MLflow run.
        tracking_uri: MLflow tracking URI; "" disables tracking.
        experiment: MLflow experiment; "" is the model's name.
        parent_run_id: MLflow id of the parent run.
        progress: called in this process with each report of the run.
        callbacks: Ray Train callbacks, such as Tune's.
        is_trial: whether the run belongs to a sweep, whose driver has checked the storage and holds its lease.
        say: called in this process with lines about the nodes that the run waits for and gets.

    Raises:
        RayliftError: the recipe was refused, another driver trains this run, or the run failed; with its remedy.
    """
    started = time.monotonic()
    if recipe.start_from:
        # Workers have their own current folders.
        recipe = replace(recipe, start_from=absolute(recipe.start_from))
    place = RunPaths(
        data=absolute(data_uri),
        storage=absolute(storage_path),
        name=checked_name(run_name),
        tracking=tracking_uri,
        experiment=experiment or recipe.model_name,
        parent_run_id=parent_run_id,
    )
    if not is_trial:
        check_storage(place)
    check_before_start(recipe, place)
    progress = _warning_of_alarms(place.name, progress)
    with ExitStack() as held:
        lease = None if is_trial else held.enter_context(lease_of(place))
        Storage.at(place.folder).write("run.json", json.dumps(describe(place, recipe), indent=2).encode())
        if recipe.scale.workers == 0:
            device = torch.device("cuda" if torch.cuda.is_available() and recipe.scale.gpu != "never" else "cpu")
            say(f"training in this process on {device.type}")
            outcome = train_worker(recipe, place, device, ending_with(lease, progress), through_ray=False)
            return TrainOutcome(place, outcome, 0, 0, time.monotonic() - started)
        outcome, num_restarts = _train_on_ray(recipe, place, progress, callbacks, lease, say)
        return TrainOutcome(place, outcome, recipe.scale.workers, num_restarts, time.monotonic() - started)


def _warning_of_alarms(name: str, progress: Callable[[RunProgress], None] | None) -> Callable[[RunProgress], None]:
    """Forwards reports, and logs a warning for each alarm that starts."""
    bell = AlarmBell()

    def hand_on(report: RunProgress) -> None:
        for alarm, meaning in bell.news(report.metrics).items():
            logger.warning("run %s, step %d, %s: %s", name, report.step, alarm, meaning)
        if progress is not None:
            progress(report)

    return hand_on


def _train_on_ray(
    recipe: Recipe,
    place: RunPaths,
    progress: Callable[[RunProgress], None] | None,
    callbacks: Sequence[Any],
    lease: Lease | None,
    say: Callable[[str], None],
) -> tuple[FitOutcome, int]:
    scale = recipe.scale
    # A Ray that we start may have more logical CPUs than the machine has cores: slow is better than stuck.
    start_patiently(max(os.cpu_count() or 1, _cpus_wanted(recipe)))
    use_gpu = find_room(scale, say)
    loaders = num_loaders(scale, Node.all_of(ray.nodes()))
    _warn_of_crowd(loaders, scale)
    board = StatusBoard.open()
    if lease is not None:
        lease.on_lost = board.fail
    resources = {"CPU": scale.cpus_per_worker} | ({"GPU": scale.gpus_per_worker} if use_gpu else {})
    # NCCL refuses two ranks on one GPU.
    by_nccl = use_gpu and (scale.gpus_per_worker >= 1 or scale.workers == 1)
    trainer = TorchTrainer(
        _ray_worker,
        train_loop_config={"recipe": recipe.to_json(), "place": place, "board": board, "use_gpu": use_gpu}
        | {"num_loaders": loaders},
        torch_config=TorchConfig(backend="nccl" if by_nccl else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=scale.workers,
            use_gpu=use_gpu,
            resources_per_worker=resources,
            label_selector=node_labels(scale.train_on) or None,
        ),
        run_config=RunConfig(
            name=place.name,
            storage_path=place.storage,
            failure_config=FailureConfig(max_failures=scale.max_failures),
            callbacks=list(callbacks),
        ),
    )
    with _ProgressRelay(board, progress):
        try:
            result = trainer.fit()
        except Exception as error:
            _raise_failure(board)
            if place.tracking:
                # Its workers are dead, and MLflow would show the run as running forever.
                mlflow_run(place, system_metrics_every_s=0.0).finish("FAILED")
            raise TrainingError(
                f"run {place.name!r} stopped: {_first_lines(error)}",
                f"failed after {scale.max_failures} restarts (scale.max_failures); rerun the same command to resume",
            ) from error
    _raise_failure(board)
    num_starts = board.num_starts()
    board.close()
    return result.return_value, num_starts - 1


def _ray_worker(config: dict[str, Any]) -> FitOutcome | None:
    """One Ray Train worker. An error that the user must fix is posted before it ends the worker group, so that the next
    group ends at once instead of retrying."""
    board: StatusBoard = config["board"]
    recipe = from_json(config["recipe"])
    # Ray sets OpenMP's threads, but a Ray that was started with one thread per process would override that.
    torch.set_num_threads(max(1, int(recipe.scale.cpus_per_worker)))
    main = ray.train.get_context().get_world_rank() == 0
    if (board.note_start() if main else board.failure()) is not None:
        return None
    device = ray.train.torch.get_device() if config["use_gpu"] else torch.device("cpu")

    def report(news: RunProgress) -> None:
        if main:
            board.post(news)
        if news.checkpoint is not None:
            # Our own store has already committed the checkpoint; Ray (and through it Tune) only gets its path.
            metrics = {**news.metrics, "step": news.step, "checkpoint_path": news.checkpoint}
            ray.train.report(metrics)
            if (failure := board.failure()) is not None:
                # The driver has lost its lease: its successor trains this run.
                raise failure

    try:
        return train_worker(recipe, config["place"], device, report, num_loaders=config["num_loaders"])
    except StorageUnavailableError:
        # A later attempt may succeed, on another node even: Ray Train starts the workers again.
        raise
    except RayliftError as error:
        board.fail(error)
        if isinstance(error, TrainingError):
            # Every rank raises it at the same step, so the group can end without another start.
            return None
        raise


class _ProgressRelay:
    """Passes the actor's reports to ``progress`` in the driver, from a thread, since ``fit`` blocks."""

    def __init__(self, board: StatusBoard, progress: Callable[[RunProgress], None] | None) -> None:
        self._board = board
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> None:
        if self._progress is not None:
            self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._progress is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        assert self._progress is not None
        while True:
            ends = self._stop.wait(POLL_S)
            for report in self._board.take():
                self._progress(report)
            if ends:
                return


def check_before_start(recipe: Recipe, place: RunPaths) -> None:
    """Refuse in the driver what every worker would refuse.

    Raises:
        RayliftError: the data, a checkpoint or the starting weights do not fit the recipe, or the recipe holds secrets.
    """
    check_secrets(recipe.flat())
    dataset = ShardedDataset.open(place.data)
    if recipe.data.batch_size < recipe.scale.workers:
        raise ConfigError(
            f"a batch of {recipe.data.batch_size} is too small for {recipe.scale.workers} workers",
            "use a data.batch_size of at least scale.workers",
        )
    if not dataset.entries("train", recipe.data.categories):
        raise ConfigError(f"{place.data} has no training objects of these categories", "see raylift inspect")
    if len(recipe.optimizers) > 1:  # groups that the model may not have
        build_groups(build_model(recipe, dataset_info(dataset, recipe.data)), recipe.optimizers, recipe.data.batch_size)
    store = checkpoint_store(recipe, place)
    last = store.last()
    if last is not None:
        check_recipe(last, recipe.to_dict(), recipe.free_paths, store.path(last), dataset.manifest.fingerprint)
        store.read(last)
    elif recipe.start_from:
        check_start(recipe, dataset_info(dataset, recipe.data))


def start_patiently(num_cpus: int) -> None:
    """Start Ray; retry once, because a busy machine may exceed Ray's timeout of 30 s."""
    try:
        start_ray(num_cpus)
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        ray.shutdown()
        start_ray(num_cpus)


def _cpus_wanted(recipe: Recipe) -> int:
    scale = recipe.scale
    return math.ceil(scale.workers * (scale.cpus_per_worker + max(1, scale.loaders) * scale.data_cpus))


def _warn_of_crowd(loaders: int, scale: ScaleConfig) -> None:
    """A Ray of this machine has as many logical CPUs as are asked for; its cores are fewer."""
    cores, busy = os.cpu_count() or 1, scale.workers * (loaders + 1)
    if loaders > 1 and len(ray.nodes()) == 1 and busy > max(cores, ray.cluster_resources().get("CPU", 0)):
        logger.warning(
            "%d workers and %d loaders share %d cores: more than one loader per free core only takes turns"
            " (scale.loaders)",
            scale.workers,
            scale.workers * loaders,
            cores,
        )


def _raise_failure(board: StatusBoard) -> None:
    failure = board.failure()
    if failure is not None:
        raise failure


def absolute(uri: str | Path) -> str:
    """A path that means the same in every process, or a URI as it is."""
    text = str(uri)
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve())


def checked_name(name: str) -> str:
    """A run's name that is also a valid folder name.

    Raises:
        ConfigError: it is not valid.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"run name {name!r}", "use letters, digits, '-', '_' and '.'")
    return name


def _first_lines(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[-3:])[:600] or type(error).__name__
