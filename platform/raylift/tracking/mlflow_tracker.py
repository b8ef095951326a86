"""MLflow as a tracker that never blocks training: calls write to a spool, and a thread sends it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raylift.core.errors import ConfigError
from raylift.core.redaction import redacted
from raylift.tracking.delivery import Delivery
from raylift.tracking.spool import Spool
from raylift.tracking.system_metrics import SystemMetrics

logger = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0


class MlflowTracker:
    """A ``Tracker`` that writes to an MLflow run.

    Every call returns after a local write (well under a millisecond for metrics). A background thread creates the run
    and sends in order; while the server is unreachable it backs off, up to 10 s between attempts. What is unsent at the
    end stays in the spool: the next tracker on that spool, or ``python -m raylift.tracking.catch_up``, sends it.

    Args:
        tracking_uri: server or store; see ``tracking.address``.
        experiment: name of the experiment, created if missing.
        run_name: name shown on the page.
        spool: local folder of this run, the same one after a restart, so that the same MLflow run continues. Several
            live processes may share it.
        run_id: id of an existing run to write to.
        run_key: identifies the run if the spool does not survive (another machine): an existing run of the experiment
            with this key is continued. By default the spool creates one.
        parent_run_id: id of the parent run, for a child run (sweeps).
        system_metrics_every_s: seconds between samples of CPU, memory, disk, network and GPU use, logged under
            ``system/``; 0 disables them.
        finish_timeout_s: how long ``finish`` waits for the server.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        run_name: str,
        spool: Path | str,
        *,
        run_id: str | None = None,
        run_key: str | None = None,
        parent_run_id: str | None = None,
        system_metrics_every_s: float = 10.0,
        finish_timeout_s: float = 60.0,
    ) -> None:
        if tracking_uri.startswith("sqlite:///") and not tracking_uri.startswith("sqlite:////"):
            raise ConfigError(
                f"tracking store {tracking_uri} is a relative path", "use sqlite:////absolute/path/mlflow.db"
            )
        self.uri = tracking_uri
        self._spool = Spool(Path(spool))
        identity = self._spool.read_identity()
        given = {"run_id": run_id, "run_key": run_key, "parent_run_id": parent_run_id}
        identity.update({name: value for name, value in given.items() if value})
        identity.update(tracking_uri=redacted(tracking_uri), experiment=experiment, run_name=run_name)
        self._spool.write_identity(identity)
        self._delivery = Delivery(self._spool, tracking_uri)
        self._finish_timeout_s = finish_timeout_s
        self._wake, self._stop, self._drained = threading.Event(), threading.Event(), threading.Event()
        self._is_finished = False
        self._last_error = ""
        self._sender = threading.Thread(target=self._send_forever, name="mlflow-sender", daemon=True)
        self._sender.start()
        self._system = SystemMetrics(self.log_metrics, self._spool.last_step, system_metrics_every_s)

    # -- Tracker ------------------------------------------------------------------------------------------------------

    def log_params(self, params: Mapping[str, str | int | float | bool]) -> None:
        self._keep(lambda: self._spool.add_event("params", {name: str(value) for name, value in params.items()}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._keep(lambda: self._spool.add_event("tags", {name: str(value) for name, value in tags.items()}))

    def log_metrics(self, metrics: Mapping[str, float], step: int, replace: bool = False) -> None:
        """Values by name at a step. A second value of a step is dropped, or with ``replace`` replaces the first."""
        named = {_metric_name(name): value for name, value in metrics.items()}
        self._keep(lambda: self._spool.add_metrics(named, step, replace))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        self._keep(
            lambda: self._spool.add_event("artifact", {"path": str(self._spool.copy_in(Path(path))), "folder": folder})
        )

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = {"columns": columns, "data": [[_plain(row.get(column)) for column in columns] for row in rows]}
        self._keep(lambda: self._add_bytes(f"{name}.json", json.dumps(table).encode(), table=f"{name}.json"))

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """uint8 [H, W, 3]: shown on the page with a slider over steps."""
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "png")
        # The page groups by this file-name pattern; the second copy is what it shows as a thumbnail.
        stem = f"images/{name.replace('/', '~')}+step+{step}+timestamp+{int(time.time() * 1000)}+{os.urandom(8).hex()}"
        thumbnail = io.BytesIO()
        Image.fromarray(image).save(thumbnail, "webp", quality=80)
        self._keep(lambda: self._add_bytes(f"{stem}.png", encoded.getvalue()))
        self._keep(lambda: self._add_bytes(f"{stem}+compressed.webp", thumbnail.getvalue(), image=True))

    def log_dataset(
        self, name: str, uri: str, digest: str, profile: Mapping[str, Any], context: str = "training"
    ) -> None:
        """The data set as the run's input: its location, the digest of its manifest, and its counts."""
        payload = {"name": name, "uri": uri, "digest": digest[:36], "profile": dict(profile), "context": context}
        self._keep(lambda: self._spool.add_event("dataset", payload))

    def log_model(self, folder: Path, name: str = "model") -> None:
        """A model folder as ``tracking.model.save_model`` writes it; loads as ``runs:/<run id>/<name>``."""
        self._keep(
            lambda: self._spool.add_event("model", {"path": str(self._spool.copy_in(Path(folder))), "name": name})
        )

    def finish(self, status: str = "FINISHED") -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self._system.stop()
        self._keep(lambda: self._spool.add_event("finish", {"status": status, "time_ms": int(time.time() * 1000)}))
        self.flush(self._finish_timeout_s)
        self._stop.set()
        self._wake.set()
        self._sender.join(timeout=15.0)
        unsent = self._spool.num_unsent()
        if unsent:
            logger.warning(
                "%d records did not reach MLflow (%s); send them later with: python -m raylift.tracking.catch_up %s",
                unsent, self._last_error or "out of time", self._spool.folder,
            )  # fmt: skip
        for refusal in self._spool.refusals():
            logger.warning("MLflow refused %s", refusal)
        if not self._sender.is_alive():
            self._spool.close()

    # -- for callers that know it is MLflow ----------------------------------------------------------------------------

    @property
    def run_id(self) -> str | None:
        """The run's id, once the server has assigned one."""
        return self._spool.read_identity().get("run_id")

    def wait_for_run_id(self, timeout_s: float = 30.0) -> str | None:
        """The run's id, waiting for the server at most ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while (found := self.run_id) is None and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything is sent; False on a timeout."""
        end = time.monotonic() + timeout_s
        while self._spool.num_unsent():
            self._wake.set()
            if time.monotonic() >= end or not self._sender.is_alive():
                return False
            time.sleep(0.02)
        return True

    # -- inside --------------------------------------------------------------------------------------------------------

    def _add_bytes(self, name: str, content: bytes, **more: Any) -> None:
        place = self._spool.writer / "files" / os.urandom(16).hex() / Path(name).name
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        folder = str(Path(name).parent) if Path(name).parent != Path() else ""
        self._spool.add_event("artifact", {"path": str(place), "folder": folder, **more})

    def _keep(self, write: Any) -> None:
        # A full disk or a missing file must not stop a run of hours: warn and continue.
        try:
            write()
        except Exception as error:
            logger.warning("tracking could not save a record: %s", error)
        self._wake.set()

    def _send_forever(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._stop.is_set():
            try:
                self._delivery.send_pending(self._stop)
                wait_s = _FIRST_WAIT_S
                self._wake.wait(timeout=5.0)
                self._wake.clear()
            except Exception as error:
                said = redacted(str(error))
                if said != self._last_error:
                    logger.warning("MLflow is unreachable, keeping records in %s: %s", self._spool.folder, said)
                self._last_error = said
                self._stop.wait(timeout=wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w\-./ :]", "_", name)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
