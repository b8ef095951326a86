"""The two objectives that flow and variance are trained by (adaptive-gradient paper, equations 31-32).

theta_c^0 + sum over t of alpha^t I_grad^t is where gradient steps on the sampled colour would take the coordinates. The
gradient I_grad^t depends on I_var, so minimising either objective by I_var asks for a variance image whose gradient
leads to the right place; that needs the derivative of a derivative, which ``adaptive_gradient`` provides.

The paper's sign is absorbed: steps go *down* the error of equation 19. Its training runs the sum over the optimiser's
own steps; here ``num_steps`` of them are unrolled and differentiated through, and one is enough in training, since the
optimiser repeats it. With zero steps equation 31 is plain alignment (12) and equation 32 plain reconstruction (10).

alpha^t is read as a share of what is left to go: a step is alpha^t |theta - Y_pse| long, along the gradient. As a plain
factor it cannot be chosen: the gradient's length varies by orders of magnitude within a picture, most steps are
hundredths of a pixel, and equation 31 then has no derivative by I_var. So does its gradient fade only where it is much
smaller than ``LEAST_GRADIENT``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.losses.adaptive_gradient import coordinate_gradient, sample_at
from raylift.losses.texture_flow import reconstruction_loss

LEAST_GRADIENT = 0.1
"""Squared colour per unit of normalised coordinates. A gradient of this length makes 0.7 of a full step; a coordinate
that is 0.2 in colour from its target on a slope of 1 grey level per pixel at 64 px has one of about 0.05."""


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
    theta <- theta - alpha |theta - Y| g / sqrt(|g|^2 + LEAST_GRADIENT^2). That step depends on I_var and is constant in
    theta: where the colour's slope changes from pixel to pixel, its derivative by theta is hundreds.

    Args:
        coordinates: theta_c^0, normalised (u, v).
        sampling_image: I_r * I_var.
        target: C', the colour each coordinate ought to read.
        step_size: alpha: a share of the distance to the label, or, without one, squared normalised coordinates per
            squared colour.
        label: Y_pse, normalised (u, v); taken as constant, like the distance to it.
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

    The colour that a step aims at is the image's own at the pseudo-label: the paper's C' is the picture's colour where
    the texel is seen.

    Args:
        label: Y_pse, normalised (u, v): ``flow_alignment.face_centroids``; without gradient.
        by_distance: steps are shares of the distance to the label, see ``searched_coordinates``.

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

    I_var steers the steps; the colours at their end are the image's own, so the error cannot be painted away.

    Args:
        target: C' of the steps.
        render: F_r of V_pred and cam: the colours [B, N, C] of I_uv to pictures [M, C, H, W].
        label: see ``searched_coordinates``.
        truth: I_r for each picture of ``render``, where those are more than one per image.
    """
    reached = searched_coordinates(coordinates, image * variance, target, step_size, num_steps, label)
    return reconstruction_loss(render(sample_at(image, reached)), image if truth is None else truth)
