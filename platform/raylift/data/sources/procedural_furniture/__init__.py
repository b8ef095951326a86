"""Procedural furniture: one file per category, made of the same solids and surfaces."""
