"""Jobs of a job server that is not there: what is refused, what is uploaded, what is shown, how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from raylift.core.errors import ConfigError
from raylift.runs import submission
from raylift.runs.submission import EXCLUDES, JobServer, check_command, exit_status_of
from tests.scripts import load_job

OUTPUT = ["step 1\n", "step 2, which is a long line\n", "step 3\n"]


class _Client:
    """As much of Ray's client as is used. Its first connection breaks within the second piece of output."""

    def __init__(self, address: str) -> None:
        self.address, self.submitted, self.connections = address, [], 0  # type: ignore[var-annotated]
        self.status, self.exit_status = "RUNNING", 3

    def submit_job(self, **job: Any) -> str:
        self.submitted.append(job)
        return "job-1"

    def list_jobs(self) -> list[Any]:
        jobs = [(job["entrypoint"], self.status) for job in self.submitted]
        return [SimpleNamespace(entrypoint=text, status=status, submission_id="job-1") for text, status in jobs]

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        self.connections += 1
        if self.connections == 1:
            yield OUTPUT[0]
            yield OUTPUT[1][:7]
            raise RuntimeError("the connection broke")
        for piece in OUTPUT[:2]:
            yield piece
        self.status = "FAILED"

    def get_job_info(self, job: str) -> Any:
        if job != "job-1":
            raise RuntimeError("404")
        status = SimpleNamespace(value=self.status)
        return SimpleNamespace(status=status, message="it ended", driver_exit_code=self.exit_status)

    def get_job_logs(self, job: str) -> str:
        return "".join(OUTPUT)

    def stop_job(self, job: str) -> bool:
        self.status = "STOPPED"
        return True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> _Client:
    made = _Client("")

    def make(address: str) -> _Client:
        made.address = address
        return made

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", make)
    monkeypatch.setattr(submission, "POLL_S", 0.0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    return made


def test_scripts_are_run_by_the_cluster_s_python() -> None:
    command = ["jobs/train.py", "implicit/quick", "--data", "s3://b/seats", "--storage", "s3://b/runs", "seed=1"]
    assert check_command(command) == ["python", *command]
    assert check_command(["echo", "two words"]) == ["echo", "two words"]
    assert check_command(["tuning/sweep.py", "--help"]) == ["python", "tuning/sweep.py", "--help"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ([], "no command"),
        (["jobs/train.py", "implicit/quick", "--data", "/shared/seats"], "no --storage"),
        (["jobs/train.py", "implicit/quick", "--data", "data/seats", "--storage", "/runs"], "--data data/seats is rel"),
        (["python", "jobs/evaluate.py", "--run=runs/seats", "--data", "/seats"], "--run runs/seats is relative"),
    ],
)
def test_places_that_would_be_lost_with_the_job_are_refused(command: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_command(command)


def test_a_shell_gets_the_job_s_exit_status() -> None:
    assert exit_status_of("SUCCEEDED", 0) == 0
    assert exit_status_of("SUCCEEDED", None) == 0
    assert exit_status_of("FAILED", 2) == 2
    assert exit_status_of("FAILED", None) == 1, "it never started"
    assert exit_status_of("STOPPED", -15) == 143


def test_a_broken_connection_neither_repeats_nor_loses_output(client: _Client) -> None:
    shown: list[str] = []
    end = JobServer("http://head:8265").follow("job-1", shown.append)
    assert "".join(shown) == "".join(OUTPUT)
    assert (end.status, end.exit_status, client.connections) == ("FAILED", 3, 2)


def test_a_silent_job_server_is_not_waited_for_for_ever(client: _Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "RECONNECTS_WITHIN_S", -1.0)
    with pytest.raises(ConfigError, match=r"does not answer(.|\n)*--attach job-1"):
        JobServer("http://head:8265").follow("job-1", lambda text: None)


def test_the_address_that_is_given_wins(client: _Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert JobServer().address == client.address == submission.DEFAULT_ADDRESS
    monkeypatch.setenv("RAY_ADDRESS", "http://other:1")
    assert JobServer().address == "http://other:1"
    assert JobServer("http://head:8265").address == "http://head:8265"
    with pytest.raises(ConfigError, match=r"has no job job-9(.|\n)*none"):
        JobServer("http://head:8265").stop("job-9")


def test_one_command_does_not_run_twice_at_once(client: _Client, tmp_path: Path) -> None:
    server, command = JobServer("http://head:8265"), ["echo", "a b"]
    assert server.submit(command, tmp_path, {"A": "1"}, ["*.zip"]) == "job-1"
    (job,) = client.submitted
    assert job["entrypoint"] == "echo 'a b'"
    assert job["runtime_env"]["env_vars"] == {"PYTHONPATH": "platform", "A": "1"}
    assert "*.zip" in job["runtime_env"]["excludes"]
    with pytest.raises(ConfigError, match=r"job job-1 runs this very command(.|\n)*--attach job-1"):
        server.submit(command, tmp_path, {})
    assert server.stop("job-1") == "STOPPED"
    assert server.submit(command, tmp_path, {}) == "job-1"


def test_code_is_uploaded_and_data_is_not(tmp_path: Path) -> None:
    """By Ray's own packer: the package has folders of the same names as those that are left out."""
    from zipfile import ZipFile

    from ray._private.runtime_env.packaging import create_package

    kept = ["platform/raylift/data/store.py", "platform/raylift/runs/train.py", "jobs/train.py"]
    dropped = ["data/a.parquet", "runs/a.pt", ".git/HEAD", ".venv/bin/python", "mlflow.db", "jobs/__pycache__/a.pyc"]
    for name in (*kept, *dropped):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text("x")
    package = tmp_path / "code.zip"
    create_package(str(tmp_path / "code"), package, include_gitignore=True, excludes=list(EXCLUDES))
    names = {name for name in ZipFile(package).namelist() if not name.endswith("/")}
    assert {name.removeprefix("code/") for name in names} == set(kept)


def test_ctrl_c_leaves_the_job_running_and_says_what_to_do(
    client: _Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = load_job("submit")

    def interrupt(*told: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JobServer, "follow", interrupt)
    console = Console(record=True, width=200)
    arguments = job.Arguments(("echo",), "http://head:8265", tmp_path, env=("A=1", "B=x=y"))
    assert job.main(arguments, console) == 130
    told = console.export_text()
    for option in ("--attach", "--stop"):
        assert f"raylift submit --address http://head:8265 {option} job-1" in told
    assert client.status == "RUNNING"
    assert job.variables_of(("A=1", "B=x=y")) == {"A": "1", "B": "x=y"}
    with pytest.raises(ConfigError, match="--env =1"):
        job.variables_of(("=1",))
    with pytest.raises(ConfigError, match="not exactly one"):
        job.main(job.Arguments(("echo",), stop="job-1"), console)
