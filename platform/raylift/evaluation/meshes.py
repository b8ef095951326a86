"""Reconstructions as what evaluation measures: meshes on the CPU."""

from __future__ import annotations

from raylift.core.types import Field, Mesh, Reconstruction
from raylift.geometry.iso_surface import extract


def mesh_of(reconstruction: Reconstruction, resolution: int, level: float = 0.0) -> Mesh:
    """A reconstruction's mesh on the CPU, with colours.

    A field is cut at a level, with ``resolution`` samples an edge.
    """
    shape = reconstruction.shape
    return extract(shape, resolution, level=level)[0] if isinstance(shape, Field) else shape.to("cpu")
