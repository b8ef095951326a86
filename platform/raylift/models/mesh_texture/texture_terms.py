"""Terms of textures: reconstruction, flow alignment, and the search guided by D_var (equations 7-12, 31-35)."""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.collectives import share_of_mean
from raylift.core.model import Term
from raylift.losses.adaptive_gradient import sample_at
from raylift.losses.coordinate_search import pseudo_label_loss, searched_reconstruction_error
from raylift.losses.flow_alignment import face_flow, flow_alignment_error, flow_cycle_error
from raylift.losses.texture_flow import sample_by_flow
from raylift.losses.unseen_texture import seen_texels
from raylift.models.mesh_texture.scene import Scene


def texture_terms(scene: Scene) -> list[Term]:
    """Terms that train textures by the image that they are read from."""
    weights = scene.config.weights
    starts = scene.step_info.epoch >= scene.config.terms.texture_from

    def term(name: str, share: Tensor) -> Term:
        return Term(name, share, getattr(weights, name) if starts else 0.0)

    # The nearest face hides the others, so the picture shows T_seen alone: equations 10 and 35 are the same number.
    terms = [term(name, share_of_mean(scene.expected(errors))) for name, errors in scene.picture_errors.items()]
    flow = scene.decoded.flow
    if flow is None:
        return terms
    uvs, seen = scene.network.face_uvs, scene.centroids
    if weights.align:
        terms.append(term("align", scene.share_of_seen(flow_alignment_error(flow, uvs, seen))))
    if weights.cycle:
        terms.append(term("cycle", share_of_mean(flow_cycle_error(flow, uvs, seen))))
    if weights.texture_distance:
        outside = sample_by_flow(scene.batch["mask_distance"], flow)
        terms.append(term("texture_distance", share_of_mean(outside)))
    if scene.decoded.variance is not None:
        shares = _searches(scene, flow, scene.decoded.variance)
        terms += [term(name, share) for name, share in shares.items()]
    return terms


def _searches(scene: Scene, flow: Tensor, variance: Tensor) -> dict[str, Tensor]:
    """Equations 31 and 32: the coordinates after gradient steps on the varied image."""
    config, image, seen = scene.config.variance, scene.image, scene.centroids
    network = scene.network
    label = seen.position.detach()
    coordinates = face_flow(flow, network.face_uvs)
    reached = pseudo_label_loss(
        coordinates, image, variance, label, config.step_size, config.num_steps, by_distance=True
    )
    shares = {"pseudo_label": scene.share_of_seen(torch.where(seen.is_seen, reached, torch.zeros_like(reached)))}
    if scene.config.weights.searched:
        # I_var held fixed: trained by 32 it would repaint the image instead of moving the coordinates.
        fixed = variance.detach()
        texels, wanted = flow.flatten(2).mT, scene.texel_places
        own = sample_at(image * fixed, texels)
        # A hidden texel has no target colour, so its coordinates stay fixed.
        is_seen = seen_texels(seen.is_seen, network.texel_face).flatten(1)[..., None]
        target = torch.where(is_seen, sample_at(image, wanted), own).detach()

        def render(colors: Tensor) -> Tensor:
            texture = colors.mT.unflatten(2, flow.shape[2:]).clamp(0, 1)
            return scene.paint(texture)

        error = searched_reconstruction_error(
            texels, image, fixed, target, render, config.step_size, config.num_steps, wanted, scene.repeated(image)
        )
        shares["searched"] = share_of_mean(scene.expected(scene.over_mask(error)))
    return shares
