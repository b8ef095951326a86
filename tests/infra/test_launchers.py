"""Launchers other than AWS's: machines over SSH, Slurm, SkyPilot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "infra" / "slurm" / "train.sbatch"


def test_rays_launcher_accepts_machines_over_ssh() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / "infra" / "local" / "cluster.yaml").read_text()))
    validate_config(config)
    assert "~/.ray/auth_token" in config["file_mounts"]
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]


_STAND_INS = {
    "scontrol": "echo node-a; echo node-b",
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    # As Ray's: its own options, then the job's command on the head.
    "ray": 'echo "$@" > "$SEEN/ray"; test -z "$FAIL" || exit 0; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "python": 'if [ "$1" = -c ]; then echo token; else echo "$RAY_ADDRESS|$RAY_AUTH_TOKEN|$*" > "$SEEN/job"; fi',
}


@pytest.fixture
def allocation(tmp_path: Path) -> dict[str, str]:
    """A checkout, an environment of stand-ins, and what Slurm tells a job."""
    checkout = tmp_path / "checkout"
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    (checkout / "jobs").mkdir()
    (checkout / "jobs" / "train.py").touch()
    for name, body in _STAND_INS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {"SUBMIT_DIR": str(checkout), "JOB_NODELIST": "node-[a-b]", "JOB_ID": "41234", "JOB_NUM_NODES": "2"}
    slurm |= {"CPUS_PER_TASK": "8", "GPUS_ON_NODE": "1"}
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "SEEN": str(tmp_path), "FAIL": "", **{f"SLURM_{key}": value for key, value in slurm.items()}}


def _sbatch(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(SLURM), *words], env=environment, capture_output=True, text=True, check=False)


def test_a_slurm_job_trains_on_the_ray_it_started(allocation: dict[str, str]) -> None:
    done = _sbatch(allocation, "implicit/paper", "--name", "seats", "model.note=two words")
    assert done.returncode == 0, done.stderr
    seen = Path(allocation["SEEN"])
    assert (seen / "job").read_text().strip() == (
        "node-a:21234|token|jobs/train.py implicit/paper --name seats model.note=two words"
    )
    started = (seen / "ray").read_text()
    for words in ("--address node-a:21234", "--min-nodes 2", "--num-cpus=8", "--num-gpus=1"):
        assert words in started
    assert not list((seen / "checkout").glob(".raylift-*"))


def test_a_slurm_job_whose_ray_does_not_start_fails(allocation: dict[str, str]) -> None:
    done = _sbatch({**allocation, "FAIL": "1"}, "implicit/paper")
    assert done.returncode == 1
    assert "Ray did not start" in done.stderr


def test_ray_knows_the_options_of_the_slurm_job() -> None:
    options = [word.split("=")[0] for word in SLURM.read_text().split() if word.startswith("--")]
    ours = options[options.index("--address") : options.index("--include-dashboard") + 1]
    programs = [str(Path(sys.executable).parent / "ray")]
    known = "".join(
        subprocess.run([*programs, command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ("symmetric-run", "start")
    )
    assert len(ours) == 6
    assert all(option in known for option in ours)


def _task() -> dict[str, Any]:
    task: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "skypilot" / "train.yaml").read_text())
    return task


def test_skypilot_knows_every_key() -> None:
    assert set(_task()) <= {
        "name",
        "workdir",
        "resources",
        "num_nodes",
        "envs",
        "secrets",
        "setup",
        "run",
        "file_mounts",
    }
    assert set(_task()["resources"]) <= {"accelerators", "cpus", "memory", "disk_size", "use_spot", "image_id", "infra"}
    assert all(value is None for value in _task()["secrets"].values())


@pytest.mark.parametrize("step", ["setup", "run"])
def test_bash_accepts_skypilots_steps(step: str) -> None:
    done = subprocess.run(["bash", "-n"], input=_task()[step], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_skypilots_job_does_not_end_skypilots_ray() -> None:
    commands = [line for line in _task()["run"].splitlines() if not line.strip().startswith("#")]
    assert not any("ray stop" in line or "symmetric-run" in line for line in commands)
