"""Terms of the input's own view: pixels, silhouettes, latents and cameras (equations 4-6)."""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.collectives import gather_rows, share_of_mean, world_size
from raylift.core.model import Term
from raylift.losses.cameras import pose_anchor_error, uneven_use
from raylift.losses.image_similarity import multiscale_gradient_loss, rgb_l1_loss, structural_dissimilarity_loss
from raylift.losses.self_consistency import latent_size_loss
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.models.shelf.state import ForwardState
from raylift.networks.feature_extractors import Frozen
from raylift.rendering.volume.grid import VolumeGrid


def image_terms(state: ForwardState, perceptual: Frozen | None) -> list[Term]:
    """Equations 4 to 6 as expectations over an image's cameras, and what keeps latents and volumes small."""
    weights, pictures, images = state.config.weights, state.hypotheses, state.repeated_images
    errors: dict[str, Tensor] = {}
    if weights.rgb:
        errors["rgb"] = rgb_l1_loss(pictures.on_white, images.on_white)
    if weights.mask:
        errors["mask"] = silhouette_iou_loss(pictures.alpha[:, 0], images.alpha[:, 0])
    if perceptual is not None:
        errors["perceptual"] = perceptual(pictures.on_white, images.on_white)
    if weights.structure:
        errors["structure"] = multiscale_gradient_loss(pictures.on_white, images.on_white)
    if weights.similarity:
        errors["similarity"] = structural_dissimilarity_loss(pictures.on_white, images.on_white)
    terms = [Term(name, share_of_mean(state.expected(error)), getattr(weights, name)) for name, error in errors.items()]
    if weights.latent_size:
        terms.append(Term("latent_size", share_of_mean(latent_size_loss(state.encoded.latent)), weights.latent_size))
    if weights.smoothness:
        terms.append(Term("smoothness", share_of_mean(total_variation(state.grid)), weights.smoothness))
    if weights.camera_use:
        uneven = uneven_use(gather_rows(state.encoded.cameras.probabilities)) / world_size()
        terms.append(Term("camera_use", uneven, weights.camera_use))
    return terms


def anchor_term(state: ForwardState) -> Term:
    """The encoder's cameras against the known one, or against the posterior of each crop."""
    error = pose_anchor_error(state.encoded.cameras, state.followed)
    return Term("anchor", share_of_mean(error), state.config.weights.anchor)


def total_variation(grid: VolumeGrid) -> Tensor:
    """Mean absolute difference of adjacent cells' hit probabilities along the three axes, [B].

    Of "density", the probability of being stopped within one cell.
    """
    density = grid.density
    if grid.kind == "density":
        density = 1 - torch.exp(-density * (2 * grid.half_extent / density.shape[-1]))
    return torch.stack([density.diff(dim=axis).abs().flatten(1).mean(dim=1) for axis in (1, 2, 3)]).mean(dim=0)
