"""The two objectives that train flow and variance (adaptive-gradient paper, equations 31-32).

theta_c^0 + sum over t of alpha^t I_grad^t are the coordinates after gradient steps on the sampled colour. The gradient
I_grad^t depends on I_var, so minimising either objective over I_var yields a variance image whose gradient leads to the
right position; this needs a second derivative, which ``adaptive_gradient`` provides.

The paper's sign is absorbed: steps *descend* the error of equation 19. Its training takes the sum over the optimizer's
own steps; here ``num_steps`` of them are unrolled and differentiated through, and one is enough in training, since the
optimizer repeats it. With zero steps equation 31 is plain alignment (12) and equation 32 plain reconstruction (10).

alpha^t is interpreted as a fraction of the remaining distance: a step has length alpha^t |theta - Y_pse|, along the
gradient. No plain factor works: the gradient's length varies by orders of magnitude within an image, most steps are
hundredths of a pixel, and equation 31 then has no derivative with respect to I_var. With the fraction, a step fades
only where the gradient is much smaller than ``LEAST_GRADIENT``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.losses.adaptive_gradient import coordinate_gradient, sample_at
from raylift.losses.texture_flow import reconstruction_loss

LEAST_GRADIENT = 0.1
"""Squared colour per unit of normalised coordinates. A gradient of this length makes 0.7 of a full step; it is about
0.05 for a coordinate whose colour is 0.2 from its target, on a slope of 1 grey level per pixel at 64 px."""


def searched_coordinates(
    coordinates: Float[Tensor, "B N 2"],
    sampling_image: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B N C"],
    step_size: float,
    num_steps: int = 1,
    label: Float[Tensor, "B N 2"] | None = None,
) -> Float[Tensor, "B N 2"]:
    """theta_c^0 + sum over t of alpha^t I_grad^t, as in the adaptive-gradient paper's equations 31 and 32.

    Each step is theta <- theta - alpha g with g of ``coordinate_gradient`` (equations 27-30). With a label it is
    theta <- theta - alpha |theta - Y| g / sqrt(|g|^2 + LEAST_GRADIENT^2). That step depends on I_var but is treated as
    constant in theta: where the colour's slope changes from pixel to pixel, its derivative with respect to theta is in
    the hundreds.

    Args:
        coordinates: theta_c^0, normalised (u, v).
        sampling_image: I_r * I_var.
        target: C', the colour that each coordinate should sample.
        step_size: alpha: fraction of the distance to the label, or, without one, squared normalised coordinates per
            squared colour.
        label: Y_pse, normalised (u, v); treated as constant, like the distance to it.
    """
    for _ in range(num_steps):
        place = coordinates if label is None else coordinates.detach()
        step = coordinate_gradient(sampling_image, target, place)
        if label is not None:
            left = torch.linalg.vector_norm((coordinates - label).detach(), dim=-1, keepdim=True)
            step = left * step / (step.square().sum(dim=-1, keepdim=True) + LEAST_GRADIENT**2).sqrt()
        coordinates = coordinates - step_size * step
    return coordinates


def pseudo_label_loss(
    coordinates: Float[Tensor, "B N 2"],
    image: Float[Tensor, "B C H W"],
    variance: Float[Tensor, "B V H W"],
    label: Float[Tensor, "B N 2"],
    step_size: float,
    num_steps: int = 1,
    by_distance: bool = False,
) -> Float[Tensor, "B N"]:
    """||theta_c^0 + sum alpha^t I_grad^t - Y_pse|| (adaptive-gradient paper, equation 31).

    The target colour of a step is the image's own at the pseudo-label: the paper's C' is the image's colour where the
    texel is seen.

    Args:
        label: Y_pse, normalised (u, v): ``flow_alignment.face_centroids``; without gradient.
        by_distance: whether steps are fractions of the distance to the label, see ``searched_coordinates``.

    Returns:
        Euclidean distance in normalised coordinates.
    """
    target = sample_at(image, label).detach()
    towards = label if by_distance else None
    reached = searched_coordinates(coordinates, image * variance, target, step_size, num_steps, towards)
    distance: Tensor = torch.linalg.vector_norm(reached - label.detach(), dim=-1)
    return distance


def searched_reconstruction_error(
    coordinates: Float[Tensor, "B N 2"],
    image: Float[Tensor, "B C H W"],
    variance: Float[Tensor, "B V H W"],
    target: Float[Tensor, "B N C"],
    render: Callable[[Tensor], Tensor],
    step_size: float,
    num_steps: int = 1,
    label: Float[Tensor, "B N 2"] | None = None,
    truth: Float[Tensor, "M C H W"] | None = None,
) -> Float[Tensor, "M H W"]:
    """||F_r(V_pred, phi(I_uv[theta_c^0 + sum alpha^t I_grad^t]), cam) - I_r|| (adaptive-gradient paper, equation 32).

    I_var controls the steps; the final colours are the image's own, so I_var cannot lower the error by repainting.

    Args:
        target: target colours C' of the steps.
        render: F_r of V_pred and cam: maps the colours [B, N, C] of I_uv to images [M, C, H, W].
        label: see ``searched_coordinates``.
        truth: I_r for each output of ``render``, if there are several per image.
    """
    reached = searched_coordinates(coordinates, image * variance, target, step_size, num_steps, label)
    return reconstruction_loss(render(sample_at(image, reached)), image if truth is None else truth)
