"""Convolutions that commute with a group of rotations and reflections (equation 10)."""
