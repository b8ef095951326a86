"""A rasteriser's output per pixel: PyTorch3D's contract."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """The K nearest faces at each pixel centre of N images, nearest first, padded with -1.

    Attributes:
        pix_to_face: index into the faces of that image's mesh.
        zbuf: depth z in camera axes, world units.
        bary_coords: weights of the face's three corners at that point of the face, perspective-correct.
        dists: squared distance in the image plane (normalised coordinates, [-1, 1]^2) from the pixel centre to the
            face's boundary; negative where the centre is inside of the face.
    """

    pix_to_face: Int[Tensor, "N H W K"]
    zbuf: Float[Tensor, "N H W K"]
    bary_coords: Float[Tensor, "N H W K 3"]
    dists: Float[Tensor, "N H W K"]
