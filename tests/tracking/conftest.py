"""A real store, made once: MLflow takes seconds to lay out its tables."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raylift.tracking.mlflow_tracker import default_tracking_uri


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    MlflowClient(default_tracking_uri(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A folder with an empty store in it."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(store: Path) -> Callable[[int], object]:
    """A context manager that runs ``mlflow server`` on a port while it is open."""

    @contextmanager
    def run(port: int) -> Iterator[str]:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
        command += [
            "--backend-store-uri",
            default_tracking_uri(store),
            "--artifacts-destination",
            str(store / "artifacts"),
        ]
        with open(store / "server.log", "a") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            uri = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{uri}/health", timeout=1)
                    break
                except OSError:
                    assert server.poll() is None, (store / "server.log").read_text()[-2000:]
                    time.sleep(0.2)
            yield uri
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)

    return run
