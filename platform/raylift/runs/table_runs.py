"""Trains and evaluates the rows of a table, each run once: existing results are read, not computed again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.config.codec import to_dict
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, RayliftError
from raylift.core.storage import Storage
from raylift.data.feed.stream import dataset_info
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.comparison.curves import Curve
from raylift.evaluation.evaluator import Progress
from raylift.models.catalogue import build_model
from raylift.runs.evaluate import track_evaluation
from raylift.runs.evaluate_trained import evaluate_trained
from raylift.runs.train import train
from raylift.runs.trained_model import TrainedModel
from raylift.runs.worker import RunPaths, mlflow_run
from raylift.tables.paper_table import PaperTable, PlannedRow
from raylift.tables.results import RowResult
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.training.loop import RunProgress

TRAINED, MEASURED = "trained.json", "scores-of-table.json"
SPLIT = "test"


@dataclass(frozen=True)
class Watch:
    """Callbacks that report the progress of a table; all are optional.

    Attributes:
        say: called with a line of text.
        train: called with the reports of the training run.
        evaluate: called with the number of samples evaluated.
    """

    say: Callable[[str], None] = lambda text: None
    train: Callable[[RunProgress], None] | None = None
    evaluate: Progress | None = None


class TableRuns:
    """The runs of one table.

    Args:
        table: the table; what it needs from the data set is checked here.
        dataset: data set that all rows train on.
        storage: folder of runs, absolute, or s3://.
        tracking: MLflow tracking URI; "" disables tracking.
        experiment: MLflow experiment of the table's run and its children, so that MLflow's page shows them together.
        parent_run_id: MLflow id of the table's own run.

    Raises:
        ConfigError: the table needs the other kind of data set.
    """

    def __init__(
        self,
        table: PaperTable,
        dataset: ShardedDataset,
        storage: str,
        tracking: str = "",
        experiment: str = "",
        parent_run_id: str = "",
    ) -> None:
        kind = dataset.manifest.kind
        if kind != table.data:
            raise ConfigError(
                f"{dataset.uri} holds {kind}, but the table {table.title!r} needs {table.data}",
                "prepare a data set of that kind with raylift prepare",
            )
        self.dataset, self.storage = dataset, storage
        self.tracking, self.experiment, self.parent_run_id = tracking, experiment, parent_run_id

    def problem_of(self, planned: PlannedRow) -> str:
        """Why the data set (or a missing weight file) rules a row out; "" if nothing does."""
        for _, recipe in planned.runs:
            try:
                build_model(recipe, dataset_info(self.dataset, recipe.data))
            except RayliftError as error:
                return f"{error.problem} ({error.remedy})" if error.remedy else error.problem
        return ""

    def result_of(self, planned: PlannedRow, watch: Watch | None = None) -> dict[str, Any]:
        """Train and evaluate what is still missing; returns scores, and minutes, None if training was interrupted.

        Raises:
            RayliftError: what went wrong; the same call resumes from there.
        """
        watch = watch or Watch()
        minutes, whole = 0.0, True
        for name, recipe in planned.runs:
            trained = self._trained(name, recipe, watch)
            minutes, whole = minutes + trained["minutes"], whole and not trained["resumed"]
        return {"scores": self._scores(planned, watch), "minutes": minutes if whole else None}

    def _trained(self, name: str, recipe: Recipe, watch: Watch) -> dict[str, Any]:
        folder = Storage.at(f"{self.storage}/{name}")
        made_of = {"recipe": recipe.fingerprint, "data": self.dataset.manifest.fingerprint}
        if TRAINED in folder.names():
            found: dict[str, Any] = json.loads(folder.read(TRAINED))
            for what, value in made_of.items():
                if found[what] != value:
                    raise ConfigError(
                        f"{folder.uri} was trained with other {what} ({found[what]}, now {value})",
                        "use another --storage for the table, or delete that run",
                    )
            return found
        watch.say(f"training {name}")
        outcome = train(
            recipe,
            self.dataset.uri,
            self.storage,
            name,
            self.tracking,
            experiment=self.experiment,
            parent_run_id=self.parent_run_id,
            progress=watch.train,
        )
        news = {**made_of, "minutes": outcome.seconds / 60, "resumed": outcome.fit.resumed_from is not None}
        folder.write(TRAINED, json.dumps(news, indent=2).encode())
        return news

    def _scores(self, planned: PlannedRow, watch: Watch) -> dict[str, Any]:
        name, recipe = planned.runs[-1]
        folder = Storage.at(f"{self.storage}/{name}")
        asked = to_dict(recipe.evaluation)
        if MEASURED in folder.names():
            found = json.loads(folder.read(MEASURED))
            if found["evaluation"] == asked:
                scores: dict[str, Any] = found["scores"]
                return scores
        watch.say(f"evaluating {name}")
        model = TrainedModel.of_run(folder.uri)
        with tempfile.TemporaryDirectory() as work:
            # In a local run's folder, as raylift evaluate writes it and model cards read it.
            place = Path(work) if "://" in folder.uri else Path(folder.uri) / "evaluation" / SPLIT
            evaluated = evaluate_trained(model, recipe, self.dataset, SPLIT, place, progress=watch.evaluate)
            if self.tracking:
                step = int(Path(model.where).stem.rpartition("-")[2])
                track_evaluation(folder.uri, self.tracking, evaluated, self.dataset, step)
        scores = json.loads(evaluated.report.to_json())
        folder.write(MEASURED, json.dumps({"evaluation": asked, "scores": scores}).encode())
        return scores


def open_table_run(
    table: PaperTable, dataset: ShardedDataset, storage: str, name: str, tracking: str, experiment: str
) -> MlflowTracker:
    """The table's own MLflow run, parent of its rows' runs; the same storage and name resume the same run."""
    from raylift.tracking.provenance import provenance_tags

    place = RunPaths(dataset.uri, storage, name, tracking, experiment)
    tracker = mlflow_run(place, system_metrics_every_s=0.0)
    models = sorted({(row.recipe or table.recipe).partition("/")[0] for row in table.rows})
    fingerprint = dataset.manifest.fingerprint
    tracker.set_tags(
        {
            **provenance_tags(),
            "kind": "table",
            "model": ",".join(models),
            "run.folder": place.folder,
            "data.uri": dataset.uri,
            "data.fingerprint": fingerprint,
        }
    )
    tracker.log_params({"table.title": table.title, "table.source": table.source, "table.recipe": table.recipe})
    tracker.log_dataset(Path(dataset.uri).name, dataset.uri, fingerprint, dataset.manifest.counts)
    return tracker


def read_curves(tracking: str, folders: Sequence[str], names: Sequence[str]) -> list[Mapping[str, Curve]]:
    """Curves of runs by their folders, from the tracking server; empty if it has none."""
    from raylift.tracking.reading import TrackingReader

    if not tracking or not names:
        return [{} for _ in folders]
    reader = TrackingReader(tracking)
    found: list[Mapping[str, Curve]] = []
    for folder in folders:
        run_id = reader.find(folder)
        found.append({name: reader.curve(run_id, name) for name in names})
    return found


def gather(
    planned: Sequence[PlannedRow],
    outcomes: Mapping[str, Mapping[str, Any]],
    problems: Mapping[str, str],
    curves: Mapping[str, Mapping[str, Curve]],
) -> dict[str, RowResult]:
    """The results of each row, by its name.

    Args:
        outcomes, problems, curves: by the name of the row's run.
    """
    results: dict[str, RowResult] = {}
    for one in planned:
        before = results.get(one.row.name, RowResult(one.row))
        done = outcomes.get(one.name)
        results[one.row.name] = RowResult(
            one.row,
            {**before.scores, **({one.seed: done["scores"]} if done else {})},
            {**before.curves, **({one.seed: curves[one.name]} if one.name in curves else {})},
            {**before.minutes, **({one.seed: done["minutes"]} if done and done["minutes"] is not None else {})},
            {**before.problems, **({one.seed: problems[one.name]} if one.name in problems else {})},
        )
    return results
