"""The code and library versions of a run."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path

import raylift

_LIBRARIES = ("torch", "torchvision", "ray", "mlflow", "numpy", "numba", "pyarrow", "easypytorch3d")


IMAGE_REVISION = "RAYLIFT_IMAGE_REVISION"
"""Environment variable that a container image sets to the commit that it was built from."""


def git_revision() -> str:
    """The commit that raylift runs from, with ``-dirty`` if tracked files differ; empty if it is unknown.

    It is asked of the checkout, or read from ``RAYLIFT_IMAGE_REVISION`` where raylift is installed in an image. A job's
    working directory that is uploaded to such an image is neither: its code need not be the image's.
    """
    folder = Path(raylift.__file__).resolve().parent
    if folder.is_relative_to(Path(sysconfig.get_path("purelib")).resolve()):
        return os.environ.get(IMAGE_REVISION, "")
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
