"""Textured meshes with views, points and truth: what is kept of an object, and how it is read."""
