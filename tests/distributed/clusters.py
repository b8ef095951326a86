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


@dataclass(frozen=True)
class Running:
    """A cluster that is up.

    Attributes:
        jobs: address of its job server.
        address: address for drivers (RAY_ADDRESS).
        nodes: its Ray nodes, the head first; empty where an autoscaler starts them.
    """

    jobs: str
    address: str
    nodes: tuple[Any, ...] = ()


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
                dashboard_agent_listen_port=free_port(),
            )
            for index, count in enumerate(cpus):
                cluster.add_node(num_cpus=count, env_vars=dict(node_variables.get(f"node{index}", {})))
            jobs = f"http://127.0.0.1:{port}"
            _wait_for(jobs)
            yield Running(jobs, cluster.address, (cluster.head_node, *cluster.worker_nodes))
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
        gcs, jobs = free_port(), free_port()
        gcs_address = f"{get_node_ip_address()}:{gcs}"
        settings = {
            "cluster_name": "test",
            "max_workers": 8,
            "idle_timeout_minutes": 2,
            "provider": {
                "type": "fake_multinode",
                "head_node_id": FAKE_HEAD_NODE_ID,
                "gcs_address": gcs_address,
                "launch_multiple": v2,
            },
            "available_node_types": {
                HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                **{name: {"node_config": {}, "min_workers": 0, **one} for name, one in workers.items()},
            },
            "head_node_type": HEAD_TYPE,
        }
        path = Path(folder) / "autoscaling.json"
        path.write_text(json.dumps(settings))
        command = [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=0",
            f"--port={gcs}", f"--dashboard-port={jobs}", "--dashboard-host=127.0.0.1",
            f"--dashboard-agent-listen-port={free_port()}", f"--autoscaling-config={path}", f"--temp-dir={folder}",
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
        with (Path(folder) / "start.log").open("w") as log:
            started = subprocess.Popen(
                command, env={**os.environ, **told}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            _wait_for(f"http://127.0.0.1:{jobs}", started)
            yield Running(f"http://127.0.0.1:{jobs}", gcs_address)
        finally:
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


def _wait_for(jobs: str, started: subprocess.Popen[bytes] | None = None) -> None:
    """Until the job server answers; fails at once if what was to start it has ended."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{jobs}/api/jobs/", timeout=5):
            return
        assert started is None or started.poll() is None, "ray start has ended: see start.log in its folder"
        assert time.monotonic() < deadline, f"no job server at {jobs}"
        time.sleep(0.2)


def _end_all_of(folder: str) -> None:
    """End every process of a cluster, each of which is told its folder; a daemon outlives what started it."""
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
