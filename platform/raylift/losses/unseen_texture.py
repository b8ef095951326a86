"""The seen and the unseen part of a texture (adaptive-gradient paper, equations 33 and 34).

The input view shows only the seen part (equation 35 equals 10), a random view shows both (36), and only seen texels
have a target colour (32).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def seen_faces(nearest_faces: Int[Tensor, "B *S"], num_faces: int) -> Bool[Tensor, "B F"]:
    """Find the faces that are nearest at some pixel.

    Args:
        nearest_faces: index of the face at each pixel, in that image's mesh, -1 for none.
    """
    # An extra column takes the pixels without a face.
    nearest = nearest_faces.flatten(1)
    seen = torch.zeros(len(nearest), num_faces + 1, dtype=torch.bool, device=nearest.device)
    seen.scatter_(1, torch.where(nearest < 0, num_faces, nearest), True)
    return seen[:, :-1]


def seen_texels(face_is_seen: Bool[Tensor, "B F"], texel_face: Int[Tensor, "Ht Wt"]) -> Bool[Tensor, "B Ht Wt"]:
    """Find the texels of T_seen (adaptive-gradient paper, equation 33); the others are T_unseen (34).

    Args:
        face_is_seen: whether a face is seen: ``seen_faces``, or ``flow_alignment.FaceCentroids``.
        texel_face: phi: ``geometry.uv_sphere.texel_map(...).face``.
    """
    return face_is_seen[:, texel_face]
