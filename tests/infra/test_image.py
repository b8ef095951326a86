"""The container image: its install steps, what it is built from, and the job script in it."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "infra" / "image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()


def _instructions(word: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2] for line in joined.splitlines() if line.startswith(word + " ")]


def test_its_base_is_pinned() -> None:
    (base,) = [each for each in _instructions("ARG") if each.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-bookworm", base)
    assert all(each.split()[0] == "${BASE}" for each in _instructions("FROM"))


def test_it_does_not_run_as_root() -> None:
    assert _instructions("USER") == ["1000:1000"]
    assert "useradd --create-home --uid 1000" in (IMAGE / "install.sh").read_text()


def test_the_revision_is_a_label_and_what_provenance_reads() -> None:
    from raylift.tracking.provenance import IMAGE_REVISION

    assert 'org.opencontainers.image.revision="${GIT_REVISION}"' in DOCKERFILE
    assert f"{IMAGE_REVISION}=${{GIT_REVISION}}" in DOCKERFILE
    assert '--build-arg GIT_REVISION="$revision"' in (IMAGE / "build.sh").read_text()


def test_every_step_is_a_step_of_the_script() -> None:
    script = (IMAGE / "install.sh").read_text()
    called = re.findall(r"install\.sh (\w+)", " ".join(_instructions("RUN")))
    assert called == ["dependencies", "system", "raylift"]
    assert all(f"  {step})" in script for step in called)


def test_what_the_steps_copy_is_sent_to_the_builder() -> None:
    ignored = (IMAGE / "Dockerfile.dockerignore").read_text().split()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert all((ROOT / each).exists() for each in sent)
    copied = [word for line in _instructions("COPY") if not line.startswith("--from") for word in line.split()[:-1]]
    copied += re.findall(r'"\$src/([\w./]+)"', (IMAGE / "install.sh").read_text())
    for each in set(copied) - {".", "platform/raylift"}:
        assert any(each == one or each.startswith(one + "/") or fnmatch.fnmatch(each, one) for one in sent), each


def test_no_password_or_dump_is_sent_to_the_builder() -> None:
    lines = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    kept_out = [line.lstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if "infra/" in line]
    assert len(kept_out) == 2
    for each in kept_out:
        # A later line wins, so it comes after the one that lets its folder in.
        assert lines.index(each.rstrip("/")) > lines.index("!infra/mlflow")


def test_the_dependencies_are_those_of_the_lock() -> None:
    """A constraint that the lock does not have would let a version float."""
    locked = {re.split(r"[=;\s]", line)[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert {"torch", "ray", "mlflow", "psycopg-binary", "flask-wtf", "easypytorch3d"} <= locked
    left_out = [line for line in (IMAGE / "without_gpu.txt").read_text().splitlines() if not line.startswith("#")]
    assert set(left_out) <= locked


def test_nothing_imports_what_the_cpu_image_leaves_out_before_it_is_called() -> None:
    """PyTorch3D's wheels do not load without CUDA, so its imports are inside of the functions that need a GPU."""
    for path in (ROOT / "platform" / "raylift").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "pytorch3d" for name in names), path


@pytest.fixture
def job_script(tmp_path: Path) -> Path:
    """The job script in a tree like the image's, with a job that prints its arguments."""
    script = tmp_path / "infra" / "image" / "job.sh"
    script.parent.mkdir(parents=True)
    script.write_text((IMAGE / "job.sh").read_text())
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "show.py").write_text("import sys\nprint('|'.join(sys.argv[1:]))\n")
    return script


def test_a_job_finds_its_bucket(job_script: Path) -> None:
    environment = {**os.environ, "RAYLIFT_BUCKET": "s3://ours/team", "PYTHON": sys.executable}
    command = ["bash", str(job_script), "show.py", "a b", "--data", "bucket:datasets/seats", "x=bucket:y"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "a b|--data|s3://ours/team/datasets/seats|x=bucket:y"


def test_a_job_without_a_bucket_is_refused(job_script: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAYLIFT_BUCKET"}
    command = ["bash", str(job_script), "show.py", "--data", "bucket:seats"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0
    assert "RAYLIFT_BUCKET" in done.stderr
