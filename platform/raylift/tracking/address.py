"""Where runs are tracked: one rule for every job."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from raylift.core.errors import ConfigError
from raylift.core.redaction import HIDDEN

NO_TRACKING = "none"


def default_tracking_uri(folder: Path | str) -> str:
    """The embedded store: SQLite in a folder, by absolute path, since Ray Train's workers change theirs."""
    return f"sqlite:///{Path(folder).absolute()}/mlflow.db"


def tracking_beside(storage: str) -> str:
    """The embedded store in a folder of runs; for an object store, in the current folder."""
    return default_tracking_uri("." if "://" in storage else storage)


def tracking_for(given: str, storage: str) -> str:
    """Where a new run is tracked.

    Args:
        given: value of ``--tracking``: a server or store, "none", or "" for the default.
        storage: folder of runs.

    Returns:
        MLflow tracking URI; "" disables tracking.
    """
    return "" if given == NO_TRACKING else given or tracking_beside(storage)


def tracking_of(given: str, runs: Sequence[str]) -> str:
    """Where finished runs are tracked: as given, else MLFLOW_TRACKING_URI, else what the first run's folder records,
    else the embedded store in ``runs``."""
    if given or os.environ.get("MLFLOW_TRACKING_URI"):
        return given or os.environ["MLFLOW_TRACKING_URI"]
    for run in runs:
        about = Path(run) / "run.json"
        if about.is_file() and (uri := json.loads(about.read_text()).get("tracking")):
            return known_address(str(uri))
    return default_tracking_uri("runs")


def known_address(recorded: str) -> str:
    """A recorded tracking URI, which holds no secrets; with secrets it is in MLFLOW_TRACKING_URI.

    Raises:
        ConfigError: it is not.
    """
    if HIDDEN not in recorded:
        return recorded
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not given:
        raise ConfigError(
            f"the run was tracked on {recorded}, whose credentials are not recorded",
            "set MLFLOW_TRACKING_URI to the whole address",
        )
    return given
