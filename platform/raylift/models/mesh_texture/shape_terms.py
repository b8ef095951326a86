"""Terms of silhouettes, shapes and cameras (equations 1-6)."""

from __future__ import annotations

from raylift.core.collectives import gather_rows, share_of_mean, world_size
from raylift.core.model import Term
from raylift.losses.cameras import camera_entropy, camera_errors, expected_over_hypotheses, uneven_use
from raylift.losses.mesh_regularity import (
    deformation_loss,
    flatness_loss,
    flatness_square,
    laplacian_loss,
    laplacian_square,
)
from raylift.models.mesh_texture.cameras import roll_error
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.network import detached


def shape_terms(state: ForwardState) -> list[Term]:
    """Terms that train shapes and cameras by silhouettes, and terms that regularise both."""
    weights, schedule, epoch = state.config.weights, state.config.terms, state.step_info.epoch
    decoded, template = state.decoded, state.network.template
    terms = []
    for name, errors in state.silhouette_errors.items():
        share = share_of_mean(expected_over_hypotheses(errors, state.probabilities))
        terms.append(Term(name, share, getattr(weights, name)))
    if weights.deform:
        weight = weights.deform if epoch >= schedule.deform_from else 0.0
        terms.append(Term("deform", share_of_mean(deformation_loss(decoded.offsets)), weight))
    if weights.laplacian:
        bend = laplacian_square if state.config.shape.smoothness == "squares" else laplacian_loss
        bent = bend(decoded.vertices, template.neighbours).sum(dim=1)
        terms.append(Term("laplacian", share_of_mean(bent), weights.laplacian))
    if weights.flat:
        fold = flatness_square if state.config.shape.smoothness == "squares" else flatness_loss
        folded = fold(decoded.vertices, template.faces, template.neighbours).sum(dim=1)
        terms.append(Term("flat", share_of_mean(folded), weights.flat))
    if weights.orientation:
        weight = weights.orientation if epoch < schedule.orientation_until else 0.0
        terms.append(Term("orientation", share_of_mean(decoded.vertices[..., 0].abs()), weight))
    return terms + _camera_terms(state)


def _camera_terms(state: ForwardState) -> list[Term]:
    weights, schedule, epoch = state.config.weights, state.config.terms, state.step_info.epoch
    decoded, terms = state.decoded, list[Term]()
    if weights.upright:
        rolled = expected_over_hypotheses(roll_error(decoded.cameras.quaternion), state.probabilities)
        weight = weights.upright if epoch < schedule.upright_until else 0.0
        terms.append(Term("upright", share_of_mean(rolled), weight))
    if weights.camera_entropy:
        undecided = camera_entropy(state.probabilities)
        terms.append(Term("camera_entropy", share_of_mean(undecided), weights.camera_entropy))
    if weights.camera_use:
        uneven = uneven_use(gather_rows(state.probabilities)) / world_size()
        terms.append(Term("camera_use", uneven, weights.camera_use))
    if state.config.camera.kind == "multiplex":
        # Always included: nothing else trains D_cam, which images without a table of cameras need.
        errors = camera_errors(decoded.regressed.best(), detached(decoded.cameras).pick(state.best))
        pose = errors.rotation + errors.scale + errors.translation
        terms.append(Term("pose", share_of_mean(pose), weights.pose))
    return terms
