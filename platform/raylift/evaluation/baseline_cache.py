"""Scores of baselines, cached with the data set and shared by seeds and table rows with the same conditioning."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import raylift
from raylift.core.errors import StorageError
from raylift.core.storage import Storage
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.scorer import Values

logger = logging.getLogger(__name__)

FOLDER = "baselines"
_CODE = ("evaluation", "metrics", "geometry", "rendering")


@dataclass(frozen=True)
class BaselineScores:
    """Baseline scores of one evaluation.

    Attributes:
        rows: scores by method and sample.
        notes: remarks for the reader.
    """

    rows: Mapping[str, Mapping[str, Values]]
    notes: tuple[str, ...]


class BaselineCache:
    """The cached scores of one evaluation's baselines.

    Args:
        decides: everything except data and code that the scores depend on, as JSON values.
    """

    def __init__(self, dataset: ShardedDataset, decides: Mapping[str, Any]) -> None:
        content = {"data": dataset.manifest.fingerprint, "code": _code_version(), **decides}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        self._storage = Storage.at(f"{dataset.uri}/{FOLDER}")
        self._name = f"{digest}.json"

    def read(self) -> BaselineScores | None:
        """Load the cached scores; None if missing or unreadable."""
        try:
            if self._storage.size(self._name) is None:
                return None
            content = json.loads(self._storage.read(self._name))
            return BaselineScores(content["rows"], tuple(content["notes"]))
        except (StorageError, ValueError, KeyError) as error:
            logger.warning("baselines are scored again: %s/%s: %s", self._storage.uri, self._name, error)
            return None

    def write(self, scores: BaselineScores) -> None:
        """Save the scores; if the folder cannot be written, log a warning, and the next evaluation scores again."""
        content = {"notes": list(scores.notes), "rows": scores.rows}
        try:
            self._storage.write(self._name, json.dumps(content).encode())
        except StorageError as error:
            logger.warning("baseline scores are not cached: %s", error)


@cache
def _code_version() -> str:
    """A digest of the source files that scores depend on, so that scores of older code are never reused."""
    root = Path(raylift.__file__).parent
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
