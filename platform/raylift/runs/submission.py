"""Jobs on a remote cluster by Ray's job server: submitted with this working directory, followed, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.core.errors import ConfigError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Read in this order where no address is given, as Ray's own commands do."""
EXCLUDES = (
    "/data/", "/runs/", "/outputs/", "/.venv/", "/.git/", "/mlruns/", "/mlflow.db*", "/dist/", "/build/",
    "__pycache__/", ".mypy_cache/", ".ruff_cache/", ".pytest_cache/", ".import_linter_cache/", ".hypothesis/",
)  # fmt: skip
"""Not uploaded, next to what .gitignore and .rayignore name. The slash in front means the working directory's own
``data``: the package has folders of these names."""
PATH_OPTIONS = ("--data", "--storage", "--run", "--checkpoint", "--out")
"""Options of jobs that name a place; a relative one would be a temporary folder of the cluster's head."""
STORING = ("train.py", "sweep.py", "paper_table.py")
"""Scripts whose --storage is relative by default."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
POLL_S = 0.5
RECONNECTS_WITHIN_S = 300.0


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        status: "SUCCEEDED", "FAILED" or "STOPPED".
        message: Ray's explanation.
        exit_status: of the job's process; 1 if it has none, as when it never started.
    """

    status: str
    message: str
    exit_status: int


def check_command(command: Sequence[str]) -> list[str]:
    """The command to run on the cluster: Python scripts are run by its ``python``.

    Raises:
        ConfigError: no command, or a place that would be lost with the job.
    """
    if not command:
        raise ConfigError(
            "there is no command",
            "give it after --, such as: -- jobs/evaluate.py --run s3://... --data s3://...",
        )
    words = [*command] if not command[0].endswith(".py") else ["python", *command]
    given = dict(_options(words))
    for option in PATH_OPTIONS:
        place = given.get(option, "")
        if place and "://" not in place and not place.startswith(("/", "~")):
            raise ConfigError(
                f"{option} {place} is relative: on the cluster it would be a temporary folder of the head node",
                "give s3://..., or the absolute path of a folder that every node sees",
            )
    if any(word.endswith(STORING) for word in words[:2]) and "--storage" not in given and "--help" not in words:
        raise ConfigError(
            "there is no --storage: the run would be in a temporary folder of the head node, and lost",
            "give --storage s3://..., or the absolute path of a folder that every node sees",
        )
    return words


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, word in enumerate(words):
        name, separator, value = word.partition("=")
        if name.startswith("--"):
            yield name, value if separator else next(iter(words[index + 1 : index + 2]), "")


