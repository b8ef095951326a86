"""The adversarial game on the input's view and on a novel one (shelf-supervised paper, equation 7).

Logits are [B, N] as the discriminators of ``networks.discriminators`` return them: the image's own first, then those of
further heads, whose mean counts as much as the first (the original's code).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from raylift.losses.adversarial import (
    critic_fake_loss,
    critic_real_loss,
    generator_loss,
    saturating_generator_loss,
)

FAKE_WEIGHT = 0.5
"""The original's weight of either view, so that fakes weigh as much as real images."""


def over_heads(values: Float[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """The first head's value plus the mean of the others', if there are others."""
    if values.shape[1] == 1:
        return values[:, 0]
    return values[:, 0] + values[:, 1:].mean(dim=1)


def discriminator_view_loss(
    real: Float[Tensor, "B N"],
    seen: Float[Tensor, "B N"],
    novel: Float[Tensor, "B N"],
    fake_weight: float = FAKE_WEIGHT,
) -> Float[Tensor, "B"]:
    """-[log D(I) + w log(1 - D(I_v)) + w log(1 - D(I_v'))] (shelf-supervised paper, equation 7), to be minimised by D.

    Args:
        real: logits of the images.
        seen: logits of the renders from the predicted views.
        novel: logits of the renders from views of the prior.
        fake_weight: w: 1 as printed, 1/2 in the original's code.
    """
    fake = over_heads(critic_fake_loss(seen)) + over_heads(critic_fake_loss(novel))
    return over_heads(critic_real_loss(real)) + fake_weight * fake


def generator_view_loss(
    seen: Float[Tensor, "B N"],
    novel: Float[Tensor, "B N"],
    fake_weight: float = FAKE_WEIGHT,
    saturating: bool = False,
) -> Float[Tensor, "B"]:
    """The generator's side of equation 7 (shelf-supervised paper), to be minimised.

    By default w [-log D(I_v) - log D(I_v')], the non-saturating form, which the original's code trains with; as printed
    w [log(1 - D(I_v)) + log(1 - D(I_v'))], which has no gradient where D is sure that a render is fake.

    Args:
        seen, novel, fake_weight: as in ``discriminator_view_loss``.
        saturating: whether to use the printed form.
    """
    loss = saturating_generator_loss if saturating else generator_loss
    return fake_weight * (over_heads(loss(seen)) + over_heads(loss(novel)))
