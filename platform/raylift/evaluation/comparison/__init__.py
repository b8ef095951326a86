"""Comparison of runs: paired differences, curves, and which runs are comparable."""
