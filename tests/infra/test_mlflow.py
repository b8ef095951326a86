"""MLflow as a team runs it: the compose file, and its pieces as real processes with PostgreSQL, users and S3."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MLFLOW = ROOT / "infra" / "mlflow"
COMPOSE = [MLFLOW / "compose.yaml", ROOT / "infra" / "monitoring" / "compose.yaml"]

# The compose specification's keys, as far as such files need them: another one is a typing error.
_TOP = {"name", "services", "volumes", "networks", "configs", "secrets"}
_SERVICE = {"image", "command", "entrypoint", "environment", "env_file", "volumes", "ports", "networks", "network_mode"}
_SERVICE |= {"depends_on", "healthcheck", "restart", "logging", "security_opt", "cap_drop", "cap_add", "mem_limit"}
_SERVICE |= {"shm_size", "profiles", "user", "read_only", "tmpfs", "init", "stop_grace_period", "ulimits", "labels"}
_HEALTH = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}


def _services(path: Path) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(path.read_text())["services"]
    return services


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_knows_every_key(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert {key for key in document if not key.startswith("x-")} <= _TOP
    for name, service in document["services"].items():
        assert set(service) <= _SERVICE, name
        assert set(service.get("healthcheck", {})) <= _HEALTH, name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in document["services"][other]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if re.fullmatch(r"[a-z]+", source):
                assert source in document["volumes"], volume
        for network in service.get("networks", []):
            assert network in document["networks"], network


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_pins_images_and_has_no_secret(path: Path) -> None:
    for name, service in _services(path).items():
        image = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", service["image"])
        assert image.startswith("${") or re.search(r":v?\d+\.\d+", image), name
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY", variable):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), variable


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_publishes_nothing_beyond_the_machine(path: Path) -> None:
    for service in _services(path).values():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${MLFLOW_PUBLISH:-127.0.0.1}:")), port


def test_every_setting_of_compose_is_in_its_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE[0].read_text()))
    given = {line.partition("=")[0] for line in (MLFLOW / "example.env").read_text().splitlines() if "=" in line}
    assert needed <= given


def test_the_database_is_one_version_everywhere() -> None:
    files = [COMPOSE[0], *(ROOT / "infra" / "kubernetes" / "base" / "mlflow").glob("*.yaml")]
    assert len({image for file in files for image in re.findall(r"postgres:[\w.-]+", file.read_text())}) == 1


def _missing() -> str:
    from importlib.util import find_spec

    servers = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = {"PostgreSQL (apt-get install postgresql)": servers, "psql": shutil.which("psql")}
    found |= {name: find_spec(name) for name in ("flask_wtf", "moto", "psycopg")}
    return ", ".join(name for name, there in found.items() if not there)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def installation() -> Iterator[dict[str, str]]:
    """The environment of local.sh, with the server and its database running and artifacts on a stand-in for S3."""
    if missing := _missing():
        pytest.skip(f"not installed: {missing}")
    import boto3
    from moto.server import ThreadedMotoServer

    # Short, for the socket's path, and open to the user that PostgreSQL runs as.
    home = Path(tempfile.mkdtemp(prefix="mlflow-", dir="/tmp"))
    home.chmod(0o755)
    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    keys["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=keys["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    ).create_bucket(Bucket="artifacts")
    own = {"MLFLOW_HOME": str(home), "MLFLOW_PORT": str(_free_port()), "MLFLOW_ARTIFACTS": "s3://artifacts/mlflow"}
    own |= {"MLFLOW_WORKERS": "1", "PYTHON": sys.executable}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_", "PG"))}
    environment = {**kept, **keys, **own, "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        _local(environment, "start")
        yield environment
    finally:
        subprocess.run(["bash", str(MLFLOW / "local.sh"), "stop"], env=environment, check=False, capture_output=True)
        store.stop()
        shutil.rmtree(home, ignore_errors=True)


def _local(environment: dict[str, str], *words: str) -> str:
    command = ["bash", str(MLFLOW / "local.sh"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _settings(environment: dict[str, str]) -> dict[str, str]:
    """What `local.sh env` gives a client: the server's address, a user and a password."""
    return dict(re.findall(r"(MLFLOW_\w+)=(\S+)", _local(environment, "env")))


def _client(environment: dict[str, str], code: str) -> str:
    """What code prints that knows the server's address and a password, and nothing of its database or store."""
    clean = {name: value for name, value in environment.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    clean |= {**_settings(environment), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _post(settings: dict[str, str], path: str, body: dict[str, Any], password: str = "") -> dict[str, Any]:
    """A request as MLflow's client makes it, without the seconds that its import takes."""
    user = f"{settings['MLFLOW_TRACKING_USERNAME']}:{password or settings['MLFLOW_TRACKING_PASSWORD']}"
    request = urllib.request.Request(
        f"{settings['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {b64encode(user.encode()).decode()}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _runs(settings: dict[str, str], password: str = "") -> list[tuple[str, float]]:
    """Name and loss of each run that is not deleted."""
    found = _post(settings, "runs/search", {"experiment_ids": ["1"]}, password).get("runs", [])
    return [(run["info"]["run_name"], run["data"]["metrics"][0]["value"]) for run in found]


_LOG = """
import mlflow
client = mlflow.MlflowClient()
experiment = client.create_experiment("seats")
run = client.create_run(experiment, run_name="first")
client.log_metric(run.info.run_id, "loss", 0.25, step=3)
client.log_text(run.info.run_id, "a note", "note.txt")
print(run.info.run_id)
print(mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"))
"""


@pytest.mark.server
@pytest.mark.slow
def test_a_team_logs_backs_up_and_restores(installation: dict[str, str]) -> None:
    """One test, since the server takes many seconds to start."""
    settings = _settings(installation)
    run_id, note = _client(installation, _LOG).splitlines()
    assert note == "a note"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _runs(settings, password="wrong")

    home = Path(installation["MLFLOW_HOME"])
    password = re.findall(r"^PGPASSWORD=(.+)$", (home / "settings").read_text(), re.MULTILINE)[0]
    assert (home / "settings").stat().st_mode & 0o077 == 0
    assert password not in _commands()

    _local(installation, "backup", "save", str(home / "monday.dump"))
    assert (home / "monday.dump").stat().st_mode & 0o077 == 0
    _local(installation, "backup", "copy", str(home / "monday.dump"), "s3://artifacts/monday.dump")
    _post(settings, "runs/delete", {"run_id": run_id})
    assert _runs(settings) == []
    _local(installation, "backup", "restore", "s3://artifacts/monday.dump")
    assert _runs(settings) == [("first", 0.25)]
    # Nothing to migrate: the tables are this version's.
    _local(installation, "backup", "migrate")

    _local(installation, "stop")
    assert str(home) not in _commands()
    assert f"--port {installation['MLFLOW_PORT']}" not in _commands()


def _commands() -> str:
    """The command lines of all processes."""
    return subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, text=True, check=True).stdout
