"""Additive metric states and the named protocols."""
