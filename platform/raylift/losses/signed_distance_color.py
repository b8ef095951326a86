"""Errors of a predicted distance, its sign and a colour at points (implicit paper, equation 4, and one extra term)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def signed_distance_color_l1(
    sdf: Float[Tensor, "B N"],
    color: Float[Tensor, "B N 3"],
    true_sdf: Float[Tensor, "B N"],
    true_color: Float[Tensor, "B N 3"],
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """The two unweighted terms of equation 4 of the implicit paper, per point: |S - S_GT| and ||C - C_GT||_1.

    Equation 4 is the sum over points of lambda_S times the first and lambda_C times the second.

    Args:
        sdf, true_sdf: signed distances, world units.
        color, true_color: RGB in [0, 1].

    Returns:
        Distance error, world units; colour error summed over R, G and B, in [0, 3].
    """
    return (sdf - true_sdf).abs(), (color - true_color).abs().sum(dim=-1)


def sign_cross_entropy(
    sdf: Float[Tensor, "B N"], true_sdf: Float[Tensor, "B N"], scale: float, inside_weight: float = 1.0
) -> Float[Tensor, "B N"]:
    """Cross entropy of "inside" per point, with the logit -S / scale.

    L1 regression predicts the median under uncertainty, which for thin parts is "outside"; this term is minimised by
    the likelier sign of S. With weight w on inside points, the sign changes at a probability of 1 / (1 + w) that a
    point is inside. IoU is largest where it changes at IoU / (1 + IoU) (Nowozin 2014; for Dice, at half of the best
    Dice: Lipton et al. 2014), so w = 1 / IoU.

    Args:
        sdf, true_sdf: signed distances, world units, negative inside.
        scale: scale of the logit, world units.
        inside_weight: weight w of inside points.
    """
    inside = (true_sdf < 0).to(sdf.dtype)
    weight = 1 + (inside_weight - 1) * inside
    return functional.binary_cross_entropy_with_logits(-sdf / scale, inside, weight, reduction="none")
