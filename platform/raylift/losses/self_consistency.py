"""The encoder recovers what a render was made from (shelf-supervised paper, equation 8), and its latent stays small.

Equation 8 sums squares; the original's weights (100 and 100, latent regulariser 0.1) belong to means over components,
which these functions return. Targets are constant: equation 8 trains the encoder alone, so its caller detaches the
renders as well.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def latent_consistency_loss(encoded: Float[Tensor, "*B Z"], latent: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B"]:
    """(phi_E(I_v) - z)^2, the latent's half of equation 8 (shelf-supervised paper), mean over its components.

    Args:
        encoded: latent that the encoder predicts for a detached render.
        latent: z that the render was made from; constant.
    """
    return (encoded - latent.detach()).square().mean(dim=-1)


def view_consistency_loss(predicted: Float[Tensor, "*B D"], view: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    """(phi_E(I_v) - v)^2, the view's half of equation 8 (shelf-supervised paper), mean over the code's components.

    Args:
        predicted: code of the view that the encoder predicts for a detached render: ``rotation_code``.
        view: code of the view that it was rendered from; constant.
    """
    return (predicted - view.detach()).square().mean(dim=-1)


def rotation_code(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 6"]:
    """The first two columns of a rotation: its continuous code of six numbers (Zhou et al. 2019)."""
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def latent_size_loss(latent: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B"]:
    """z^2 / 2, mean over components: the divergence of N(z, 1) from N(0, 1) per component (the original's code)."""
    return latent.square().mean(dim=-1) / 2
