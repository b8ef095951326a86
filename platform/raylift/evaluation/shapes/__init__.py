"""Reconstructions against true shapes, beside answers that need no learning."""
