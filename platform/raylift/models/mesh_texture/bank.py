"""Per-image state of the training set, in buffers that are the same on all ranks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.generators import keyed_uniforms


def latest_rows(
    images: Int[Tensor, "N"], values: Float[Tensor, "N D"]
) -> tuple[Int[Tensor, "M"], Float[Tensor, "M D"]]:
    """Gather all ranks' rows of a step, by image; every rank must call it with its own rows.

    A batch that crosses the end of an epoch may have an image twice; both get the later row, on every rank.

    Args:
        images: ``image_index`` of this rank's samples.

    Returns:
        indices of images, and their values in float64.
    """
    # One gather: the index travels with its values, exact in float64 up to 2^53 images.
    everyone = collectives.gather_rows(torch.cat([images[:, None].double(), values.double()], dim=1))
    same = everyone[:, None, 0] == everyone[None, :, 0]
    # Of each row the last one of its image, found on the device: rows of one image are equal, so their order is free.
    last = (same * torch.arange(1, len(everyone) + 1, device=everyone.device)).amax(dim=1) - 1
    return everyone[:, 0].long(), everyone[last, 1:]


class PoseBank(nn.Module):
    """The latest predicted rotation of every training image: the learned distribution of poses.

    Args:
        num_images: number of training images.
    """

    quaternions: Tensor
    known: Tensor

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.register_buffer("quaternions", torch.zeros(num_images, 4))
        self.register_buffer("known", torch.zeros(num_images, dtype=torch.bool))

    @torch.no_grad()
    def keep(self, images: Int[Tensor, "N"], quaternions: Float[Tensor, "N 4"]) -> None:
        """Store this step's rotations; every rank must call it with its own."""
        index, rows = latest_rows(images, quaternions)
        self.quaternions[index] = rows.to(self.quaternions.dtype)
        self.known[index] = True

    def draw(self, keys: Int[Tensor, "B"], seed: int, step: int) -> Float[Tensor, "B 4"] | None:
        """Draw another image's rotation for each sample, keyed by (seed, step, sample); None before any is stored."""
        there = self.known.nonzero()[:, 0]
        if not len(there):
            return None
        shares = keyed_uniforms(keys, seed, step, "learned view").double()
        return self.quaternions[there[(shares * len(there)).long().clamp(max=len(there) - 1)]]
