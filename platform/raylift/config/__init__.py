"""Recipes: the typed tree of values that decides what a run learns, and how it is read, written and changed."""
