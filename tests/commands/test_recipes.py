"""``raylift recipes``: what it lists, shows, compares and refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raylift.commands.main import main
from raylift.console import EXIT_FAILED
from raylift.models import catalogue

Ask = Callable[..., str]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """What ``raylift recipes ...`` prints, and with which status it ends."""

    def say(*words: str, status: int = 0) -> str:
        assert main(["recipes", *words]) == status
        return capsys.readouterr().out

    return say


def test_the_list_has_every_recipe_chain_sweep_and_table(ask: Ask) -> None:
    first_words = [line.split()[0] for line in ask().splitlines() if line.startswith("  ")]
    root = Path(__file__).parents[2] / "tuning"
    ready = [path.stem for kind in ("sweeps", "tables") for path in sorted((root / kind).glob("*.json"))]
    assert sorted(first_words) == sorted([*catalogue.names(), *catalogue.chains(), *ready])


def test_a_recipe_is_shown_with_its_overrides(ask: Ask) -> None:
    lines = ask("show", "implicit/test", "model.hidden=48").splitlines()
    hidden = next(line for line in lines if line.startswith("model.hidden="))
    assert hidden.split(maxsplit=2) == ["model.hidden=48", "int", "width of the decoder's layers."]
    assert next(line for line in lines if line.startswith("scale.workers=")).split()[1] == "int*"


def test_json_is_a_recipe_file(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(ask("show", "implicit/test", "--json", "seed=7"))
    assert catalogue.get(str(path)) == catalogue.get("implicit/test", ["seed=7"])
    assert ask("diff", "implicit/test", str(path)).splitlines()[1].split()[:3] == ["seed", "0", "7"]


def test_a_chain_is_shown_stage_by_stage(ask: Ask) -> None:
    told = ask("show", "mesh_texture/umr-test", "stage2:seed=3")
    assert [line.split()[0] for line in told.splitlines() if line.startswith("seed=")] == ["seed=0", "seed=3"]
    assert "start_from=runs/mesh_texture-umr-test.stage1" in told


def test_the_difference_of_two_recipes(ask: Ask) -> None:
    *rows, last = ask("diff", "implicit/test", "implicit/quick").splitlines()
    assert rows[0].split() == ["implicit/test", "implicit/quick"]
    paths = [row.split()[0] for row in rows[1:]]
    assert "model.hidden" in paths
    assert "name" not in paths
    assert last == f"{len(paths)} values differ"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("show",), "0 recipes for 'show'"),
        (("diff", "implicit/test"), "1 recipes for 'diff'"),
        (("show", "implicit/tset"), "unknown recipe 'implicit/tset'"),
        (("show", "implicit/test", "model.hiden=4"), "there is no 'model.hiden'"),
        (("diff", "implicit/test", "implicit/quick", "seed=1"), "overrides or --json with 'diff'"),
        (("show", "mesh_texture/umr-test", "--json"), "--json of a chain"),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Ask, words: tuple[str, ...], problem: str) -> None:
    told = " ".join(ask(*words, status=EXIT_FAILED).split())
    assert problem in told
    assert "remedy: " in told
