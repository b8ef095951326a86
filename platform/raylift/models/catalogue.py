"""Every model and every recipe by name.

A model is found by its folder (``models/NAME/recipes.py`` with an ``ENTRY``) or, in a third-party package, by the
entry-point group ``raylift.models``::

    [project.entry-points."raylift.models"]
    mymodel = "mypackage.recipes:ENTRY"
"""

from __future__ import annotations

import difflib
import importlib
import json
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from raylift import models
from raylift.config import tree
from raylift.config.codec import from_dict
from raylift.config.recipe import RECIPE_VERSION, Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.core.model import Model
from raylift.models.entry import ModelEntry

ENTRY_POINTS = "raylift.models"


def _own_models() -> dict[str, ModelEntry]:
    folders = sorted(module.name for module in pkgutil.iter_modules(models.__path__) if module.ispkg)
    entries = [importlib.import_module(f"{models.__name__}.{name}.recipes").ENTRY for name in folders]
    return {entry.name: entry for entry in entries}


def _installed_models(own: Iterable[str]) -> tuple[dict[str, ModelEntry], dict[str, str]]:
    """Models of installed packages, and why others failed to load: a broken package must not disable the rest."""
    loaded: dict[str, ModelEntry] = {}
    broken: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            entry = point.load()
        except Exception as error:  # importing a third-party package may raise anything
            broken[point.name] = f"{point.value}: {type(error).__name__}: {error}"
            continue
        if not isinstance(entry, ModelEntry):
            broken[point.name] = f"{point.value} is a {type(entry).__name__}, not a ModelEntry"
        elif entry.name != point.name:
            broken[point.name] = f"{point.value} calls itself {entry.name!r}: use one name"
        elif point.name in loaded or point.name in own:
            broken[f"{point.name} ({point.value})"] = "another model has this name"
        else:
            loaded[point.name] = entry
    return loaded, broken


_OWN = _own_models()
_INSTALLED, BROKEN = _installed_models(_OWN)
MODELS: dict[str, ModelEntry] = {**_OWN, **_INSTALLED}
"""Models by name; ``BROKEN`` holds why an installed model is missing."""


def names() -> list[str]:
    """Return every recipe name, as model/variant."""
    return [f"{entry.name}/{variant}" for entry in MODELS.values() for variant in entry.variants]


def chain(name: str) -> tuple[str, ...]:
    """Return the recipes of a name, in order: those of a chain, or the single one."""
    model, _, variant = name.partition("/")
    stages = MODELS[model].chains.get(variant, ()) if model in MODELS else ()
    return tuple(stage if "/" in stage else f"{model}/{stage}" for stage in stages) or (name,)


def chains() -> list[str]:
    """Return every name of a chain of recipes."""
    return [f"{entry.name}/{variant}" for entry in MODELS.values() for variant in entry.chains]


def get(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe of that name, or the one in that JSON file, with overrides applied.

    Raises:
        ConfigError: an unknown name, path, type or value.
    """
    if name.endswith(".json"):
        return _of_its_model(tree.override(_from_file(Path(name)), overrides))
    model, _, variant = name.partition("/")
    if model not in MODELS or variant not in MODELS[model].variants:
        if name in chains():
            raise ConfigError(
                f"{name!r} is a chain of {', '.join(chain(name))}", "train the whole chain, or name one of its stages"
            )
        near = difflib.get_close_matches(name, [*names(), *chains()], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known recipes: {', '.join(names())}"
        if model in BROKEN:
            raise ConfigError(
                f"the model {model!r} could not be loaded: {BROKEN[model]}", "fix or uninstall its package"
            )
        raise ConfigError(f"unknown recipe {name!r}", hint)
    return _of_its_model(tree.override(MODELS[model].variants[variant](), overrides))


def from_json(text: str) -> Recipe:
    """Load a recipe from the output of ``Recipe.to_json``.

    Raises:
        ConfigError: not JSON, another version, an unknown model, path, type or value.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the recipe is not JSON: {error}", "use a file that `Recipe.to_json` wrote") from None
    if not isinstance(values, dict) or "name" not in values:
        raise ConfigError("the recipe has no name", "use a file that `Recipe.to_json` wrote")
    version = values.pop("recipe_version", RECIPE_VERSION)
    if version != RECIPE_VERSION:
        raise ConfigError(f"the recipe has layout {version}", f"this Raylift reads layout {RECIPE_VERSION}")
    model = str(values["name"]).partition("/")[0]
    if model not in MODELS:
        raise ConfigError(f"unknown model {model!r}", f"known models: {', '.join(MODELS)}")
    config = from_dict(MODELS[model].config, values.pop("model", {}), "model")
    return tree.override_values(
        from_dict(Recipe, {"name": values["name"], "model": config}),
        tree.flatten({name: value for name, value in values.items() if name != "name"}),
    )


def build_model(recipe: Recipe, info: DatasetInfo | None = None) -> Model:
    """Build the model of a recipe, initialised from its seed, on the CPU.

    Args:
        info: description of the data set; optional for models that do not need it.
    """
    return MODELS[recipe.model_name].build(recipe.model, recipe.seed, info or DatasetInfo())


def _of_its_model(recipe: Recipe) -> Recipe:
    entry = MODELS.get(recipe.model_name)
    if entry is None or not isinstance(recipe.model, entry.config):
        raise ConfigError(
            f"recipe {recipe.name!r} does not have the config of a {recipe.model_name!r} model",
            "change only the part of the name after the slash",
        )
    return recipe


def _from_file(path: Path) -> Recipe:
    try:
        return from_json(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"cannot read the recipe {path}: {error.strerror}", "pass a JSON file or a recipe name"
        ) from None
