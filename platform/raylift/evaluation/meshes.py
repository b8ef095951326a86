"""Reconstructions as what evaluation measures: meshes on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from raylift.core.types import Field, Mesh, Reconstruction
from raylift.geometry.iso_surface import extract
from raylift.metrics.comparison import Shape


@dataclass(frozen=True)
class Solid:
    """A shape as it is measured: its mesh is extracted when it is first asked for.

    Attributes:
        shape: a mesh, or a field that is cut at ``level``.
        resolution: samples an edge that a field is extracted with.
        level: world units; points below it are inside.
    """

    shape: Mesh | Field
    resolution: int
    level: float = 0.0

    @cached_property
    def mesh(self) -> Mesh:
        """On the CPU, with colours."""
        if isinstance(self.shape, Field):
            with torch.no_grad():
                return extract(self.shape, self.resolution, level=self.level)[0]
        return self.shape.to("cpu")

    @property
    def is_known_empty(self) -> bool:
        """Whether there is no surface, as far as a mesh was asked for."""
        return "mesh" in self.__dict__ and self.mesh.is_empty


def mesh_of(reconstruction: Reconstruction, resolution: int, level: float = 0.0) -> Mesh:
    """A reconstruction's mesh on the CPU, with colours.

    A field is cut at a level, with ``resolution`` samples an edge.
    """
    return Solid(reconstruction.shape, resolution, level).mesh


def shape_of(mesh: Mesh) -> Shape:
    """A mesh as metrics see it."""
    return Shape(mesh.vertices.detach().cpu().numpy(), mesh.faces.detach().cpu().numpy())
