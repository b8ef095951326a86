"""The iso-level that an evaluation chose for a checkpoint, kept in its run's folder."""

from __future__ import annotations

import json
import logging

from raylift.core.errors import RayliftError
from raylift.core.storage import Storage

logger = logging.getLogger(__name__)

LEVEL_NAME = "level.json"


def keep_level(where: str, level: float) -> None:
    """Save, in a run's folder, the iso-level that an evaluation of its checkpoint chose.

    If the folder is not writable, the evaluation still succeeds: reconstructions then use level 0, and a warning is
    logged.
    """
    run, name = _run_of(where)
    if run is None:
        return
    try:
        run.write(LEVEL_NAME, json.dumps({"checkpoint": name, "level": level}).encode())
    except RayliftError as error:
        logger.warning("could not save the iso-level %+g with the run, set evaluation.level to it: %s", level, error)


def kept_level(where: str) -> float:
    """The level that ``keep_level`` saved for a checkpoint; 0 if it did not."""
    run, name = _run_of(where)
    if run is None or LEVEL_NAME not in run.names():
        return 0.0
    content = json.loads(run.read(LEVEL_NAME))
    return float(content["level"]) if content["checkpoint"] == name else 0.0


def _run_of(where: str) -> tuple[Storage | None, str]:
    """The run's folder, None for a checkpoint outside of a run, and the checkpoint's name."""
    folder, _, name = where.rpartition("/")
    run, _, kind = folder.rpartition("/")
    return (Storage.at(run), name) if run and kind == "checkpoints" else (None, name)
