"""Texture coordinates for any mesh: charts that are cut, flattened and packed by xatlas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import xatlas
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Mesh
from raylift.rendering.triangles import check_mesh

PADDING = 4
"""Texels between charts: with bilinear sampling, two levels of a mipmap do not mix them."""
LEAST_TEXTURE_PX = 16


class Atlas(NamedTuple):
    """Charts of one mesh in one square texture.

    Attributes:
        corner_uvs: within [0, 1], (0, 0) is the texture's bottom-left.
        num_charts: number of charts.
    """

    corner_uvs: Float[Tensor, "F 3 2"]
    num_charts: int


def unwrap(mesh: Mesh, texture_px: int) -> Atlas:
    """Cut a mesh into charts of little distortion that do not overlap in the texture (xatlas, after Levy et al. 2002).

    Time grows faster than the number of faces: about 1 s for 3,000, 10 s for 15,000 and 100 s for 60,000.

    Args:
        mesh: vertices and faces are used.
        texture_px: side of the texture for which gaps between charts are measured.

    Raises:
        DataError: the mesh has no faces or is invalid, or the texture is too small.
    """
    check_texture_px(texture_px)
    vertices = np.ascontiguousarray(mesh.vertices.detach().cpu().numpy(), np.float32)
    faces = np.ascontiguousarray(mesh.faces.detach().cpu().numpy(), np.int64)
    check_mesh(vertices, faces)
    if not len(faces):
        raise DataError("a mesh without faces has no texture", "check that the reconstruction is not empty")
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = texture_px, PADDING, True
    atlas.generate(xatlas.ChartOptions(), packing)
    _, corners, uvs = atlas[0]
    # xatlas only approximates the resolution: its rectangle is scaled to fit into the square.
    side = max(atlas.width, atlas.height)
    scaled = uvs * (np.array([atlas.width, atlas.height], np.float32) / np.float32(side))
    return Atlas(torch.from_numpy(scaled[corners].astype(np.float32)), int(atlas.chart_count))


def check_texture_px(texture_px: int) -> None:
    """Reject impossible sizes of a texture."""
    if not LEAST_TEXTURE_PX <= texture_px <= 8192:
        raise DataError(f"the texture has {texture_px} texels per side", f"use {LEAST_TEXTURE_PX} to 8192")
