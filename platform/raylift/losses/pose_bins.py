"""Losses of poses as bins of angles: the right bin (Tulsiani and Malik 2015), and the offset from its centre."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def pose_bin_error(logits: Float[Tensor, "B 3 N"], bins: Int[Tensor, "B 3"]) -> Float[Tensor, "B"]:
    """Cross-entropy of the true bins, mean over the three angles."""
    return functional.cross_entropy(logits.mT, bins, reduction="none").mean(dim=1)


def pose_offset_error(
    offsets: Float[Tensor, "B 3 N 2"],
    bins: Int[Tensor, "B 3"],
    centers: Float[Tensor, "3 N"],
    angles: Float[Tensor, "B 3"],
) -> Float[Tensor, "B"]:
    """1 - cos(angle - centre - offset) of the true bins, mean over the three angles (MultiBin, Mousavian et al. 2017).

    Args:
        offsets: (cosine, sine) of each bin's offset, of any length but 0.
        bins: true bins.
        centers: centres of all bins, radians.
        angles: true angles, radians.
    """
    picked = torch.take_along_dim(offsets, bins[..., None, None], dim=2).squeeze(2)
    wanted = angles - torch.take_along_dim(centers.expand(len(bins), -1, -1), bins[..., None], dim=2).squeeze(2)
    unit = functional.normalize(picked, dim=-1)
    return (1 - wanted.cos() * unit[..., 0] - wanted.sin() * unit[..., 1]).mean(dim=1)
