"""Ray clusters of several raylets on this machine, apart from any other Ray: own folder, free ports, own processes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

STARTS_WITHIN_S = 120.0
HEAD_TYPE = "ray.head.default"
_NO_COMMANDS = (
    "setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip
"""Fields that the launcher asks of every provider."""


@dataclass(frozen=True)
class Running:
    """A cluster that is up.

    Attributes:
        address: address for drivers (RAY_ADDRESS).
        jobs: address of its job server; "" without one.
    """

    address: str
    jobs: str = ""


@contextmanager
def static_cluster(*cpus: float, **node_variables: Mapping[str, str]) -> Iterator[Running]:
    """A head without CPUs and a node for each number of CPUs.

    Args:
        node_variables: ``node1={"NAME": "value"}`` is the environment of the second such node and its workers.
    """
    from ray.cluster_utils import Cluster

    with _own_folder():
        cluster = Cluster()
        port = free_port()
        try:
            cluster.add_node(
                num_cpus=0,
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                dashboard_port=port,
                **_agent_ports("metrics_agent_port"),
            )
            for index, count in enumerate(cpus):
                variables = dict(node_variables.get(f"node{index}", {}))
                cluster.add_node(num_cpus=count, env_vars=variables, **_agent_ports("metrics_agent_port"))
            jobs = f"http://127.0.0.1:{port}"
            _wait_for(jobs)
            yield Running(cluster.address, jobs)
        finally:
            for node in list(cluster.worker_nodes):
                cluster.remove_node(node, allow_graceful=False)
            if cluster.head_node is not None:
                cluster.remove_node(cluster.head_node, allow_graceful=False)


@contextmanager
def autoscaled_cluster(workers: Mapping[str, Mapping[str, Any]], *, v2: bool = True) -> Iterator[Running]:
    """A cluster that starts at zero: a head without CPUs, and Ray's own autoscaler over its provider of local raylets.

    ``ray.cluster_utils.AutoscalingCluster`` does the same, but stops every other Ray of the machine, too, and the
    published package lacks its settings file.

    Args:
        workers: node types: ``{"cpu": {"resources": {"CPU": 1}, "max_workers": 2}}``.
        v2: which of Ray's two autoscalers.
    """
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
    from ray.util import get_node_ip_address

    with _own_folder() as folder:
        gcs = free_port()
        gcs_address = f"{get_node_ip_address()}:{gcs}"
        settings = {
            "cluster_name": "test",
            "max_workers": 8,
            "idle_timeout_minutes": 2,
            "provider": {
                "type": "external",
                "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
                "foreground_node_launch": True,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "gcs_address": gcs_address,
                "launch_multiple": v2,
            },
            "available_node_types": {
                HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                **{name: {"node_config": {}, "min_workers": 0, **one} for name, one in workers.items()},
            },
            "head_node_type": HEAD_TYPE,
            **{name: [] for name in _NO_COMMANDS},
            "auth": {},
            "docker": {},
            "file_mounts": {},
        }
        path = Path(folder) / "autoscaling.json"
        path.write_text(json.dumps(settings))
        command = [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=0",
            f"--port={gcs}", "--include-dashboard=false",
            *(f"--{name.replace('_', '-')}={port}" for name, port in _agent_ports("dashboard_agent_grpc_port").items()),
            f"--autoscaling-config={path}", f"--temp-dir={folder}",
            f"--ray-client-server-port={free_port()}",
        ]  # fmt: skip
        told = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_NODE_TYPE_NAME": HEAD_TYPE,
            "RAY_enable_autoscaler_v2": "1" if v2 else "0",
        }
        started = _start(command, {**os.environ, **told}, Path(folder))
        try:
            yield Running(gcs_address)
        finally:
            _stop(started, folder)


def _start(command: list[str], variables: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a head; tried three times, since Ray gives up where a busy machine takes longer than it has patience."""
    log = folder / "start.log"
    for remaining in (2, 1, 0):
        with log.open("w") as stream:
            started = subprocess.Popen(
                command, env=variables, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        while started.poll() is None:
            if "Ray runtime started" in log.read_text():
                return started
            time.sleep(0.2)
        _end_all_of(str(folder))
        assert remaining, log.read_text()[-2000:]
    raise AssertionError


def _stop(started: subprocess.Popen[bytes], folder: str) -> None:
    started.terminate()
    with suppress(subprocess.TimeoutExpired):
        started.wait(timeout=15)
    _end_all_of(folder)
    started.wait(timeout=15)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _agent_ports(grpc: str) -> dict[str, int]:
    """Ports of a node's agents. Where Ray chooses them, its node fails if the agents take 30 s to tell, as they do on a
    busy machine."""
    names = (grpc, "dashboard_agent_listen_port", "runtime_env_agent_port", "metrics_export_port")
    return {name: free_port() for name in names}


@contextmanager
def _own_folder() -> Iterator[str]:
    """Ray's temporary folder for this cluster: another process's ``ray.init()`` would join the one named in the shared
    folder. Its path is short, since sockets lie in it."""
    folder = tempfile.mkdtemp(prefix="rl", dir="/tmp")
    patched = pytest.MonkeyPatch()
    patched.setenv("RAY_TMPDIR", folder)
    patched.delenv("RAY_ADDRESS", raising=False)
    try:
        yield folder
    finally:
        patched.undo()
        _end_all_of(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(jobs: str) -> None:
    """Until the job server answers, which wants the token of the tests (``tests/conftest.py``)."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    known = {"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"}
    request = urllib.request.Request(f"{jobs}/api/jobs/", headers=known)
    while True:
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):
            return
        assert time.monotonic() < deadline, f"no job server at {jobs}"
        time.sleep(0.2)


def _end_all_of(folder: str) -> None:
    """End every process of a cluster, each of which is told its folder; a daemon outlives what started it."""
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
