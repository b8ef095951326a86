"""How much a renderer paints where there is no object: the failure of decoders that colour pixels freely."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

OPAQUE = 0.05
"""Coverage above which a pixel belongs to the object."""


def painted_background(
    rgb: Float[Tensor, "B 3 H W"],
    alpha: Float[Tensor, "B 1 H W"],
    background: Float[Tensor, "B 3 H W"] | float = 1.0,
    margin_px: int = 2,
) -> Float[Tensor, "B"]:
    """Share of the colour energy outside of the object, in [0, 1]: 0 for colour composited with its own alpha.

    The energy of a pixel is its squared distance from the background, summed over RGB. Outside is more than
    ``margin_px`` pixels away from any coverage above ``OPAQUE``. An image without energy has 0.

    Args:
        rgb: rendered image, as a discriminator or an image loss sees it.
        alpha: coverage of the rendered shape, in [0, 1].
        background: what ``rgb`` shows where nothing is: an image or one value.
    """
    energy = (rgb.detach() - background).square().sum(dim=1, keepdim=True).double()
    near = functional.max_pool2d(alpha.detach().float(), 2 * margin_px + 1, stride=1, padding=margin_px)
    outside = torch.where(near > OPAQUE, 0.0, energy).sum(dim=(1, 2, 3))
    return outside / energy.sum(dim=(1, 2, 3)).clamp(min=1e-12)
