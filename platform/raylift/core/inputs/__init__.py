"""Reads bytes of unknown origin within limits: what a file claims is checked before memory is taken for it."""
