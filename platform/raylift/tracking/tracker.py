"""The tracker protocol: what a run logs; and a tracker that needs no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Tracker(Protocol):
    """Where a run logs. No call may stop training: a tracker that cannot reach its server keeps its records and sends
    them later."""

    def log_params(self, params: Mapping[str, str | int | float | bool]) -> None:
        """The recipe, flat, by dotted path; once per run."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Model, git revision, data set, versions."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Values by name at a step. After a restart, steps already logged are not logged twice."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file, under a folder of the run's artifacts."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table as ``<name>.json`` that the server's page shows."""

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """An image, uint8 [H, W, 3], that the server's page shows over the steps."""

    def log_dataset(
        self, name: str, uri: str, digest: str, profile: Mapping[str, Any], context: str = "training"
    ) -> None:
        """The data set as the run's input: its location, the digest of its manifest, and its counts."""

    def log_model(self, folder: Path, name: str = "model") -> None:
        """A model folder as ``tracking.model.save_model`` writes it."""

    def finish(self, status: str = "FINISHED") -> None:
        """Flush; the run ends as "FINISHED", "FAILED" or "KILLED".

        With "" its status stays as it was, since adding to a run says nothing about how it ended; a new run is then
        finished.
        """


@dataclass
class MemoryTracker:
    """Keeps everything in lists; for tests and for ``--tracking none``."""

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    artifacts: list[tuple[str, Path]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    images: list[tuple[str, int, np.ndarray]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    models: list[tuple[str, Path]] = field(default_factory=list)
    status: str = "RUNNING"

    def log_params(self, params: Mapping[str, str | int | float | bool]) -> None:
        self.params.update(params)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags.update(tags)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        self.artifacts.append((folder, Path(path)))

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.tables[name] = [dict(row) for row in rows]

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        self.images.append((name, step, image))

    def log_dataset(
        self, name: str, uri: str, digest: str, profile: Mapping[str, Any], context: str = "training"
    ) -> None:
        self.datasets.append({"name": name, "uri": uri, "digest": digest, "profile": dict(profile), "context": context})

    def log_model(self, folder: Path, name: str = "model") -> None:
        self.models.append((name, Path(folder)))

    def finish(self, status: str = "FINISHED") -> None:
        self.status = status or self.status
