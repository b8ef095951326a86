"""``raylift.evaluate``: a model's scores next to its baselines, as ``raylift evaluate`` computes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from raylift.api.training import as_assignments
from raylift.config import tree
from raylift.core.errors import ConfigError
from raylift.core.storage import Storage
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import Progress
from raylift.evaluation.report import EvaluationReport
from raylift.runs.evaluate import track_evaluation
from raylift.runs.evaluate_trained import evaluate_trained
from raylift.runs.loading import open_trained
from raylift.tracking.address import NO_TRACKING


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The scores of a model and of its baselines.

    Attributes:
        report: every score of every object.
        folder: of scores.json, images, meshes and the page.
        files: written files.
        tracking_uri: where it was logged; "" if it was not.
    """

    report: EvaluationReport
    folder: Path
    files: tuple[Path, ...]
    tracking_uri: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Every mean and median by the name that MLflow has, such as ``test/occnet/iou_mean`` for the model, and
        ``test/retrieval/occnet/iou_mean`` for a baseline."""
        return self.report.metrics()

    @property
    def table(self) -> pd.DataFrame:
        """Means over all categories: a row per method ("model" first), a column per ``protocol/metric``."""
        rows = [row for row in self.report.summary_rows() if row["category"] == "all"]
        columns = list(dict.fromkeys(f"{row['protocol']}/{row['metric']}" for row in rows))
        found = pd.DataFrame(index=list(self.report.tables), columns=columns, dtype=float)
        for row in rows:
            found.loc[row["method"], f"{row['protocol']}/{row['metric']}"] = row["mean"]
        return found

    def __repr__(self) -> str:
        return f"Evaluation({len(self.report.model)} samples of {self.report.split})\n{self.table.round(4)}"

    def _repr_html_(self) -> str:
        return str(self.table.round(4).to_html())


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    panels_of: Sequence[str] = (),
    device: str | None = None,
    tracking: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a trained model on held-out objects, next to baselines that need no learning.

    Args:
        model: what ``raylift.load`` takes; models that do not reconstruct can be evaluated, too.
        data: prepared data set: a folder or s3://.
        split: "train", "val" or "test".
        out: folder of the results; by default evaluation/SPLIT in the run's folder, or in the current one if the model
            is not a run on this machine.
        overrides: values of evaluation.* and data.*, as a mapping or as "path=value".
        panels_of: ids of objects to draw; by default the first ``evaluation.panels`` of the split.
        device: "cpu" or "cuda"; by default a GPU if available.
        tracking: MLflow tracking URI; by default the one that training used, if any; "none" disables tracking.
        progress: see ``evaluation.evaluator``.

    Raises:
        RayliftError: the model, the data set or an override cannot be used; with its remedy.
    """
    assigned = as_assignments(overrides)
    for text in assigned:
        if not text.startswith(("evaluation.", "data.")):
            raise ConfigError(f"{text} cannot change a trained model", "override evaluation.* or data.* only")
    trained = open_trained(model, device)
    dataset = ShardedDataset.open(data)
    run = _run_of(trained.where)
    root = Path.cwd() if not run or "://" in run else Path(run)
    folder = Path(out) if out is not None else root / "evaluation" / split
    recipe = tree.override(trained.recipe, assigned)
    evaluated = evaluate_trained(trained, recipe, dataset, split, folder, panels_of, progress)
    where = ""
    if run and tracking != NO_TRACKING and (tracking or _is_tracked(run)):
        step = int(Path(trained.where).stem.rpartition("-")[2])
        where = track_evaluation(run, tracking, evaluated, dataset, step)
    return Evaluation(evaluated.report, folder, tuple(path for path, _ in evaluated.files), where)


def _run_of(where: str) -> str:
    """The run's folder, absolute; "" for a model that is not in a run's folder."""
    folder, _, file = where.rpartition("/")
    run, _, kind = folder.rpartition("/")
    if kind != "checkpoints" or not file.endswith(".pt") or not run:
        return ""
    return run if "://" in run else str(Path(run).absolute())


def _is_tracked(run: str) -> bool:
    folder = Storage.at(run)
    return "run.json" in folder.names() and bool(json.loads(folder.read("run.json")).get("tracking"))
