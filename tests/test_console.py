"""What a job shows where there is no terminal, and how it ends."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import tyro
from rich.console import Console

from raylift import console as speaking
from raylift.core.errors import DataError


def test_a_log_gets_lines_and_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 4.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(speaking.time, "monotonic", lambda: next(times))
    log = io.StringIO()
    bar = speaking.ProgressBar(Console(file=log, width=200), "objects")
    for done in range(1, 5):
        bar.show(done, 4, "chair")
    assert log.getvalue().splitlines() == ["objects: 2 of 4, 11 s  chair", "objects: 4 of 4, 13 s  chair"]


@dataclass(frozen=True)
class _Arguments:
    """A job.

    Attributes:
        path: to what.
    """

    path: str = ""


def test_an_error_is_printed_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: _Arguments, console: Console) -> None:
        raise DataError(f"there is no [file] {arguments.path}", "make one")

    monkeypatch.setattr(sys, "argv", ["job", "--path", "a/[b].png"])
    assert speaking.run_job(_Arguments, main, "A job.") == speaking.EXIT_FAILED
    assert capsys.readouterr().out == "DataError: there is no [file] a/[b].png\n  remedy: make one\n"


def test_the_job_decides_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["job"])
    assert speaking.run_job(_Arguments, lambda arguments, console: 1, None) == 1
    assert speaking.run_job(_Arguments, lambda arguments, console: None, None) == 0


@dataclass(frozen=True)
class _WithOverrides:
    """A job with a recipe.

    Attributes:
        names: several.
        overrides: recipe values.
    """

    names: tuple[str, ...] = ()
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()


def test_an_option_with_several_values_swallows_no_override() -> None:
    seen: list[_WithOverrides] = []
    words = ["model.a=1", "--names", "x", "y", "stage2:seed=2"]
    speaking.run_job(_WithOverrides, lambda arguments, console: seen.append(arguments), None, words, "job")
    assert seen == [_WithOverrides(("x", "y"), ("model.a=1", "stage2:seed=2"))]
