"""Lazy regularisers of a GAN: R1 of the discriminator, path lengths of the generator.

Either is the loss of a phase of its own, ``Phase(name, groups, every=16)``, whose weight is multiplied by ``every`` so
that the mean gradient over steps stays the same (Karras et al. 2020, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.precision import at_least_float32

R1_PER_PIXEL = 0.0002
PATH_DECAY = 0.01


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """||grad_x D(x)||^2 of real images (Mescheder et al. 2018, equation 9); its weight is gamma / 2.

    D is the logit, summed over heads as ``losses.view_adversarial.over_heads`` does. In float32 at least: squared
    gradients of half-precision numbers underflow.

    Args:
        discriminator: function from images to one logit per image, [B]; must treat samples independently.
        real: images, treated as constants.
    """
    with torch.autocast(real.device.type, enabled=False), torch.enable_grad():
        x = at_least_float32(real).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def r1_gamma(image_px: int, global_batch: int) -> float:
    """R1's gamma from sizes: 0.0002 px^2 / batch (Karras et al. 2020, ADA, appendix C)."""
    return R1_PER_PIXEL * image_px**2 / global_batch


def path_lengths(
    image: Float[Tensor, "B C H W"], latent: Float[Tensor, "B Z"], noise: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B"]:
    """||J^T y||: how far an image moves for a step of its latent (Karras et al. 2020, StyleGAN2, equation 4).

    Args:
        image: made from ``latent``, with its graph. Sample i must depend on latent i alone.
        latent: the generator's input, which requires a gradient.
        noise: y: standard normals (``networks.discriminators.noise.keyed_noise``).
    """
    height, width = image.shape[-2:]
    scale = (height * width) ** -0.5
    (gradient,) = torch.autograd.grad((image * noise * scale).sum(), latent, create_graph=True)
    # The root's slope is infinite at 0, where an image does not depend on its latent yet.
    return gradient.square().flatten(1).sum(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny).sqrt()


def path_length_loss(lengths: Float[Tensor, "B"], mean: Float[Tensor, ""]) -> Float[Tensor, "B"]:
    """(||J^T y|| - a)^2, with a the moving mean of lengths, a constant (Karras et al. 2020, StyleGAN2, equation 4)."""
    return (lengths - mean.detach()).square()


def updated_path_mean(
    mean: Float[Tensor, ""], lengths: Float[Tensor, "N"], decay: float = PATH_DECAY
) -> Float[Tensor, ""]:
    """The moving mean after a step: a + decay (mean length - a); constant.

    Args:
        mean: a before the step; 0 at first.
        lengths: of the whole global batch: see ``collectives.gather_rows``.
    """
    return torch.lerp(mean, lengths.detach().mean().to(mean.dtype), decay)
