"""Data sets of textured meshes with views, points and ground truth: what is stored per object, and how it is read."""
