"""Recipes: the typed tree of values that decides what a run learns, and how to read, write and change it."""
