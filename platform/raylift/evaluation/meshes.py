"""Converts reconstructions to what evaluation measures: meshes on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from raylift.core.types import Field, Mesh, Reconstruction
from raylift.geometry.iso_surface import extract
from raylift.metrics.shape_pair import Shape


@dataclass(frozen=True)
class Solid:
    """A shape to measure; its mesh is extracted on first access.

    Attributes:
        shape: mesh, or field with its surface at ``level``.
        resolution: samples per edge for extracting a field.
        level: iso-level, world units; points below it are inside.
    """

    shape: Mesh | Field
    resolution: int
    level: float = 0.0

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh on the CPU, with colours."""
        if isinstance(self.shape, Field):
            with torch.no_grad():
                return extract(self.shape, self.resolution, level=self.level)[0]
        return self.shape.to("cpu")

    @property
    def is_known_empty(self) -> bool:
        """Whether the extracted mesh is empty; False if no mesh was extracted."""
        return "mesh" in self.__dict__ and self.mesh.is_empty


def mesh_of(reconstruction: Reconstruction, resolution: int, level: float = 0.0) -> Mesh:
    """A reconstruction's mesh on the CPU, with colours.

    A field is extracted at ``level``, with ``resolution`` samples per edge.
    """
    return Solid(reconstruction.shape, resolution, level).mesh


def shape_of(mesh: Mesh) -> Shape:
    """Convert a mesh to the form that metrics use."""
    return Shape(mesh.vertices.detach().cpu().numpy(), mesh.faces.detach().cpu().numpy())
