"""Register a run's model as a version of a registered model, with an alias to load it by.

    raylift register runs/seats --model seats --alias best
    raylift reconstruct --model models:/seats@best --tracking-uri http://... --images photos --out meshes

If the run has logged no model yet, its best checkpoint is logged first; this needs the run's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from raylift.core.errors import ConfigError
from raylift.runs.reconstruct import log_model, open_run_tracker
from raylift.tracking.address import tracking_of
from raylift.tracking.reading import TrackingReader
from raylift.tracking.registry import check_names, logged_model, register_model


@dataclass(frozen=True)
class Arguments:
    """Register a run's model as a version of a registered model.

    Attributes:
        run: folder, MLflow id or name of the run.
        model: name of the registered model; created if missing.
        alias: alias for this version, such as best or production; it moves here if another version has it.
        tracking: MLflow tracking URI; by default MLFLOW_TRACKING_URI, else the run's own, else runs/mlflow.db.
    """

    run: Annotated[str, tyro.conf.Positional]
    model: str = tyro.MISSING
    alias: str = ""
    tracking: str = ""


def main(arguments: Arguments, console: Console) -> None:
    """Log the model if it is not logged yet, then register it."""
    check_names(arguments.model, arguments.alias)
    reader = TrackingReader(tracking_of(arguments.tracking, [arguments.run]))
    run_id = reader.find(arguments.run)
    if not logged_model(reader.uri, run_id):
        run = reader.read(run_id)
        folder = run.tags.get("run.folder") or arguments.run
        if "://" not in folder and not Path(folder).is_dir():
            raise ConfigError(
                f"the run {run.name!r} has logged no model, and its folder {folder} is not on this machine",
                "run this where the folder is, or log the model there: raylift reconstruct --run FOLDER --log-to-run",
            )
        console.print(f"logging the best checkpoint of {folder}", soft_wrap=True)
        tracker = open_run_tracker(folder, reader.uri)
        log_model(tracker, folder)
        tracker.finish("")
    registered = register_model(reader.uri, run_id, arguments.model, arguments.alias)
    console.print(f"version {registered.version} of [bold]{registered.name}[/]")
    console.print(
        f"raylift reconstruct --model {registered.uri} --tracking-uri {reader.uri} --images IMAGES --out MESHES",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
