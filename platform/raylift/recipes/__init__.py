"""Recipes, their overrides and the catalogue."""

from raylift.recipes.catalogue import build_family, from_json, get, names
from raylift.recipes.recipe import Recipe, ScaleConfig

__all__ = ["Recipe", "ScaleConfig", "build_family", "from_json", "get", "names"]
