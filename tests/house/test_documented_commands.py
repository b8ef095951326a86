"""Every command in the documents is one that the command line accepts: options, recipes, paths and values."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tyro

from raylift.commands.main import find_command
from raylift.config.overrides import take_overrides
from raylift.models import catalogue
from raylift.models.stages import plan_runs
from raylift.sweeps.config import read_sweep
from raylift.tables.paper_table import load_table

ROOT = Path(__file__).parents[2]
_SCRIPT = re.compile(r"(?:/opt/raylift/)?(?:jobs|tuning)/(\w+)\.py")
SHORT = {"inspect_data": "inspect", "paper_table": "table"}


class Documented(NamedTuple):
    """A command of a document: its place, and the words after ``raylift``."""

    where: str
    words: tuple[str, ...]


def commands_of(path: Path) -> Iterator[Documented]:
    """The commands in a document's code blocks, without what starts Python or submits them; no transcripts ($)."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    for line in text.splitlines():
        if not line.startswith("    ") or "..." in line:
            continue
        line = re.sub(r"\s+#.*", "", line.strip())
        if not re.match(r"(raylift|python|ray job submit|\w+=\S+ (python|raylift)) ", line):
            continue
        words = shlex.split(line)
        starts = [index for index, word in enumerate(words) if word == "raylift" or _SCRIPT.fullmatch(word)]
        if starts:
            first, *rest = words[starts[-1] :]
            script = _SCRIPT.fullmatch(first)
            name = [SHORT.get(script[1], script[1])] if script else []
            yield Documented(f"{path.relative_to(ROOT)}: {line[:100]}", (*name, *rest))


def documented() -> list[Documented]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [one for name in listed.splitlines() if not name.startswith("tests/") for one in commands_of(ROOT / name)]


def parsed(words: tuple[str, ...]) -> tuple[str, Any, tuple[str, ...]]:
    """The command's name, its arguments and its overrides.

    Raises:
        ConfigError, SystemExit: the command line would refuse it.
    """
    command = find_command(words[0])
    assert command is not None, f"there is no command {words[0]!r}"
    arguments = importlib.import_module(command.entry.partition(":")[0]).Arguments
    has_overrides = "overrides" in getattr(arguments, "__dataclass_fields__", {})
    rest, overrides = take_overrides(words[1:]) if has_overrides else (list(words[1:]), ())
    return command.name, tyro.cli(arguments, args=rest, console_outputs=False), overrides


def check(words: tuple[str, ...]) -> None:
    """Parse a command as its start would, up to what needs data."""
    if words[0].startswith("-") or "--help" in words:
        return
    name, arguments, overrides = parsed(words)
    if name == "train" and not arguments.recipe.endswith(".json"):
        plan_runs(arguments.recipe, overrides, "runs")
    elif name in ("demo", "segment-parts"):
        catalogue.get(arguments.recipe, overrides)
    elif name == "sweep":
        read_sweep(ROOT / arguments.sweep if arguments.sweep.suffix else arguments.sweep, overrides)
    elif name == "table":
        load_table(ROOT / arguments.table if arguments.table.suffix else arguments.table)
    elif name == "recipes":
        for recipe in arguments.names:
            plan_runs(recipe, overrides, "runs")


def test_every_documented_command_is_accepted() -> None:
    found = documented()
    assert len(found) > 40
    wrong = []
    for one in found:
        try:
            check(one.words)
        except (Exception, SystemExit) as error:
            wrong.append(f"{one.where}\n    {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "raylift trian implicit/quick --data x",
        "raylift train implicit/quick",
        "raylift train implicit/quick --data x model.hiden=3",
        "python jobs/train.py implicit/quik --data x",
        "FOLDER=x python jobs/evaluate.py --rum x --data y",
        "ray job submit --working-dir . -- python tuning/sweep.py implicit_furier --data x",
    ],
)
def test_a_wrong_command_is_noticed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands_of.__globals__, "ROOT", tmp_path)
    (tmp_path / "x.md").write_text(f"Text.\n\n    {line}\n")
    [one] = commands_of(tmp_path / "x.md")
    with pytest.raises((Exception, SystemExit)):
        check(one.words)
