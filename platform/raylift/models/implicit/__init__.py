"""Implicit SDF+RGB from a single image (see README.md here)."""
