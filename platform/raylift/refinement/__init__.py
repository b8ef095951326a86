"""Refinement of one reconstruction against its own image, by the differentiable rasteriser."""
