"""A Ray that a job starts is this process's own: on the loopback, with a token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

CLIENT = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=b"fun", timeout=20)
    print("let in")
except Exception as error:
    print("refused:", type(error).__name__)
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray that ``start_ray`` started without a mode, in a home without a token.

    Its token is that of the test run (tests/conftest.py), which Ray keeps for as long as a process lives.
    """
    import ray

    from raylift.data.ray_session import start_ray

    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        start_ray(1)
        yield ray.get_runtime_context().gcs_address
        assert not list(Path(os.environ["HOME"]).rglob("auth_token"))
        ray.shutdown()


def client(address: str, **settings: str) -> str:
    environment = {**os.environ, **settings}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, address], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr[-500:]


@pytest.mark.ray
def test_only_those_with_the_token_are_let_in(address: str) -> None:
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert client(address) == "let in"
    assert client(address, RAY_AUTH_TOKEN="0" * 64) == "refused: AuthenticationError"
    assert client(address, RAY_AUTH_TOKEN="", RAY_AUTH_MODE="disabled") == "refused: AuthenticationError"


@pytest.mark.ray
def test_nothing_listens_but_on_the_loopback(address: str) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10):
        pass
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", int(port)), timeout=10):
        pass


@pytest.mark.ray
def test_a_later_cluster_is_not_bound_to_the_loopback(address: str) -> None:
    from ray._private import ray_constants

    assert ray_constants.ENABLE_RAY_CLUSTER
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR not in os.environ


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from raylift.data import private_ray
    from raylift.data.private_ray import require_token

    monkeypatch.setattr(private_ray, "Config", SimpleNamespace(initialize=lambda settings: None))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    require_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.delenv("RAY_AUTH_MODE")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the user")
    require_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in os.environ
    (tmp_path / ".ray" / "auth_token").unlink()
    require_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
