"""A sweep's results as files, and the sweep in MLflow: a parent run with its trials as children."""

from __future__ import annotations

import csv
import io
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raylift.config.recipe import Recipe
from raylift.core.storage import Storage
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue
from raylift.runs.worker import RunPaths, mlflow_run
from raylift.sweeps.config import Sweep
from raylift.sweeps.plots import draw_plots
from raylift.sweeps.records import SweepFolder, Trial
from raylift.sweeps.results import best_recipe, best_trial, pareto_front, trial_rows
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.provenance import provenance_tags

logger = logging.getLogger(__name__)

PARENT_TAG = "mlflow.parentRunId"
FIRST_PATIENCE_S, LAST_PATIENCE_S = 20.0, 60.0
"""How long to wait for a server to create the run before trials start without it, and to flush at the end."""
ENDS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "unfinished": "KILLED"}
"""MLflow's status for a trial's end."""


def report_sweep(
    sweep: Sweep, base: Recipe, folder: SweepFolder, trials: Sequence[Trial]
) -> tuple[Trial | None, dict[str, str]]:
    """Write the table, the best recipe (and those of a Pareto front) and the plots; returns the best trial and paths by
    file name."""
    # With the recipe's own resources: those of the sweep were for many small runs.
    whole = replace(base, scale=catalogue.get(sweep.recipe, sweep.overrides).scale)
    rows = trial_rows(trials, sweep)
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    contents: dict[str, bytes] = {"trials.csv": text.getvalue().encode()}
    best = best_trial(trials, sweep.metrics)
    if best is not None:
        contents["best.json"] = best_recipe(whole, best).to_json().encode()
    if len(sweep.metrics) == 2:
        for trial in pareto_front(trials, sweep.metrics):
            contents[f"front-{trial.name}.json"] = best_recipe(whole, trial).to_json().encode()
    contents |= draw_plots(sweep, trials)
    return best, {name: folder.write(name, content) for name, content in contents.items()}


class SweepTracker:
    """The sweep's MLflow run, and the final records of its trials' runs.

    An unreachable server blocks nothing: records are kept in the sweep's folder, and the same command sends them.

    Args:
        place: paths of the sweep; without tracking nothing is logged.
    """

    def __init__(self, sweep: Sweep, base: Recipe, place: RunPaths) -> None:
        self.sweep, self.place = sweep, place
        self._tracker: MlflowTracker | None = None
        self.run_id = ""
        if not place.tracking:
            return
        self._tracker = mlflow_run(place, system_metrics_every_s=0.0, finish_timeout_s=LAST_PATIENCE_S)
        dataset = ShardedDataset.open(place.data)
        self._tracker.log_params(
            {
                path: value if isinstance(value, str | int | float | bool) else json.dumps(value)
                for path, value in sweep.decisive().items()
            }
        )
        self._tracker.set_tags(
            {
                **provenance_tags(),
                "sweep": sweep.title,
                "sweep.fingerprint": sweep.fingerprint,
                "recipe": base.name,
                "model": base.model_name,
                "run.folder": place.folder,
                "data.uri": dataset.uri,
                "data.fingerprint": dataset.manifest.fingerprint,
            }
        )
        manifest = dataset.manifest
        self._tracker.log_dataset(Path(dataset.uri).name, dataset.uri, manifest.fingerprint, manifest.counts)
        self.run_id = self._tracker.wait_for_run_id(FIRST_PATIENCE_S) or ""

    def close(self, trials: Sequence[Trial], files: Mapping[str, str], status: str) -> bool:
        """Log the results and end the run and its children; False if the server did not receive everything."""
        if self._tracker is None:
            return True
        for number, metric in enumerate(self.sweep.metrics):
            for trial in trials:
                scores = trial.scores(self.sweep.metrics)
                # MLflow keeps the first value of a step, so one that may still change is not logged.
                if scores is not None and trial.end.status in ("finished", "stopped"):
                    self._tracker.log_metrics({f"trial/{metric.name}": scores[number]}, trial.number)
        best = best_trial(trials, self.sweep.metrics)
        if best is not None:
            scores = best.scores(self.sweep.metrics) or ()
            named = zip(self.sweep.metrics, scores, strict=True)
            # By steps done, not by trials, so that a command that resumes the same trials logs at a new step.
            done = sum(trial.steps for trial in trials)
            self._tracker.log_metrics({f"best/{metric.name}": value for metric, value in named}, done)
            self._tracker.set_tags({"sweep.best": best.name})
        self._tracker.log_table("trials", trial_rows(trials, self.sweep))
        with tempfile.TemporaryDirectory(prefix="raylift-sweep-") as work:
            for name, path in files.items():
                local = Path(work) / name
                local.write_bytes(Storage.at(path.rpartition("/")[0]).read(name))
                self._tracker.log_artifact(local)
        if not self._tracker.flush(LAST_PATIENCE_S):
            self._tracker.finish(status)
            return False
        self.run_id = self._tracker.run_id or ""
        took = [self._close_trial(trial) for trial in trials]
        self._tracker.finish(status)
        return all(took)

    def abandon(self) -> None:
        """The command ends without a result; the next one resumes the same MLflow run."""
        if self._tracker is not None:
            self._tracker.finish("KILLED")

    def _close_trial(self, trial: Trial) -> bool:
        """Log a trial's parent, number and end: a trial that was stopped could not do so itself."""
        took = True
        for index, generation in enumerate(trial.generations):
            place = RunPaths(
                self.place.data, f"{self.place.folder}/trials", generation.run,
                self.place.tracking, self.place.experiment, self.run_id,
            )  # fmt: skip
            if "://" not in place.folder and not place.spool.exists():
                continue
            is_last = index == len(trial.generations) - 1
            tracker = mlflow_run(place, system_metrics_every_s=0.0, finish_timeout_s=LAST_PATIENCE_S)
            tags = {PARENT_TAG: self.run_id, "sweep.trial": str(trial.number), "sweep.reason": trial.end.reason}
            if generation.donor >= 0:
                tags |= {"sweep.donor": str(generation.donor), "sweep.donor_step": str(generation.step)}
            tracker.set_tags(tags)
            took &= tracker.flush(LAST_PATIENCE_S)
            tracker.finish(ENDS[trial.end.status] if is_last else "KILLED")
        return took
