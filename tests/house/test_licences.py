"""What Raylift requires has a licence that goes with its own; checked offline."""

from __future__ import annotations

import re
import tomllib
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.licences import Accepted, allows, licence_of, required

ROOT = Path(__file__).parents[2]
ACCEPTED = Accepted.read(Path(__file__).with_name("licences.toml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
REQUIREMENTS = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in extra)]
FOUND, MISSING = required(REQUIREMENTS)


def pins() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {canonicalize_name(re.split("==", line)[0].split("[")[0]) for line in lines if not line.startswith("#")}


def test_every_package_has_an_accepted_licence() -> None:
    assert not MISSING, f"not installed, so not known: {sorted(MISSING)}; run make env"
    assert len(FOUND) > 150
    problems = [ACCEPTED.problem(name, licence_of(package.metadata)) for name, package in sorted(FOUND.items())]
    assert not any(problems), "\n".join(filter(None, problems))


def test_every_exception_is_needed_and_says_why() -> None:
    used = {id(ACCEPTED.exception(name)) for name in FOUND}
    for pattern, entry in ACCEPTED.packages.items():
        assert len(entry.why) > 20
        # CUDA's packages are Linux's alone.
        assert id(entry) in used or pattern in ("nvidia-*", "cuda-toolkit"), f"nothing requires {pattern} any more"


def test_the_lock_pins_everything() -> None:
    pinned = pins()
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert not line.strip() or line.startswith("#") or "==" in line, f"{line} is not pinned"
    assert {canonicalize_name(Requirement(line).name) for line in REQUIREMENTS} <= pinned
    assert set(FOUND) <= pinned


def about(**fields: str | list[str]) -> Message:
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "MIT OR GPL-3.0-only"),
        ({"Classifier": ["License :: OSI Approved :: MIT License"], "License": "see file"}, "MIT"),
        (
            {"Classifier": ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]},
            "GNU General Public License v3 (GPLv3)",
        ),
        ({"Classifier": ["License :: OSI Approved"], "License": "Apache 2.0"}, "Apache-2.0"),
        ({"License": "GPL-3.0"}, "GPL-3.0"),
        ({"License": "UNKNOWN"}, ""),
        ({}, ""),
    ],
)
def test_metadata_are_understood(fields: dict[str, str | list[str]], licence: str) -> None:
    assert licence_of(about(**fields)) == licence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "licence", "words"),
    [
        ("x", "MIT", ""),
        ("x", "mit AND (BSD-3-Clause OR GPL-2.0-only)", ""),
        ("x", "Apache-2.0 WITH LLVM-exception", ""),
        ("x", "GPL-3.0-only", "x is under GPL-3.0-only"),
        ("x", "MIT AND AGPL-3.0-only", "x is under"),
        ("x", "LGPL-3.0-only", "x is under"),
        ("x", "MPL-2.0", "x is under"),
        ("x", "GNU General Public License v3 (GPLv3)", "x is under"),
        ("x", "", "x does not say its licence"),
        ("nvidia-cublas", "LicenseRef-Proprietary", ""),
        ("psycopg", "LGPL-3.0-only", ""),
        ("psycopg", "AGPL-3.0-only", "but licences.toml knows it as LGPL-3.0-only"),
    ],
)
def test_other_licences_are_refused(name: str, licence: str, words: str) -> None:
    problem = ACCEPTED.problem(name, licence)
    assert words in problem
    assert bool(words) == bool(problem)


def test_an_expression_that_ends_early_is_not_accepted() -> None:
    assert not allows("MIT)", ["MIT"])
    assert not allows("", ["MIT"])
