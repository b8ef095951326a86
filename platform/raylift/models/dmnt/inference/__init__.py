"""Inference of neural textured meshes: class, pose, shape and outlines of an object by fitting features."""
