"""List the recipes, explain every value of one, or compare two.

    raylift recipes                                      # all recipes, ready sweeps and tables
    raylift recipes show implicit/quick                  # every path, value, type and its meaning
    raylift recipes show implicit/quick model.hidden=64 --json > mine.json
    raylift recipes diff implicit/quick implicit/paper   # what differs

A recipe is a name or a JSON file. Each line of "show" begins with an override, path=value, as every command takes it.
A value marked * may change when a run resumes; the others decide what is learned.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from raylift.config import tree
from raylift.config.explain import Explained, explain, shown
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.models import catalogue
from raylift.models.stages import plan_runs
from raylift.sweeps.config import READY as SWEEPS
from raylift.tables.paper_table import READY as TABLES

WIDEST = (48, 24)
"""Widest columns, the first and the others: one long value must not push the sentences off the screen."""


@dataclass(frozen=True)
class Arguments:
    """List the recipes, explain every value of one, or compare two.

    Attributes:
        action: what to do.
        names: recipe to show, or two recipes to compare: names, or JSON files.
        json: whether "show" prints the recipe as JSON, for raylift train.
        overrides: recipe values, as path=value, for "show".
    """

    action: Annotated[Literal["list", "show", "diff"], tyro.conf.Positional] = "list"
    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    json: bool = False
    overrides: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()


def main(arguments: Arguments, console: Console) -> None:
    """Print what was asked for."""
    wanted = {"list": 0, "show": 1, "diff": 2}[arguments.action]
    if len(arguments.names) != wanted:
        usage = {"list": "", "show": " NAME", "diff": " NAME NAME"}[arguments.action]
        raise ConfigError(
            f"{len(arguments.names)} recipes for {arguments.action!r}", f"raylift recipes {arguments.action}{usage}"
        )
    if arguments.action != "show" and (arguments.overrides or arguments.json):
        raise ConfigError(f"overrides or --json with {arguments.action!r}", "use them with raylift recipes show NAME")
    if arguments.action == "list":
        lines = list_all()
    elif arguments.action == "diff":
        lines = compare(*(catalogue.get(name) for name in arguments.names))
    else:
        recipes = [recipe for _, recipe in plan_runs(arguments.names[0], arguments.overrides, "runs")]
        lines = as_json(recipes) if arguments.json else [line for one in recipes for line in describe(one)]
    for line in lines:
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def list_all() -> list[str]:
    """Recipes, chains, ready sweeps and ready tables, each with a sentence."""
    lines = []
    for model, entry in catalogue.MODELS.items():
        found = [(f"{model}/{variant}", first_sentence(builder)) for variant, builder in entry.variants.items()]
        found += [(name, f"in stages: {', '.join(catalogue.chain(name))}") for name in catalogue.chains()
                  if name.startswith(f"{model}/")]  # fmt: skip
        lines += [model, *aligned([f"  {name}", text] for name, text in found), ""]
    for title, folder in (("ready sweeps: raylift sweep NAME", SWEEPS), ("ready tables: raylift table NAME", TABLES)):
        lines += [title, *aligned([f"  {path.stem}", _title(path)] for path in sorted(folder.glob("*.json"))), ""]
    return lines[:-1]


def describe(recipe: Recipe) -> list[str]:
    """A recipe's sentence, and every value with its type and meaning."""
    rows = ([f"{one.path}={one.value}", f"{one.type}{'*' * one.is_free}", one.meaning] for one in explain(recipe))
    return [f"{recipe.name} ({recipe.fingerprint})", *aligned(rows), ""]


def compare(left: Recipe, right: Recipe) -> list[str]:
    """The values that differ, with their meanings."""
    meanings = _by_path(left) | _by_path(right)
    rows = [["", left.name, right.name]]
    for path, pair in tree.differences(left, right).items():
        if path != "name":
            rows.append([path, *("-" if value is None else shown(value) for value in pair), meanings[path].meaning])
    return [*aligned(rows), f"{len(rows) - 1} values differ"]


def as_json(recipes: Sequence[Recipe]) -> list[str]:
    """The JSON of a single recipe.

    Raises:
        ConfigError: a chain.
    """
    if len(recipes) > 1:
        stages = ", ".join(recipe.name for recipe in recipes)
        raise ConfigError("--json of a chain of stages", f"name one stage: {stages}")
    return recipes[0].to_json().splitlines()


def first_sentence(builder: object) -> str:
    """The first line of a recipe's docstring."""
    function = getattr(builder, "func", builder)  # of functools.partial
    return (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "")


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines with columns; the last cell of a row is not padded."""
    cells = [list(row) for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [
        max(
            (len(row[index]) for row in cells if index < len(row) - 1 and len(row[index]) <= WIDEST[index > 0]),
            default=0,
        )
        for index in range(columns)
    ]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]


def _by_path(recipe: Recipe) -> dict[str, Explained]:
    return {one.path: one for one in explain(recipe)}


def _title(path: Path) -> str:
    return str(json.loads(path.read_text()).get("title", ""))
