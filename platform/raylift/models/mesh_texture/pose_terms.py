"""The term that anchors D_cam to the poses of a pose search, and initialisation from one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raylift.core.collectives import share_of_mean
from raylift.core.errors import ConfigError
from raylift.core.model import Term
from raylift.geometry.icosphere import sphere_interpolation, symmetric_icosphere
from raylift.losses.cameras import pose_anchor_error
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.network import MeshTextureNetwork
from raylift.networks.pose_posterior import load_posterior


def anchor_term(state: ForwardState) -> Term:
    """D_cam against the posterior of each crop, which is recomputed: mirrored and jittered crops have their own.

    Raises:
        ConfigError: the run does not start from a pose search.
    """
    poses, batch = state.network.poses, state.batch
    assert poses is not None
    if not bool(poses.ready):
        raise ConfigError(
            "model.weights.anchor is above 0, but the run has no poses from a pose search",
            "train the chain mesh_texture/best-quick, set start_from=RUN of a poses recipe, or model.weights.anchor=0",
        )
    target = poses(batch["image"], batch["mask"]).bins(state.config.camera.num_hypotheses)
    error = pose_anchor_error(state.decoded.regressed, target)
    return Term("anchor", share_of_mean(error), state.config.weights.anchor)


@torch.no_grad()
def start_from_poses(network: MeshTextureNetwork, state: Mapping[str, Tensor], where: str) -> None:
    """Initialise from a finished pose search: its posterior is the anchor, its mesh the template.

    Raises:
        CheckpointError: the search is not finished, or has another grid, level or cue.
    """
    found = load_posterior(network.poses, state, where)
    vertices = found["vertices"].to(network.template.positions)
    level = next((level for level in range(7) if len(vertices) == 10 * 4**level + 2), -1)
    coarse, fine = symmetric_icosphere(level), symmetric_icosphere(network.config.shape.level)
    finer = sphere_interpolation(coarse, fine.vertices).to(vertices) @ vertices
    network.template.positions.copy_(fine.restrict(finer) if network.config.shape.symmetric else finer)
    network.template.origin.zero_()
