"""The adversarial losses and the gradient penalty (adaptive-gradient paper, equations 37-39).

All functions take the critic's *logits* l, with D(x) = sigmoid(l(x)): log D = -softplus(-l), log(1 - D) = -softplus(l),
which never take the logarithm of zero. Logits are [B, N], with N = 1 for one logit per image, or one per patch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from raylift.core.generators import keyed_uniforms


def critic_real_loss(real: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """-log D(x) of real images: the first half of equation 37, negated to be minimised."""
    return softplus(-real)


def critic_fake_loss(fake: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """-log(1 - D(x)) of rendered images: the second half of equation 37, negated to be minimised."""
    return softplus(fake)


def generator_loss(fake: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """-log D(x) of rendered images: the non-saturating form of equation 38, used for training.

    Equation 38 as printed has no gradient where the critic is sure that a render is fake, which at first is everywhere;
    this form has the same fixed point and its strongest gradient there (Goodfellow et al. 2014, section 3).
    """
    return softplus(-fake)


def saturating_generator_loss(fake: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """log(1 - D(x)) of rendered images: the minimax form, as printed in the shelf-supervised paper's equation 7."""
    return -softplus(fake)


def interpolation_shares(keys: Int[Tensor, "B"], seed: int, step: int) -> Float[Tensor, "B"]:
    """Weight of the real image in each interpolation, uniform in [0, 1); keyed by sample, float32.

    Args:
        keys: keys of the samples (``Batch.keys``).
    """
    return keyed_uniforms(keys, seed, step, "gradient penalty")


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "B C H W"],
    fake: Float[Tensor, "B C H W"],
    shares: Float[Tensor, "B"],
) -> Float[Tensor, "B"]:
    """(||grad_x D(x)|| - 1)^2 of x between real and rendered images (adaptive-gradient paper, equation 39).

    D is here the critic's logit, averaged over patches: the penalty was designed for an unbounded critic (WGAN-GP), and
    a sigmoid's slope is at most 1/4 of the logit's. One value per sample, so ranks' shares add.

    Args:
        critic: function from images to logits [B, N]; must treat samples independently (no batch normalisation).
        real, fake: images, treated as constants.
        shares: weights of the real image: ``interpolation_shares``.
    """
    share = shares.to(real.dtype)[:, None, None, None]
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    with torch.enable_grad():
        verdict = critic(between).flatten(1).mean(dim=1)
        (gradient,) = torch.autograd.grad(verdict.sum(), between, create_graph=True)
    length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (length - 1).square()
