"""Fits latents to surface points, and summarises those of training objects."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.generators import torch_generator
from raylift.geometry.surface_points import surface_points
from raylift.losses.chamfer import chamfer_distances
from raylift.networks.deformable_templates import DeformableTemplates

RATE = 0.1
"""Adam's first step size, in standard deviations of a category's latents; it falls to 0 by a cosine."""
SHRINKAGE = 4.0
"""Objects' worth of equal variance in every direction that a covariance is mixed with: few objects span few
directions."""
LEAST_VARIANCE = 1e-6


def surface_error(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    points: Float[Tensor, "B N 3"],
    uniforms: Float[Tensor, "B N 3"],
) -> Float[Tensor, "B"]:
    """Mean Chamfer distance of each mesh and its points, both ways, world units."""
    on_mesh, of_points = chamfer_distances(surface_points(vertices, faces, uniforms), points)
    return (on_mesh.mean(dim=1) + of_points.mean(dim=1)) / 2


def fit_latents(
    templates: DeformableTemplates,
    category: Int[Tensor, "B"],
    points: Float[Tensor, "B N 3"],
    num_steps: int,
    prior: float,
) -> Float[Tensor, "B L"]:
    """The latents whose shapes are nearest to the points; each sample's fit is its own, from the category's mean.

    Args:
        templates: trained templates.
        category: index of each sample's category.
        points: surface points, world frame.
        num_steps: Adam steps.
        prior: weight of the mean square of the latent in standard deviations (``DeformableTemplates.latent_at``).
    """
    draws = torch_generator(0, "fit")
    uniforms = torch.rand(points.shape[1], 3, generator=draws).to(points).expand_as(points)
    with torch.enable_grad():
        unit = torch.zeros(len(points), templates.config.latent, dtype=points.dtype, device=points.device)
        unit.requires_grad_()
        optimizer = torch.optim.Adam([unit], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            vertices = templates(category, templates.latent_at(category, unit))
            errors = surface_error(vertices, templates.faces, points, uniforms)
            cost = errors + prior * unit.square().mean(dim=1)
            # The sum, so that a sample's fit does not depend on the size of its batch.
            (unit.grad,) = torch.autograd.grad(cost.sum(), unit)
            optimizer.step()
            schedule.step()
    return templates.latent_at(category, unit.detach())


@torch.no_grad()
def summarise_latents(
    templates: DeformableTemplates, latents: Float[Tensor, "N L"], categories: Int[Tensor, "N"]
) -> None:
    """Set the mean and the factor of each category's latents.

    Args:
        templates: whose ``latent_mean`` and ``latent_factor`` are set; a category without objects keeps its own.
        latents: latents of all training objects.
        categories: their categories; -1 leaves one out.
    """
    for index in range(len(templates.categories)):
        own = latents[categories == index].double()
        if not len(own):
            continue
        mean = own.mean(dim=0)
        spread = (own - mean).mT @ (own - mean)
        even = spread.diagonal().mean() / len(own) * torch.eye(len(mean), dtype=spread.dtype, device=spread.device)
        covariance = (spread + SHRINKAGE * even) / (len(own) + SHRINKAGE)
        covariance.diagonal().add_(LEAST_VARIANCE)
        templates.latent_mean[index] = mean.to(latents.dtype)
        templates.latent_factor[index] = torch.linalg.cholesky(covariance).to(latents.dtype)
