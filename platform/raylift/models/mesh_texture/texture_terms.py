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
from raylift.models.mesh_texture.forward_state import ForwardState


def texture_terms(state: ForwardState) -> list[Term]:
    """Terms that train textures by the image that they are read from."""
    weights = state.config.weights
    starts = state.step_info.epoch >= state.config.terms.texture_from

    def term(name: str, share: Tensor) -> Term:
        return Term(name, share, getattr(weights, name) if starts else 0.0)

    # The nearest face hides the others, so the picture shows T_seen alone: equations 10 and 35 are the same number.
    terms = [term(name, share_of_mean(state.expected(errors))) for name, errors in state.picture_errors.items()]
    flow = state.decoded.flow
    if flow is None:
        return terms
    uvs, seen = state.network.face_uvs, state.centroids
    if weights.align:
        terms.append(term("align", state.share_of_seen(flow_alignment_error(flow, uvs, seen))))
    if weights.cycle:
        terms.append(term("cycle", share_of_mean(flow_cycle_error(flow, uvs, seen))))
    if weights.texture_distance:
        outside = sample_by_flow(state.batch["mask_distance"], flow)
        terms.append(term("texture_distance", share_of_mean(outside)))
    if state.decoded.variance is not None:
        shares = _searches(state, flow, state.decoded.variance)
        terms += [term(name, share) for name, share in shares.items()]
    return terms


def _searches(state: ForwardState, flow: Tensor, variance: Tensor) -> dict[str, Tensor]:
    """Equations 31 and 32: the coordinates after gradient steps on the varied image."""
    config, image, seen = state.config.variance, state.image, state.centroids
    network = state.network
    label = seen.position.detach()
    coordinates = face_flow(flow, network.face_uvs)
    reached = pseudo_label_loss(
        coordinates, image, variance, label, config.step_size, config.num_steps, by_distance=True
    )
    shares = {"pseudo_label": state.share_of_seen(torch.where(seen.is_seen, reached, torch.zeros_like(reached)))}
    if state.config.weights.searched:
        # I_var held fixed: trained by 32 it would repaint the image instead of moving the coordinates.
        fixed = variance.detach()
        texels, wanted = flow.flatten(2).mT, state.texel_places
        own = sample_at(image * fixed, texels)
        # A hidden texel has no target colour, so its coordinates stay fixed.
        is_seen = seen_texels(seen.is_seen, network.texel_face).flatten(1)[..., None]
        target = torch.where(is_seen, sample_at(image, wanted), own).detach()

        def render(colors: Tensor) -> Tensor:
            texture = colors.mT.unflatten(2, flow.shape[2:]).clamp(0, 1)
            return state.paint(texture)

        error = searched_reconstruction_error(
            texels, image, fixed, target, render, config.step_size, config.num_steps, wanted, state.repeated(image)
        )
        shares["searched"] = share_of_mean(state.expected(state.over_mask(error)))
    return shares
