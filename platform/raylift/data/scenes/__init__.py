"""Scenes with known poses: rendered objects over backgrounds, partly hidden by pasted cut-outs."""
