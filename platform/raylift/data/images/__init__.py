"""Image collections, silhouettes without 3D: what is stored per image, and how it is read."""
