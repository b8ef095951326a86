"""Finds runs on a tracking server by id, name or folder, reads them, and adds files to them."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raylift.core.errors import ConfigError

# Fail fast: a reader blocks on the server's response.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class TrackedRun:
    """What a server knows about a run.

    Attributes:
        params: the recipe, flat.
        curves: metrics that were logged at more than one step, by name: (step, value), by step.
        metrics: the last value of every metric.
        scores: rows of an evaluation, one per object and method, by split.
        data: digests of its data sets by context: "training", or the evaluated split.
    """

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Points] = field(default_factory=dict)
    scores: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.tags.get("model", "")


class TrackingReader:
    """Reads runs from an MLflow server or store.

    Args:
        tracking_uri: see ``tracking.address``.

    Raises:
        ConfigError: the store is missing.
    """

    def __init__(self, tracking_uri: str) -> None:
        path = tracking_uri.removeprefix("sqlite:///")
        if path != tracking_uri and not Path(path).is_file():
            raise ConfigError(f"there is no tracking store {path}", "set --tracking to a server or sqlite:////...")
        self.uri = tracking_uri
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            from mlflow import MlflowClient  # it takes seconds to import

            self._made = MlflowClient(tracking_uri=self.uri)
        return self._made

    def find(self, what: str) -> str:
        """The id of a run, given its id, name or folder.

        Raises:
            ConfigError: no run matches, several do, or the server does not answer.
        """
        with self._answers():
            identity = Path(what) / "tracking" / "run.json"
            known = json.loads(identity.read_text()).get("run_id", "") if identity.is_file() else what
            if re.fullmatch(r"[0-9a-f]{32}", known):
                found = self._by_id(known)
            elif "/" in what:
                folder = what.rstrip("/") if "://" in what else str(Path(what).absolute())
                found = self._search(f"tags.`run.folder` = {_quoted(folder)}")
            else:
                found = self._search(f"attributes.run_name = {_quoted(what)}")
            if len(found) == 1:
                return str(found[0].info.run_id)
            if found:
                listed = ", ".join(f"{run.info.run_id} ({run.info.status.lower()})" for run in found[:8])
                raise ConfigError(f"{len(found)} runs of {self.uri} are called {what!r}", f"use an id: {listed}")
            names = list(dict.fromkeys(run.info.run_name for run in self._search("")))
        near = difflib.get_close_matches(what, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the latest are: {', '.join(names[:8]) or 'none'}"
        raise ConfigError(f"{self.uri} has no run {what!r}", hint)

    def read(self, run_id: str) -> TrackedRun:
        """Read all of a run but its files.

        Raises:
            ConfigError: the run is missing, or the server does not answer.
        """
        with self._answers():
            run = self._client.get_run(run_id)
            curves = {name: self.curve(run_id, name) for name in run.data.metrics if not name.startswith("system/")}
            splits = [item.path for item in self._client.list_artifacts(run_id, "evaluation") if item.is_dir]
            scores = {Path(path).name: self._table(run_id, f"{path}/objects.json") for path in splits}
        data = {
            next((tag.value for tag in entry.tags if tag.key == "mlflow.data.context"), ""): entry.dataset.digest
            for entry in run.inputs.dataset_inputs
        }
        tags = run.data.tags
        known = {"training": tags.get("data.fingerprint", data.get("training", ""))}
        known |= {split: tags.get(f"evaluation.{split}.data", known["training"]) for split in scores}
        return TrackedRun(
            run_id=run_id,
            name=run.info.run_name or run_id,
            status=run.info.status,
            params=dict(run.data.params),
            tags=dict(tags),
            metrics=dict(run.data.metrics),
            curves={name: points for name, points in curves.items() if len(points) > 1},
            scores={split: rows for split, rows in scores.items() if rows},
            data=known,
        )

    def curve(self, run_id: str, name: str) -> Points:
        """One metric over the steps; of a step logged twice, the last value."""
        with self._answers():
            history = self._client.get_metric_history(run_id, name)
        return tuple(sorted({point.step: point.value for point in history}.items()))

    def fetch_meshes(self, run_id: str, split: str, folder: Path) -> dict[str, Path]:
        """Meshes of held-out objects by the stem of their files: an evaluation's, or the last that training drew.

        Args:
            split: the evaluated split; "" for none.
            folder: folder to download to.
        """
        with self._answers():
            there = self._client.list_artifacts(run_id, f"evaluation/{split}/meshes") if split else []
            are_panels = not there
            if are_panels:
                steps = [item.path for item in self._client.list_artifacts(run_id, "meshes") if item.is_dir]
                there = self._client.list_artifacts(run_id, max(steps)) if steps else []
            folder.mkdir(parents=True, exist_ok=True)
            paths = [item.path for item in there if item.path.endswith(".glb")]
            found = [Path(self._client.download_artifacts(run_id, path, str(folder))) for path in paths]
        # Names of training panels start with their position.
        return {re.sub(r"^\d+-", "", path.stem) if are_panels else path.stem: path for path in found}

    def add_file(self, run_id: str, path: Path, folder: str) -> None:
        """Add a file to the artifacts of a run, which may have ended."""
        with self._answers():
            self._client.log_artifact(run_id, str(path), folder)

    def _by_id(self, run_id: str) -> list[Any]:
        from mlflow.exceptions import MlflowException

        try:
            return [self._client.get_run(run_id)]
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return []

    def _search(self, filter_string: str) -> list[Any]:
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        return list(self._client.search_runs(experiments, filter_string, max_results=1000)) if experiments else []

    def _table(self, run_id: str, path: str) -> list[dict[str, Any]]:
        folder = str(Path(path).parent)
        if path not in {item.path for item in self._client.list_artifacts(run_id, folder)}:
            return []
        table = json.loads(Path(self._client.download_artifacts(run_id, path)).read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    @contextmanager
    def _answers(self) -> Iterator[None]:
        with server_answers(self.uri):
            yield


@contextmanager
def server_answers(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's errors into ones that name the server.

    Raises:
        ConfigError: it does not answer, or refuses the request.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        raise ConfigError(
            f"the tracking server {tracking_uri} does not answer as it should: {reason}",
            "start it, check its address, or set another one with --tracking",
        ) from error


def _quoted(text: str) -> str:
    # MLflow's filters know no escapes, only both kinds of quotes.
    return f'"{text}"' if "'" in text else f"'{text}'"
