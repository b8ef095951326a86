"""Signed distance to any triangle mesh: free space in many virtual depth views is outside.

Real meshes are not watertight: open shells, sheets without thickness, dozens of parts that intersect, faces turned
inside out. Ray parity and winding numbers need a well-defined inside, which such a mesh lacks. A virtual scan only uses
what can be *seen* (as in Stutz and Geiger 2018 and OccNet's ground truth, here without fusing a volume):

* **sign**: a point is outside if any of about 100 views from all sides sees it in front of the first surface;
* **distance**: the exact distance to the nearest triangle that some view sees, so that hidden inner parts do not count;
* ``S = sign * distance - thickness``: a sheet or an open shell becomes a solid of twice that thickness, and the sign of
  a point nearer to the surface than a depth map can resolve does not matter.

It does not depend on the orientation of faces, on holes in hidden places or on how parts overlap. Its limits: a cavity
that is open to the outside is outside (a box without a lid is a thin shell, where a winding number would fill some of
it), and a crevice that no view sees is solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numba import njit

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.bvh import TriangleBvh, as_points, as_triangles

THICKNESS = 0.004
"""Half the resulting thickness of a sheet, in object sizes: about one cell of a 256^3 grid."""


@dataclass(frozen=True)
class Scan:
    """Depth views of a mesh from all sides.

    Attributes:
        depths: z in camera axes at every pixel's centre, 0 without a hit.
        cameras: cameras of the M views, perspective or orthographic. **Each view must show the whole mesh**: points
            that project outside of the image count as free.
        visible_faces: mask of the faces that some view sees.
    """

    depths: Float32[np.ndarray, "M H W"]
    cameras: Camera
    visible_faces: Bool[np.ndarray, "F"]

    def __post_init__(self) -> None:
        if self.depths.ndim != 3 or len(self.depths) != len(self.cameras):
            raise DataError(
                f"the scan has {len(self.cameras)} cameras, but depths of shape {self.depths.shape}",
                "pass depths [M, H, W]",
            )


class ScanDistance:
    """The signed distance of one scanned mesh, prepared for many queries.

    Args:
        vertices: positions [V, 3].
        faces: vertex indices [F, 3].
        scan: scan of the same mesh.
        thickness: length subtracted from the signed distance; world units.

    Raises:
        DataError: the mesh is unusable, no face of it is visible, or the scan is another mesh's.
    """

    def __init__(self, vertices: Any, faces: Any, scan: Scan, thickness: float = THICKNESS) -> None:
        vertices, faces = as_triangles(vertices, faces)
        visible = np.asarray(scan.visible_faces, bool)
        if len(visible) != len(faces):
            raise DataError(f"the scan has {len(visible)} faces, the mesh {len(faces)}", "scan the same mesh")
        if not visible.any():
            raise DataError("no face of the mesh is visible from outside", "check its scale, position and depth range")
        self._bvh = TriangleBvh(vertices, faces[visible])
        self._depths = np.ascontiguousarray(scan.depths, np.float32)
        self._views = _view_matrices(scan.cameras)
        self._perspective = scan.cameras.projection == "perspective"
        self.thickness = float(thickness)

    def is_free(self, points: Any) -> Bool[np.ndarray, "N"]:
        """Whether any view sees the point in front of the first surface, or along a ray that misses the mesh."""
        free: np.ndarray = _is_free(as_points(points), self._depths, self._views, self._perspective)
        return free

    def __call__(self, points: Any, max_distance: float = np.inf) -> Float32[np.ndarray, "N"]:
        """Signed distances, negative inside, world units.

        Args:
            points: query points [N, 3].
            max_distance: limit of unsigned distances (before the thickness is subtracted); cheaper when small.
        """
        points = as_points(points)
        distances, _, _ = self._bvh.closest(points, max_distance)
        return (np.where(self.is_free(points), distances, -distances) - self.thickness).astype(np.float32)


def _view_matrices(cameras: Camera) -> np.ndarray:
    """[M, 16]: rotation, translation, focal, principal."""
    parts = [cameras.rotation.reshape(-1, 9), cameras.translation, cameras.focal, cameras.principal]
    return np.concatenate([part.detach().cpu().double().numpy() for part in parts], axis=1)


@njit(cache=True, nogil=True)
def _is_free(points, depths, views, perspective):  # type: ignore[no-untyped-def]
    """The four pixels around a point's projection must all be deeper than the point: depth between pixel centres is
    unknown, and the nearest of the four is the conservative choice (its only error is an outside point left inside)."""
    num_views, height, width = depths.shape
    free = np.zeros(points.shape[0], np.bool_)
    last = 0
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for turn in range(num_views):
            # Neighbours in the list are often seen by the same view: test that one first.
            m = (last + turn) % num_views
            view = views[m]
            cz = view[6] * x + view[7] * y + view[8] * z + view[11]
            u = view[0] * x + view[1] * y + view[2] * z + view[9]
            v = view[3] * x + view[4] * y + view[5] * z + view[10]
            if perspective:
                if cz <= 1e-9:
                    continue
                u, v = u / cz, v / cz
            column = ((u * view[12] + view[14] + 1.0) * width - 1.0) * 0.5
            row = ((v * view[13] + view[15] + 1.0) * height - 1.0) * 0.5
            if not (-1.0 <= column < width and -1.0 <= row < height):
                free[p] = True
                last = m
                break
            j, i = int(np.floor(column)), int(np.floor(row))
            seen = True
            for di in range(2):
                for dj in range(2):
                    if 0 <= i + di < height and 0 <= j + dj < width:
                        depth = depths[m, i + di, j + dj]
                        if depth > 0.0 and depth <= cz:
                            seen = False
            if seen:
                free[p] = True
                last = m
                break
    return free
