"""Textures of meshes: charts, the surface point of every texel, and colours from a function or a photograph."""
