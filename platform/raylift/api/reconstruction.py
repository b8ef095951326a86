"""The reconstruction of one image, to look at and to export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raylift.api.notebook import viewer_frame
from raylift.core.types import Camera, Mesh
from raylift.export.mesh_files import write_mesh
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A mesh, and the image that it was made from.

    Attributes:
        name: the image's file name without its suffix, or "image".
        mesh: on the CPU, with colours or a texture; in the frame of ``core.types``: Y up, the longest edge about 1.
        camera: of the input image, B = 1.
        camera_source: "sidecar" if it was given, "canonical" if it was assumed, "model" if the model found it.
        image: the input as it was cropped: uint8 [S, S, 4].
        notes: assumptions, and what refinement and texturing did.
        seconds: total time.
    """

    name: str
    mesh: Mesh
    camera: Camera
    camera_source: str
    image: np.ndarray
    notes: tuple[str, ...]
    seconds: float

    def export(self, path: str | Path) -> Path:
        """Write the mesh as .glb, .obj (with .mtl and texture next to it) or .ply.

        Raises:
            DataError: an unknown suffix, or writing fails.
        """
        return write_mesh(self.mesh, Path(path).expanduser())

    def __repr__(self) -> str:
        size = f"{len(self.mesh.vertices):,} vertices, {len(self.mesh.faces):,} faces"
        return f"Reconstruction({self.name!r}: {size}, camera {self.camera_source}, {self.seconds:.1f} s)"

    def _repr_html_(self) -> str:
        row = ViewerRow(
            name=self.name,
            images=[ViewerImage("Input", self.image, f"{self.image.shape[1]} px")],
            shapes=[ViewerShape("Reconstruction", self.mesh)],
            camera=self.camera,
            text="; ".join(self.notes),
        )
        return viewer_frame([row], f"Reconstruction of {self.name}")
