"""The seen and the unseen part of a texture (adaptive-gradient paper, equations 33 and 34); for analysis.

Training need not part them: a picture shows the seen part alone (equation 35 is 10), a random view shows both (36).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def seen_texels(
    pix_to_face: Int[Tensor, "B H W K"], texel_face: Int[Tensor, "Ht Wt"], num_faces: int
) -> Bool[Tensor, "B 1 Ht Wt"]:
    """Which texels belong to T_seen: those of the faces that show at some pixel (the paper's equations 33 and 34).

    Args:
        pix_to_face: faces at each pixel, into that image's mesh, -1 for none; pass the nearest face only (K = 1), or
            faces behind it count as seen.
        texel_face: phi: ``geometry.uv_sphere.texel_map(...).face``.
    """
    batch = pix_to_face.shape[0]
    # One column more takes the pixels that show no face.
    shown = torch.zeros(batch, num_faces + 1, dtype=torch.bool, device=pix_to_face.device)
    face = pix_to_face.reshape(batch, -1)
    shown.scatter_(1, torch.where(face < 0, num_faces, face), True)
    return shown[:, texel_face][:, None]


def split_texture(
    texture: Float[Tensor, "B C Ht Wt"], seen: Bool[Tensor, "B 1 Ht Wt"]
) -> tuple[Float[Tensor, "B C Ht Wt"], Float[Tensor, "B C Ht Wt"]]:
    """(T_seen, T_unseen): Tex is their union, and they do not meet (adaptive-gradient paper, equations 33 and 34).

    Each is zero where the other is, so they add up to the texture; gradients part the same way.
    """
    return texture * seen, texture * ~seen
