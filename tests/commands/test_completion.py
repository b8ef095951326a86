"""What bash offers after each beginning of a command line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from raylift.commands import evaluate
from raylift.commands.completion import bash_script, options_of
from raylift.commands.main import COMMANDS, main
from raylift.models import catalogue

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { echo "compopt $*"; }
_raylift
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "raylift"
    path.write_text(bash_script())
    return path


def offered(script: Path, *words: str) -> list[str]:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", ASK, "bash", str(script), "raylift", *words], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


def test_commands_come_first(script: Path) -> None:
    assert offered(script, "") == [command.name for command in COMMANDS]
    assert offered(script, "re") == ["reconstruct", "register", "recipes"]


def test_options_are_those_of_the_command(script: Path) -> None:
    assert offered(script, "train", "implicit/quick", "--d") == ["--data", "--dry-run"]
    assert "--truth-resolution" in offered(script, "prepare", "shapes", "--t")
    assert dict(options_of(evaluate.Arguments))["--split"] == ("train", "val", "test")


def test_an_option_with_choices_offers_them(script: Path) -> None:
    assert offered(script, "reconstruct", "--formats", "") == ["glb", "obj", "ply"]
    assert offered(script, "reconstruct", "--images", "") == [""], "files, by readline"


def test_recipes_sweeps_and_tables_are_offered_by_name(script: Path) -> None:
    every = [*catalogue.names(), *catalogue.chains()]
    assert offered(script, "train", "") == every
    assert offered(script, "demo", "--recipe", "implicit/q") == ["implicit/quick"]
    assert offered(script, "recipes", "diff", "implicit/quick", "implicit/told-p")[0] == "implicit/told-paper"
    assert offered(script, "sweep", "implicit_fourier") == ["implicit_fourier", "implicit_fourier_scale"]
    assert offered(script, "table", "shelf_1") == ["shelf_1"]


def test_paths_are_those_of_the_recipe_before_the_cursor(script: Path) -> None:
    assert offered(script, "train", "implicit/quick", "model.weights.s") == [
        "compopt -o nospace",
        "model.weights.sdf=",
        "model.weights.sign=",
        "model.weights.sign_scale=",
        "model.weights.sign_inside=",
    ]
    assert offered(script, "train", "poses/quick", "model.weights.sdf") == [""]


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str], script: Path) -> None:
    assert main(["completion"]) == 0
    assert capsys.readouterr().out == script.read_text()
