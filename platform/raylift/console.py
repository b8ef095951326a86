"""Console output of the jobs: progress bars that also work in logs, errors with remedies, exit statuses."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from raylift.config.overrides import take_overrides
from raylift.core.errors import RayliftError

if TYPE_CHECKING:
    from raylift.export.comparison import Table as PageTable

Arguments = TypeVar("Arguments")

EXIT_FAILED = 2
"""Exit status of a job that ended with a ``RayliftError``."""

LOG_EVERY_S = 10.0
"""Without a terminal, a line is printed at most this often, and at the end."""


class ProgressBar:
    """A progress bar on a terminal, occasional lines elsewhere; safe to call from any thread.

    Args:
        console: console to print on.
        description: unit of progress, such as "objects".
    """

    def __init__(self, console: Console, description: str) -> None:
        self.console = console
        self._description = description
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(description, total=None, news="")
        self._started = self._printed = time.monotonic()

    def show(self, done: int, total: int, news: str = "") -> None:
        """Update the progress and the status text."""
        self._bars.update(self._task, completed=done, total=total, news=news)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self._printed >= LOG_EVERY_S or done == total):
            self._printed = now
            line = f"{self._description}: {done} of {total}, {now - self._started:.0f} s  {news}"
            self.console.print(line.rstrip(), highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def _start(self) -> None:
        self._bars.start()

    def _stop(self) -> None:
        self._bars.stop()


@contextmanager
def progress_bar(console: Console, description: str) -> Iterator[ProgressBar]:
    """A ``ProgressBar`` while the block runs."""
    bar = ProgressBar(console, description)
    bar._start()
    try:
        yield bar
    finally:
        bar._stop()


def run_job(
    arguments: type[Arguments],
    main: Callable[[Arguments, Console], int | None],
    description: str | None,
    words: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Parse the command line, run the job, print an error with its remedy; returns the exit status.

    Args:
        arguments: dataclass of the command line; ``overrides`` are collected from anywhere on it.
        main: the job; returns the exit status, or None for 0.
        description: shown by ``--help``.
        words: command line; by default the process's.
        program: name shown by ``--help``; by default the script's.
    """
    console = Console()
    given = _parsed(arguments, description, sys.argv[1:] if words is None else words, program)
    try:
        return main(given, console) or 0
    except RayliftError as error:
        console.print(f"[red]{type(error).__name__}[/]: ", end="")
        console.print(error.problem, markup=False, highlight=False, soft_wrap=True)
        if error.remedy:
            console.print(f"  remedy: {error.remedy}", markup=False, highlight=False, soft_wrap=True)
        return EXIT_FAILED


def _parsed(
    arguments: type[Arguments], description: str | None, words: Sequence[str], program: str | None
) -> Arguments:
    fields = {field.name for field in dataclasses.fields(arguments)} if dataclasses.is_dataclass(arguments) else set()
    if "overrides" not in fields:
        return tyro.cli(arguments, description=description, args=words, prog=program)
    # An option that takes several values would swallow them.
    words, overrides = take_overrides(words)
    given: Any = tyro.cli(arguments, description=description, args=words, prog=program)
    return dataclasses.replace(given, overrides=(*overrides, *given.overrides)) if overrides else given


def print_table(console: Console, content: PageTable) -> None:
    """Print a page's table on a terminal, with its note below."""
    styles = {"better": "green", "worse": "red", "unsure": "dim", "quiet": "dim"}
    table = Table(title=content.title, title_justify="left")
    for index, name in enumerate(content.head):
        table.add_column(name, justify="right" if index else "left")
    for row in content.rows:
        table.add_row(*(Text(cell.text, style=styles.get(cell.tone, "")) for cell in row))
    console.print(table)
    if content.note:
        console.print(content.note, style="dim", highlight=False, markup=False)
