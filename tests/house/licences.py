"""The licences of installed packages, by their own metadata, without network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "LicenseRef-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
SAYS_NOTHING = ("OSI Approved", "DFSG approved")
FREE_TEXT = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "mit licensed, as found in the license file": "MIT",
    "nvidia proprietary software": "LicenseRef-Proprietary",
}
"""First lines of the old free text, in lower case, and what their authors mean."""


@dataclass(frozen=True)
class Reason:
    """Why a package may have a licence that others may not."""

    licence: str
    why: str


@dataclass(frozen=True)
class Accepted:
    """The contents of ``licences.toml``."""

    permissive: frozenset[str]
    packages: Mapping[str, Reason]

    @staticmethod
    def read(path: Path) -> Accepted:
        content = tomllib.loads(path.read_text())
        packages = {name: Reason(**entry) for name, entry in content["packages"].items()}
        return Accepted(frozenset(content["accepted"]["permissive"]), packages)

    def exception(self, name: str) -> Reason | None:
        return next((entry for pattern, entry in self.packages.items() if fnmatch(name, pattern)), None)

    def problem(self, name: str, licence: str) -> str:
        """Why a package must not be required; empty if it may."""
        found = self.exception(name)
        if found is not None and found.licence == licence:
            return ""
        if found is not None:
            return f"{name} is under {licence or '?'}, but licences.toml knows it as {found.licence or '?'}"
        if not licence:
            return f"{name} does not say its licence: read its files, and give the reason in licences.toml"
        if not allows(licence, self.permissive):
            return f"{name} is under {licence}: do without it, or give the reason in licences.toml"
        return ""


def licence_of(about: metadata.PackageMetadata | Mapping[str, str]) -> str:
    """An SPDX expression; empty if the metadata say nothing that is understood."""
    if expression := about.get("License-Expression"):
        return expression.replace("LicenseRef-NVIDIA-Proprietary", "LicenseRef-Proprietary")
    listed = about.get_all("Classifier") or [] if hasattr(about, "get_all") else []
    named = [line.split(" :: ")[-1] for line in listed if line.startswith("License ::")]
    if named := [name for name in named if name not in SAYS_NOTHING]:
        # What is not known stays as it is, and is then refused by its name.
        return " AND ".join(CLASSIFIERS.get(name, name) for name in named)
    text = (about.get("License") or "").strip().partition("\n")[0].strip()
    text = FREE_TEXT.get(text.lower(), text)
    return text.replace("LicenseRef-NVIDIA-Proprietary", "LicenseRef-Proprietary") if text != "UNKNOWN" else ""


def allows(expression: str, accepted: Iterable[str]) -> bool:
    """Whether an SPDX expression can be met by accepted licences: all of AND, one of OR."""
    known = {name.lower() for name in accepted}
    words = re.findall(r"\(|\)|[^\s()]+", expression)

    def either(place: int) -> tuple[bool, int]:
        fine, place = both(place)
        while place < len(words) and words[place] == "OR":
            other, place = both(place + 1)
            fine = fine or other
        return fine, place

    def both(place: int) -> tuple[bool, int]:
        fine, place = one(place)
        while place < len(words) and words[place] == "AND":
            other, place = one(place + 1)
            fine = fine and other
        return fine, place

    def one(place: int) -> tuple[bool, int]:
        if place < len(words) and words[place] == "(":
            fine, place = either(place + 1)
            return fine, place + 1
        begin = place
        while place < len(words) and words[place] not in ("AND", "OR", ")"):
            place += 1
        return " ".join(words[begin:place]).lower() in known, place

    fine, end = either(0)
    return fine and end == len(words)


def required(roots: Iterable[str]) -> tuple[dict[str, metadata.Distribution], set[str]]:
    """The installed packages that requirements lead to on this machine, and the names of those that are missing."""
    found: dict[str, metadata.Distribution] = {}
    missing: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [Requirement(root) for root in roots]
    while queue:
        wanted = queue.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        for requirement in map(Requirement, found[name].requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                queue.append(requirement)
    return found, missing
