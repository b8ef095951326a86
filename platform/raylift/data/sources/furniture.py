"""Debian's furniture libraries."""

from __future__ import annotations

from pathlib import Path

from raylift.data.sources.debian import PackageFolder, fetch_folder

PACKAGE = "sweethome3d-furniture"
_INSIDE = Path("usr/share/sweethome3d/furniture")
_REMEDY = (
    f"on another machine: apt-get download {PACKAGE} && dpkg-deb -x {PACKAGE}_*.deb furniture, copy the folder here "
    "and pass --source sh3f:furniture; or use --source procedural:60"
)


def fetch_furniture(cache: Path, timeout_s: float = 600.0) -> Path:
    """The folder of .sh3f libraries, downloaded (120 MB) and unpacked under ``cache`` unless already there.

    Raises:
        DataError: as ``fetch_folder``.
    """
    return fetch_folder(PackageFolder(PACKAGE, _INSIDE, "*.sh3f", _REMEDY), cache, timeout_s)
