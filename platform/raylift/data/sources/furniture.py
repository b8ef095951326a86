"""Gets Debian's furniture libraries by the system's own package client."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from raylift.core.errors import DataError

PACKAGE = "sweethome3d-furniture"
_INSIDE = Path("usr/share/sweethome3d/furniture")
_REMEDY = (
    f"on another machine: apt-get download {PACKAGE} && dpkg-deb -x {PACKAGE}_*.deb furniture, copy the folder here "
    "and give --source sh3f:furniture; or use --source procedural:60"
)


def fetch_furniture(cache: Path, timeout_s: float = 600.0) -> Path:
    """The folder of .sh3f libraries, downloaded (120 MB) and unpacked under ``cache`` unless it is there already.

    Needs Debian's ``apt-get`` and ``dpkg-deb``, but no root: nothing is installed.

    Raises:
        DataError: the client is missing, the package cannot be had, or the disk is full; it says what to do instead.
    """
    folder = cache / _INSIDE
    if folder.is_dir() and any(folder.glob("*.sh3f")):
        return folder
    installed = Path("/") / _INSIDE
    if installed.is_dir() and any(installed.glob("*.sh3f")):
        return installed
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise DataError(f"this system has no {program} to get {PACKAGE} with", _REMEDY)
    download, unpacked = cache / "download", cache / "unpacking"
    for scratch in (download, unpacked):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    try:
        _download(download, timeout_s)
        packages = sorted(download.glob(f"{PACKAGE}_*.deb"))
        if not packages:
            raise DataError(f"apt-get download {PACKAGE} brought no file", _REMEDY)
        _run(["dpkg-deb", "-x", str(packages[-1].resolve()), str(unpacked.resolve())], download, timeout_s)
        # A folder appears under its final name only when it is whole.
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        (unpacked / _INSIDE).rename(folder)
        copyright_file = unpacked / "usr/share/doc" / PACKAGE / "copyright"
        if copyright_file.is_file():
            shutil.copy(copyright_file, folder / "copyright")
    finally:
        shutil.rmtree(download, ignore_errors=True)
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _download(folder: Path, timeout_s: float) -> None:
    """By the system's package lists or, where those are missing or old, by lists of our own, which need no root."""
    try:
        _run(["apt-get", "download", PACKAGE], folder, timeout_s)
    except DataError:
        state = folder / "lists"
        (state / "partial").mkdir(parents=True)
        own_lists = ["-o", f"Dir::State::lists={state.resolve()}", "-o", "Debug::NoLocking=1"]
        _run(["apt-get", "update", *own_lists], folder, timeout_s)
        _run(["apt-get", "download", *own_lists, PACKAGE], folder, timeout_s)


def _run(command: list[str], folder: Path, timeout_s: float) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{command[0]} did not finish: {error}", _REMEDY) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise DataError(f"{' '.join(command[:3])} failed: {last[0]}", _REMEDY)
