"""Every family and every recipe by name: adding a family adds one line here."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path

from raylift.core.data_facts import DataFacts
from raylift.core.errors import ConfigError
from raylift.core.family import Learner
from raylift.recipes import implicit, mesh_texture, part_segmentation, poses, tree
from raylift.recipes.family_entry import FamilyEntry
from raylift.recipes.recipe import RECIPE_VERSION, Recipe

FAMILIES: dict[str, FamilyEntry] = {
    entry.name: entry for entry in (implicit.ENTRY, mesh_texture.ENTRY, part_segmentation.ENTRY, poses.ENTRY)
}


def names() -> list[str]:
    """Every recipe, as family/variant."""
    return [f"{entry.name}/{variant}" for entry in FAMILIES.values() for variant in entry.variants]


def chain(name: str) -> tuple[str, ...]:
    """The recipes that a name stands for, in order: those of a chain, or the one itself."""
    family, _, variant = name.partition("/")
    stages = FAMILIES[family].chains.get(variant, ()) if family in FAMILIES else ()
    return tuple(stage if "/" in stage else f"{family}/{stage}" for stage in stages) or (name,)


def chains() -> list[str]:
    """Every name that stands for several recipes."""
    return [f"{entry.name}/{variant}" for entry in FAMILIES.values() for variant in entry.chains]


def get(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of that name, or the one in that JSON file, with overrides applied.

    Raises:
        ConfigError: an unknown name, path, type or value.
    """
    if name.endswith(".json"):
        return _of_its_family(tree.override(_from_file(Path(name)), overrides))
    family, _, variant = name.partition("/")
    if family not in FAMILIES or variant not in FAMILIES[family].variants:
        if name in chains():
            raise ConfigError(
                f"{name!r} stands for {', '.join(chain(name))}", "train it as a whole, or name one of its stages"
            )
        near = difflib.get_close_matches(name, [*names(), *chains()], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names())}"
        raise ConfigError(f"there is no recipe {name!r}", hint)
    return _of_its_family(tree.override(FAMILIES[family].variants[variant](), overrides))


def from_json(text: str) -> Recipe:
    """Read back ``Recipe.to_json``.

    Raises:
        ConfigError: not JSON, another version, an unknown family, path, type or value.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the recipe is not JSON: {error}", "give a file that `Recipe.to_json` wrote") from None
    if not isinstance(values, dict) or "name" not in values:
        raise ConfigError("the recipe has no name", "give a file that `Recipe.to_json` wrote")
    version = values.pop("recipe_version", RECIPE_VERSION)
    if version != RECIPE_VERSION:
        raise ConfigError(f"the recipe is of layout {version}", f"this Raylift reads layout {RECIPE_VERSION}")
    family = str(values["name"]).partition("/")[0]
    if family not in FAMILIES:
        raise ConfigError(f"there is no family {family!r}", f"there are: {', '.join(FAMILIES)}")
    config = tree.from_plain(FAMILIES[family].config, values.pop("family", {}), "family")
    return tree.override_values(
        tree.from_plain(Recipe, {"name": values["name"], "family": config}),
        _leaves({name: value for name, value in values.items() if name != "name"}),
    )


def build_family(recipe: Recipe, facts: DataFacts | None = None) -> Learner:
    """The family of a recipe, freshly initialised from its seed, on the CPU.

    Args:
        facts: of the data set that it is for; a family that does without them needs none.
    """
    return FAMILIES[recipe.family_name].build(recipe.family, recipe.seed, facts or DataFacts())


def _of_its_family(recipe: Recipe) -> Recipe:
    entry = FAMILIES.get(recipe.family_name)
    if entry is None or not isinstance(recipe.family, entry.config):
        raise ConfigError(
            f"recipe {recipe.name!r} does not hold the values of a {recipe.family_name!r} family",
            "only the part of the name after the slash can be changed",
        )
    return recipe


def _from_file(path: Path) -> Recipe:
    try:
        return from_json(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}", "give a JSON file or a name") from None


def _leaves(values: dict[str, object], path: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        leaves |= _leaves(value, where) if isinstance(value, dict) else {where: value}
    return leaves
