"""Downloads the data of a Debian package with the system's package client, without root."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError


@dataclass(frozen=True)
class PackageFolder:
    """A folder inside a package.

    Attributes:
        package: package name.
        inside: path of the folder inside the package.
        pattern: file name pattern that must match somewhere under the folder.
        remedy: advice for the user if the package is unavailable.
    """

    package: str
    inside: Path
    pattern: str
    remedy: str

    def is_at(self, folder: Path) -> bool:
        return folder.is_dir() and any(folder.rglob(self.pattern))


def fetch_folder(wanted: PackageFolder, cache: Path, timeout_s: float = 600.0) -> Path:
    """The folder: installed, cached, or downloaded and unpacked under ``cache``.

    Needs Debian's ``apt-get`` and ``dpkg-deb``, but no root: nothing is installed.

    Raises:
        DataError: the client is missing, the package is unavailable, or the disk is full.
    """
    folder, installed = cache / wanted.inside, Path("/") / wanted.inside
    for place in (folder, installed):
        if wanted.is_at(place):
            return place
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise DataError(f"this system has no {program} to download {wanted.package}", wanted.remedy)
    download, unpacked = cache / "download", cache / "unpacking"
    for scratch in (download, unpacked):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    try:
        _download(wanted, download, timeout_s)
        packages = sorted(download.glob(f"{wanted.package}_*.deb"))
        if not packages:
            raise DataError(f"apt-get download {wanted.package} produced no file", wanted.remedy)
        _run(
            ["dpkg-deb", "-x", str(packages[-1].resolve()), str(unpacked.resolve())], download, timeout_s, wanted.remedy
        )
        if not wanted.is_at(unpacked / wanted.inside):
            raise DataError(f"{packages[-1].name} contains no {wanted.inside}/{wanted.pattern}", wanted.remedy)
        # A folder gets its final name only once it is complete.
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        (unpacked / wanted.inside).rename(folder)
        copyright_file = unpacked / "usr/share/doc" / wanted.package / "copyright"
        if copyright_file.is_file():
            shutil.copy(copyright_file, folder / "copyright")
    finally:
        shutil.rmtree(download, ignore_errors=True)
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _download(wanted: PackageFolder, folder: Path, timeout_s: float) -> None:
    """Download with the system's package lists, or with our own (no root needed) if those are missing or outdated."""
    try:
        _run(["apt-get", "download", wanted.package], folder, timeout_s, wanted.remedy)
    except DataError:
        state = folder / "lists"
        (state / "partial").mkdir(parents=True)
        own_lists = ["-o", f"Dir::State::lists={state.resolve()}", "-o", "Debug::NoLocking=1"]
        _run(["apt-get", "update", *own_lists], folder, timeout_s, wanted.remedy)
        _run(["apt-get", "download", *own_lists, wanted.package], folder, timeout_s, wanted.remedy)


def _run(command: list[str], folder: Path, timeout_s: float, remedy: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{command[0]} did not finish: {error}", remedy) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise DataError(f"{' '.join(command[:3])} failed: {last[0]}", remedy)
