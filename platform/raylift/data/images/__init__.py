"""Image collections, silhouettes without 3D: what is kept of an image, and how it is read."""
