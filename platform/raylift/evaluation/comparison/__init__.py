"""Runs side by side: paired differences, curves, what can and cannot be compared."""
