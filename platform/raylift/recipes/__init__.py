"""Recipes, their overrides and the catalogue."""