class _OnlyNew:
    """Passes on each part of an output once, though every connection sends it from the start."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown = self._seen = 0

    def restart(self) -> None:
        self._seen = 0

    def piece(self, text: str) -> None:
        """The next part of the output."""
        new = text[max(0, self._shown - self._seen) :]
        self._seen += len(text)
        if new:
            self._show(new)
            self._shown = self._seen

    def whole(self, text: str) -> None:
        """All of the output so far."""
        self.restart()
        self.piece(text)


class JobServer:
    """A cluster's job server.

    Args:
        address: such as http://head:8265; "" reads RAY_API_SERVER_ADDRESS, RAY_ADDRESS, or takes this machine's.

    Raises:
        ConfigError: no job server answers there.
    """

    def __init__(self, address: str = "") -> None:
        named = next((os.environ[name] for name in ADDRESS_VARIABLES if os.environ.get(name)), "")
        self.address = address or named or DEFAULT_ADDRESS
        try:
            from ray.job_submission import JobSubmissionClient

            # It logs each closed connection.
            logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
            # Ray's client would prefer the variables to the address that it is given.
            with _without(ADDRESS_VARIABLES):
                self._client = JobSubmissionClient(self.address)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConfigError(
                f"no job server answers at {self.address}: {_first_line(error)}",
                "give --address http://HEAD:8265; forward the port first if the head is remote (kubectl port-forward"
                " service/NAME-head-svc 8265, or ray dashboard CLUSTER.yaml); a cluster with token authentication"
                " needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; the extra raylift[cluster] must be installed",
            ) from error

    def submit(
        self,
        command: Sequence[str],
        working_dir: Path,
        variables: Mapping[str, str],
        excludes: Sequence[str] = (),
        cpus: float = 0.0,
        gpus: float = 0.0,
    ) -> str:
        """Upload a working directory and start a command in it; returns the job's id.

        Args:
            command: as ``check_command`` returns it.
            variables: environment variables of the job and its workers.
            excludes: patterns as in .gitignore, besides ``EXCLUDES``.
            cpus, gpus: reserved for the job's own process, which else runs on the head node.

        Raises:
            ConfigError: the same command is running, or the job cannot be submitted.
        """
        entrypoint = shlex.join(command)
        for job in self._client.list_jobs():
            if job.submission_id and job.entrypoint == entrypoint and str(job.status) not in ENDED:
                raise ConfigError(
                    f"job {job.submission_id} runs this very command",
                    f"follow it with --attach {job.submission_id}, or end it with --stop {job.submission_id}",
                )
        runtime_env = {
            "working_dir": str(working_dir),
            "excludes": [*EXCLUDES, *excludes],
            "env_vars": {"PYTHONPATH": "platform", **variables},
        }
        try:
            return str(
                self._client.submit_job(
                    entrypoint=entrypoint,
                    runtime_env=runtime_env,
                    entrypoint_num_cpus=cpus or None,
                    entrypoint_num_gpus=gpus or None,
                )
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ConfigError(
                f"the job cannot be submitted to {self.address}: {_first_line(error)}",
                f"check that {working_dir} holds only code (--exclude PATTERN leaves files out; the limit is 100 MiB)",
            ) from error

    def follow(self, job: str, show: Callable[[str], None]) -> JobEnd:
        """Pass on a job's output until the job ends; a lost connection is resumed where it broke.

        Args:
            show: called with pieces of the output.

        Raises:
            ConfigError: there is no such job, or the job server does not answer for five minutes.
        """
        output, heard = _OnlyNew(show), time.monotonic()
        self.info(job)
        while True:
            try:
                asyncio.run(self._tail(job, output))
                info = self._client.get_job_info(job)
                status = str(info.status.value)
                if status in ENDED:
                    # The server may close the stream before the last lines.
                    output.whole(self._client.get_job_logs(job))
                    return JobEnd(status, info.message or "", exit_status_of(status, info.driver_exit_code))
                heard = time.monotonic()
            except (RuntimeError, OSError) as error:
                if time.monotonic() - heard > RECONNECTS_WITHIN_S:
                    raise ConfigError(
                        f"the job server at {self.address} does not answer: {_first_line(error)}",
                        f"the job may still run: follow it with --attach {job}",
                    ) from error
            time.sleep(POLL_S)

    async def _tail(self, job: str, output: _OnlyNew) -> None:
        output.restart()
        async for piece in self._client.tail_job_logs(job):
            output.piece(piece)

    def stop(self, job: str) -> str:
        """Stop a job and wait for its end; returns its status.

        Raises:
            ConfigError: there is no such job.
        """
        self.info(job)
        self._client.stop_job(job)
        while (status := str(self.info(job).status.value)) not in ENDED:
            time.sleep(POLL_S)
        return status

    def info(self, job: str) -> Any:
        """Ray's record of a job.

        Raises:
            ConfigError: there is no such job.
        """
        try:
            return self._client.get_job_info(job)
        except RuntimeError as error:
            known = ", ".join(str(one.submission_id) for one in self._client.list_jobs()[-5:]) or "none"
            raise ConfigError(f"{self.address} has no job {job}", f"its last jobs: {known}") from error


def exit_status_of(status: str, process: int | None) -> int:
    """The exit status for a shell: that of the job's process, 128 + N if signal N ended it, 1 if it never ran.

    Args:
        status: Ray's status of the ended job.
        process: exit status of its process, negative for a signal; None if unknown.
    """
    if process is None:
        return 0 if status == "SUCCEEDED" else 1
    return process if process >= 0 else 128 - process


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:400]
