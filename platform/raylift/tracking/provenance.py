"""The code and library versions of a run."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import raylift

_LIBRARIES = ("torch", "torchvision", "ray", "mlflow", "numpy", "numba", "pyarrow", "easypytorch3d")


def git_revision() -> str:
    """The commit that raylift runs from, with ``-dirty`` if tracked files differ; empty outside a checkout."""
    folder = Path(raylift.__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def provenance_tags() -> dict[str, str]:
    """Git revision and versions of the libraries that results depend on, as run tags."""
    tags = {f"version.{name}": _version(name) for name in (*_LIBRARIES, "raylift")}
    revision = git_revision()
    if revision:
        tags["mlflow.source.git.commit"] = revision.removesuffix("-dirty")
        tags["git.revision"] = revision
    return tags


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
