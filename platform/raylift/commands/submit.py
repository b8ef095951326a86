"""Submit a job to a Ray cluster: upload the code, run the command there, and follow its output.

    raylift submit --address http://head:8265 -- jobs/train.py implicit/paper --data s3://bucket/cars \\
        --storage s3://bucket/runs --name cars scale.workers=4
    raylift submit --env MLFLOW_TRACKING_URI=http://mlflow:5000 -- tuning/sweep.py ...
    raylift submit --attach JOB
    raylift submit --stop JOB

The exit status is the job's. Ctrl-C leaves the job running and says how to follow or stop it. Submitting the same
command again resumes an interrupted run, since runs are found by --storage and --name.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from raylift.core.errors import ConfigError
from raylift.runs.submission import JobServer, check_command

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it."""


@dataclass(frozen=True)
class Arguments:
    """Run a command on a Ray cluster.

    Attributes:
        command: the job and its arguments, after "--".
        address: the cluster's job server; by default RAY_API_SERVER_ADDRESS, RAY_ADDRESS or http://127.0.0.1:8265.
        working_dir: folder to upload, without data, runs, environments and what .gitignore names; the job runs in it.
        env: environment variables of the job, as NAME=VALUE. Everyone who sees the cluster's dashboard sees them:
            credentials belong to the nodes.
        exclude: further files not to upload, as patterns of .gitignore.
        follow: show the job's output until it ends.
        attach: id of a submitted job to follow, instead of a command.
        stop: id of a job to stop, instead of a command.
        cpus: CPUs for the job's own process; 0 runs it on the head node.
        gpus: GPUs for the job's own process, for jobs that run in one process, such as evaluate.py.
    """

    command: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    address: str = ""
    working_dir: Path = Path(".")
    env: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    exclude: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    follow: bool = True
    attach: str = ""
    stop: str = ""
    cpus: float = 0.0
    gpus: float = 0.0


def main(arguments: Arguments, console: Console) -> int:
    """Submit, follow or stop; returns the exit status of the job."""
    if sum(map(bool, (arguments.command, arguments.attach, arguments.stop))) != 1:
        raise ConfigError("not exactly one of a command, --attach and --stop is given", "see --help")
    command = check_command(arguments.command) if arguments.command else []
    variables = variables_of(arguments.env)
    server = JobServer(arguments.address)
    if arguments.stop:
        console.print(f"job {arguments.stop}: {server.stop(arguments.stop).lower()}", highlight=False)
        return 0
    job = arguments.attach
    if not job:
        folder = arguments.working_dir.expanduser().resolve()
        job = server.submit(command, folder, variables, arguments.exclude, arguments.cpus, arguments.gpus)
        console.print(f"job [bold]{job}[/] at {server.address}", soft_wrap=True, highlight=False)
        if not arguments.follow:
            _tell_ways(console, server, job)
            return 0
    try:
        end = server.follow(job, _show)
    except KeyboardInterrupt:
        console.print("\nthe job goes on; to follow or stop it:", highlight=False)
        _tell_ways(console, server, job)
        return INTERRUPTED
    console.print(f"job {job}: {end.status.lower()}", highlight=False, soft_wrap=True)
    if end.status != "SUCCEEDED":
        console.print(f"{end.message.strip().splitlines()[0] if end.message else ''}", highlight=False, markup=False)
        console.print("the same command resumes what it had begun", highlight=False)
    return end.exit_status


def variables_of(given: tuple[str, ...]) -> dict[str, str]:
    """Environment variables by name.

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    for text in given:
        if not text.partition("=")[0] or "=" not in text:
            raise ConfigError(f"--env {text}", "give NAME=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _tell_ways(console: Console, server: JobServer, job: str) -> None:
    for option in ("--attach", "--stop"):
        text = f"  raylift submit --address {server.address} {option} {job}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
