"""Scores of baselines, kept beside the data set: seeds and rows of a table that are told the same share them."""

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
    """Of one evaluation.

    Attributes:
        rows: by method and sample.
        notes: what a reader must know of them.
    """

    rows: Mapping[str, Mapping[str, Values]]
    notes: tuple[str, ...]


class BaselineCache:
    """The scores of one evaluation's baselines.

    Args:
        decides: everything beside the data and the code that decides them, as JSON can hold it.
    """

    def __init__(self, dataset: ShardedDataset, decides: Mapping[str, Any]) -> None:
        content = {"data": dataset.manifest.fingerprint, "code": _code_version(), **decides}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        self._storage = Storage.at(f"{dataset.uri}/{FOLDER}")
        self._name = f"{digest}.json"

    def read(self) -> BaselineScores | None:
        """What was kept; None where nothing was, or where it cannot be read."""
        try:
            if self._storage.size(self._name) is None:
                return None
            content = json.loads(self._storage.read(self._name))
            return BaselineScores(content["rows"], tuple(content["notes"]))
        except (StorageError, ValueError, KeyError) as error:
            logger.warning("baselines are scored again: %s/%s: %s", self._storage.uri, self._name, error)
            return None

    def write(self, scores: BaselineScores) -> None:
        """Keep them; a folder that cannot be written only costs the time of the next evaluation, and says so."""
        content = {"notes": list(scores.notes), "rows": scores.rows}
        try:
            self._storage.write(self._name, json.dumps(content).encode())
        except StorageError as error:
            logger.warning("baselines are not kept: %s", error)


@cache
def _code_version() -> str:
    """A digest of the sources that decide scores, so that an old score is never taken for one of today's code."""
    root = Path(raylift.__file__).parent
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
