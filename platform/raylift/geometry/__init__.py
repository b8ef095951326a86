"""Cameras, rotations, signed distance, voxels, sampling, iso-surfaces: geometry without pixels."""
