"""Sends a spool to MLflow: each record once, in order, across crashes and restarts."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from raylift.tracking.address import known_address
from raylift.tracking.embedded_store import make_store
from raylift.tracking.spool import Spool, SpooledEvent, SpooledMetric

# The delivery thread retries itself; MLflow's own retries (7, of 120 s each) would delay a run's end by minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

RUN_KEY_TAG = "raylift.run_key"
_METRICS_AT_ONCE, _PARAMS_AT_ONCE, _TAGS_AT_ONCE = 1000, 100, 100
_PARAM_LENGTH, _TAG_LENGTH = 6000, 5000
_LASTING = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS"}


class Delivery:
    """Sends a spool's records to the server. Not thread-safe: one thread owns it.

    Before it resends unacknowledged metrics, or continues an existing run, it asks the server which steps it has: those
    are never repeated, except by values that replace them. Replacing values are always sent; of two values of a step
    MLflow shows the one with the later time.

    Args:
        spool: the records, and the run's identity.
        tracking_uri: server or store; "" for the recorded one, which holds no secrets.
    """

    def __init__(self, spool: Spool, tracking_uri: str = "") -> None:
        self._spool = spool
        self._tracking_uri = tracking_uri
        self._client: Any = None
        self._run_id = ""
        self._experiment_id = ""
        self._status_before = ""
        self._must_ask = False
        self._steps_there: dict[str, set[int]] = {}

    def send_pending(self, stop: threading.Event | None = None) -> None:
        """Send everything that is pending.

        Raises:
            Exception: the server is unreachable, or the store is locked; unsent records stay in the spool.
        """
        try:
            while not (stop is not None and stop.is_set()):
                if not self._run_id:
                    self._connect()
                metrics = self._spool.unsent_metrics(_METRICS_AT_ONCE)
                if metrics:
                    self._send_metrics(metrics)
                    continue
                event = self._spool.unsent_event()
                if event is None:
                    return
                self._send_event(event)
        except Exception:
            # The next attempt looks the run up again and asks what it has.
            self._run_id = ""
            raise

    def _connect(self) -> None:
        from mlflow import MlflowClient

        identity = self._spool.read_identity()
        address = self._tracking_uri or known_address(identity["tracking_uri"])
        if self._client is None:
            make_store(address)
            self._client = MlflowClient(tracking_uri=address)
        self._steps_there, self._must_ask = {}, True
        run_id = identity.get("run_id")
        experiment_id = identity.get("experiment_id") or self._experiment(identity["experiment"], address)
        if run_id is None:
            found = self._client.search_runs(
                [experiment_id], f"tags.`{RUN_KEY_TAG}` = '{identity['run_key']}'", max_results=1
            )
            run_id = found[0].info.run_id if found else None
        if run_id is None:
            tags = {RUN_KEY_TAG: identity["run_key"], "mlflow.source.name": "raylift", "mlflow.source.type": "JOB"}
            if "parent_run_id" in identity:
                tags["mlflow.parentRunId"] = identity["parent_run_id"]
            run = self._client.create_run(experiment_id, run_name=identity["run_name"], tags=tags)
            self._must_ask = False
            self._status_before = "FINISHED"
        else:
            run = self._client.get_run(run_id)
            # On first contact only: later it may be RUNNING because we set it.
            self._status_before = self._status_before or run.info.status
            if run.info.status != "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
        self._spool.write_identity({**identity, "run_id": run.info.run_id, "experiment_id": run.info.experiment_id})
        self._run_id, self._experiment_id = run.info.run_id, run.info.experiment_id

    def _experiment(self, name: str, tracking_uri: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            # Without a server, artifacts would go to the current folder, which differs between processes.
            store = urlparse(tracking_uri)
            place = f"file://{Path(store.path[1:]).parent}/mlartifacts" if store.scheme == "sqlite" else None
            try:
                location = f"{place}/{name}" if place else None
                # Its page then shows runs and their metrics first, not traces of language models.
                kind = {"mlflow.experimentKind": "custom_model_development"}
                return str(self._client.create_experiment(name, artifact_location=location, tags=kind))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)  # another process was first
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _send_metrics(self, metrics: list[SpooledMetric]) -> None:
        from mlflow.entities import Metric

        new = metrics
        if self._must_ask:
            for key in {metric.key for metric in metrics} - self._steps_there.keys():
                self._steps_there[key] = {entry.step for entry in self._client.get_metric_history(self._run_id, key)}
            new = [one for one in metrics if one.replaces or one.step not in self._steps_there[one.key]]
        entries = [Metric(metric.key, metric.value, metric.time_ms, metric.step) for metric in new]
        if entries:
            self._client.log_batch(self._run_id, metrics=entries)
        self._spool.mark_metrics_sent([metric.id for metric in metrics])

    def _send_event(self, event: SpooledEvent) -> None:
        from mlflow.exceptions import MlflowException

        try:
            getattr(self, f"_send_{event.kind}")(event.payload)
        except MlflowException as error:
            if error.error_code not in _LASTING:
                raise
            self._spool.mark_event_sent(event, refused=str(error).splitlines()[0])
        except FileNotFoundError as error:
            self._spool.mark_event_sent(event, refused=f"{error.filename} is gone")
        else:
            self._spool.mark_event_sent(event)

    def _send_params(self, params: dict[str, str]) -> None:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

        known = self._client.get_run(self._run_id).data.params if self._must_ask else {}
        new = [Param(name, value[:_PARAM_LENGTH]) for name, value in params.items() if name not in known]
        for start in range(0, len(new), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=new[start : start + _PARAMS_AT_ONCE])
        changed = sorted(
            name for name, value in params.items() if known.get(name, value[:_PARAM_LENGTH]) != value[:_PARAM_LENGTH]
        )
        if changed:
            raise MlflowException(
                "this run has other values of " + ", ".join(f"{name} ({known[name]})" for name in changed),
                error_code=INVALID_PARAMETER_VALUE,
            )

    def _send_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(name, value[:_TAG_LENGTH]) for name, value in tags.items()]
        for start in range(0, len(entries), _TAGS_AT_ONCE):
            self._client.log_batch(self._run_id, tags=entries[start : start + _TAGS_AT_ONCE])

    def _send_artifact(self, payload: dict[str, Any]) -> None:
        self._client.log_artifact(self._run_id, payload["path"], payload["folder"] or None)
        if "table" in payload:
            tag = "mlflow.loggedArtifacts"
            listed = json.loads(self._client.get_run(self._run_id).data.tags.get(tag, "[]"))
            entry = {"path": payload["table"], "type": "table"}
            if entry not in listed:
                self._client.set_tag(self._run_id, tag, json.dumps([*listed, entry]))
        if payload.get("image"):
            self._client.set_tag(self._run_id, "mlflow.loggedImages", "true")

    def _send_dataset(self, payload: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=payload["name"],
            digest=payload["digest"],
            source_type="local" if "://" not in payload["uri"] else payload["uri"].split("://")[0],
            source=json.dumps({"uri": payload["uri"]}),
            profile=json.dumps(payload["profile"]),
        )
        tags = [InputTag("mlflow.data.context", payload["context"])]
        self._client.log_inputs(self._run_id, [DatasetInput(dataset, tags)])

    def _send_model(self, payload: dict[str, Any]) -> None:
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        model = self._client.create_logged_model(
            experiment_id=self._experiment_id, name=payload["name"], source_run_id=self._run_id, model_type="pyfunc"
        )
        self._client.log_model_artifacts(model.model_id, payload["path"])
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])

    def _send_finish(self, payload: dict[str, Any]) -> None:
        self._status_before = payload["status"] or self._status_before
        if self._status_before != "RUNNING":
            self._client.set_terminated(self._run_id, self._status_before, payload["time_ms"])
