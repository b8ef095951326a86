"""``raylift.train``: a recipe to a run, as ``raylift train`` does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.api.image_to_3d import ImageTo3D, load
from raylift.config import tree
from raylift.config.recipe import Recipe
from raylift.models.stages import plan_runs
from raylift.runs.train import TrainOutcome
from raylift.runs.train import train as train_run
from raylift.tracking.address import tracking_for
from raylift.training.loop import RunProgress


@dataclass(frozen=True)
class TrainedRun:
    """A run that was trained to its last step.

    Attributes:
        name: of the run.
        folder: local or s3://; ``raylift.load`` and ``raylift.evaluate`` take it.
        recipe: recipe of the run.
        steps: optimizer steps done in total.
        metrics: the last logged and evaluated metrics, by name.
        best_metrics: metrics of the best checkpoint.
        doubts: the model's own reasons to distrust its result.
        tracking_uri: MLflow tracking URI; "" without tracking.
        seconds: time of this call.
        earlier: the runs of a chain's earlier stages, in order.
    """

    name: str
    folder: str
    recipe: Recipe
    steps: int
    metrics: Mapping[str, float]
    best_metrics: Mapping[str, float]
    doubts: tuple[str, ...]
    tracking_uri: str
    seconds: float
    earlier: tuple[TrainedRun, ...] = ()

    def load(self, device: str | None = None) -> ImageTo3D:
        """The trained model, at its best checkpoint."""
        return load(self.folder, device)

    def __repr__(self) -> str:
        scores = ", ".join(
            f"{name} {value:.4g}" for name, value in self.best_metrics.items() if name.startswith("val/")
        )
        return f"TrainedRun({self.name!r}, {self.recipe.name}, {self.steps} steps{', ' + scores if scores else ''})"


def train(
    recipe: str | Recipe,
    data: str | Path,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    name: str = "",
    storage: str | Path = "runs",
    tracking: str = "",
    experiment: str = "",
    progress: Callable[[RunProgress], None] | None = None,
) -> TrainedRun:
    """Train a recipe; the same call again resumes an interrupted run.

        run = raylift.train("implicit/best-image-quick", "data/mine", name="mine", overrides={"scale.workers": 2})

    Args:
        recipe: name in the catalogue, of a recipe or of a chain of stages; a recipe's JSON file; or a ``Recipe``.
        data: prepared data set: a folder or s3://.
        overrides: values by dotted path, as a mapping or as "path=value".
        name: run name; by default the recipe's name with "/" replaced by "-".
        storage: folder of runs: local (shared by all nodes) or s3://.
        tracking: MLflow tracking URI; by default mlflow.db in ``storage``; "none" disables tracking.
        experiment: MLflow experiment; by default the model's name.
        progress: called with each report of the run.

    Returns:
        The run; of a chain, its last one.

    Raises:
        RayliftError: the recipe was refused, or the run failed; with its remedy.
    """
    place = str(storage)
    assigned = as_assignments(overrides)
    if isinstance(recipe, Recipe):
        planned = [(name or recipe.name.replace("/", "-"), tree.override(recipe, assigned))]
    else:
        planned = plan_runs(recipe, assigned, place, name)
    done: list[TrainedRun] = []
    for run_name, stage in planned:
        outcome = train_run(
            stage, data, place, run_name, tracking_for(tracking, place), experiment=experiment, progress=progress
        )
        done.append(_run_of(stage, outcome, tuple(done)))
    return done[-1]


def as_assignments(overrides: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Overrides as the command line has them: path=JSON."""
    if isinstance(overrides, Mapping):
        return [f"{path}={json.dumps(value)}" for path, value in overrides.items()]
    return [overrides] if isinstance(overrides, str) else list(overrides)


def _run_of(recipe: Recipe, outcome: TrainOutcome, earlier: tuple[TrainedRun, ...]) -> TrainedRun:
    place, fit = outcome.place, outcome.fit
    return TrainedRun(
        place.name,
        place.folder,
        recipe,
        fit.step,
        fit.metrics,
        fit.best_metrics,
        fit.doubts,
        place.tracking,
        outcome.seconds,
        earlier,
    )
