"""The entry of the ``raylift`` command. It imports only the subcommand that was asked for: ``--help`` is immediate."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from raylift import __version__


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        name: as typed.
        entry: its function, as module:function; the module has ``Arguments`` and a docstring for ``--help``.
        summary: what ``raylift --help`` says about it.
        title: of the group that ``raylift --help`` lists it in.
    """

    name: str
    entry: str
    summary: str
    title: str


DATA, MODELS, STUDIES, TOOLS = "data", "one model", "many runs", "help"
COMMANDS = (
    Command("prepare", "raylift.commands.prepare:main", "Convert meshes or images to a data set of shards.", DATA),
    Command("inspect", "raylift.commands.inspect_data:main", "Show what is in a data set.", DATA),
    Command("segment-parts", "raylift.commands.segment_parts:main", "Add part maps to an image collection.", DATA),
    Command("train", "raylift.commands.train:main", "Train a recipe; the same command resumes it.", MODELS),
    Command(
        "evaluate", "raylift.commands.evaluate:main", "Score a model on held-out objects, next to baselines.", MODELS
    ),
    Command("reconstruct", "raylift.commands.reconstruct:main", "Convert images to meshes and an HTML page.", MODELS),
    Command("register", "raylift.commands.register:main", "Register a run's model under a name and an alias.", MODELS),
    Command("compare", "raylift.commands.compare:main", "Compare runs on one HTML page.", STUDIES),
    Command("sweep", "raylift.commands.sweep:main", "Search for good values of a recipe.", STUDIES),
    Command("table", "raylift.commands.paper_table:main", "Train and evaluate every row of a paper's table.", STUDIES),
    Command("submit", "raylift.commands.submit:main", "Run a job on a Ray cluster, and follow it.", STUDIES),
    Command("recipes", "raylift.commands.recipes:main", "List recipes, explain one, or compare two.", TOOLS),
    Command("demo", "raylift.commands.demo:main", "Run the whole pipeline on furniture.", TOOLS),
    Command("fetch-weights", "raylift.commands.fetch_weights:main", "Fetch pretrained ImageNet weights.", TOOLS),
    Command("completion", "raylift.commands.completion:main", "Print a script for completion in bash.", TOOLS),
)
"""Every subcommand, in the order of ``raylift --help``. A new one is one line here and its module."""

EXIT_USAGE = 2
"""Exit status for an unknown subcommand, as argparse has it."""


def find_command(name: str) -> Command | None:
    """The subcommand of a name; an underscore may replace a hyphen."""
    return {command.name: command for command in COMMANDS}.get(name.replace("_", "-"))


def usage() -> str:
    """What ``raylift --help`` prints."""
    width = max(len(command.name) for command in COMMANDS)
    lines = ["usage: raylift COMMAND [OPTIONS] ...", "", "Train single-view 3D reconstruction models on Ray."]
    for title in dict.fromkeys(command.title for command in COMMANDS):
        lines += ["", f"{title}:"]
        lines += [f"  {one.name:{width}}  {one.summary}" for one in COMMANDS if one.title == title]
    lines += ["", "raylift COMMAND --help lists a command's options; raylift --version prints the version."]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status.

    Args:
        words: command line after ``raylift``; by default the process's.
    """
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"raylift {__version__}")
        return 0
    command = find_command(words[0])
    if command is None:
        near = difflib.get_close_matches(words[0], [one.name for one in COMMANDS], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "raylift --help lists the commands"
        print(f"raylift: unknown command {words[0]!r}: {hint}", file=sys.stderr)
        return EXIT_USAGE
    from raylift.console import run_job  # tyro and rich

    name, _, function = command.entry.partition(":")
    module = importlib.import_module(name)
    return run_job(module.Arguments, getattr(module, function), module.__doc__, words[1:], f"raylift {command.name}")
