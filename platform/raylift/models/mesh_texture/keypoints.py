"""CMR's keypoints: their vertices on the shape, and the cameras solved from them (Kanazawa et al. 2018)."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.collectives import global_count
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.core.model import Term
from raylift.core.step_info import StepInfo
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.cameras import project
from raylift.geometry.keypoint_structure import LEAST_VISIBLE, fit_weak_perspective, structure_from_keypoints
from raylift.losses.cameras import assignment_entropy, camera_errors, keypoint_error, keypoint_positions
from raylift.models.mesh_texture.bank import latest_rows
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.network import Decoded

SHARPNESS = 200.0
"""Initial logit: -SHARPNESS d for a vertex at squared distance d from its keypoint, world units."""


class KeypointModel(nn.Module):
    """The keypoints of a class: their structure, once the whole training set has been seen, and their vertices.

    The annotations of all images are kept in a buffer. At the first step of epoch 1 the structure is solved from them,
    the same on every rank; until then all keypoint terms are 0.

    Args:
        num_vertices: number of template vertices.
        info: description of the data set.

    Attributes:
        assignment: logits of each keypoint's vertices.
        structure: keypoints in the world frame, once ``is_solved``.

    Raises:
        ConfigError: the data set has no images, or too few keypoints.
    """

    seen: Tensor
    structure: Tensor
    is_solved: Tensor

    def __init__(self, num_vertices: int, info: DatasetInfo) -> None:
        super().__init__()
        if info.num_keypoints < LEAST_VISIBLE:
            raise ConfigError(
                f"model.camera.kind is 'keypoints', but the data set has {info.num_keypoints} keypoints",
                f"use a data set with {LEAST_VISIBLE} keypoints or more, or model.camera.kind=single",
            )
        self.mirror = info.keypoint_mirror
        self.assignment = nn.Parameter(torch.zeros(info.num_keypoints, num_vertices))
        self.register_buffer("seen", torch.zeros(info.num_images, info.num_keypoints, 3))
        self.register_buffer("structure", torch.zeros(info.num_keypoints, 3))
        self.register_buffer("is_solved", torch.tensor(False))

    @torch.no_grad()
    def keep(self, images: Int[Tensor, "N"], keypoints: Float[Tensor, "N K 3"]) -> None:
        """Store this step's annotations; every rank must call it with its own."""
        index, rows = latest_rows(images, keypoints.flatten(1))
        self.seen[index] = rows.unflatten(1, (-1, 3)).to(self.seen.dtype)

    @torch.no_grad()
    def solve(self, step_info: StepInfo) -> Float[Tensor, "K 3"] | None:
        """Solve the structure after the first epoch, and return it in that step only.

        Raises:
            DataError: too few images with enough visible keypoints.
        """
        if bool(self.is_solved) or step_info.epoch < 1:
            return None
        # On the CPU, whose arithmetic does not depend on the number of threads or blocks.
        found = structure_from_keypoints(self.seen.cpu(), self.mirror)
        self.structure.copy_(found)
        self.is_solved.fill_(True)
        return self.structure

    @torch.no_grad()
    def assign(self, template: Float[Tensor, "V 3"]) -> None:
        """Initialise each keypoint's vertices to those of the template next to it."""
        squared = (self.structure[:, None] - template[None]).square().sum(dim=-1)
        self.assignment.copy_(-SHARPNESS * (squared - squared.amin(dim=1, keepdim=True)))

    def with_fitted_cameras(self, state: ForwardState) -> Decoded:
        """Replace the decoded cameras by those solved from keypoints (CMR's ``use_gtpose``).

        An image with too few keypoints, and every image before the structure is solved, keeps D_cam's. So D_cam is
        trained by the solved cameras alone, and its errors never affect shapes and textures.
        """
        decoded, keypoints = state.decoded, state.batch["keypoints"]
        if not bool(self.is_solved):
            return decoded
        fitted, own = self.fitted(keypoints), decoded.regressed
        known = (keypoints[..., 2] > 0.5).sum(dim=1, keepdim=True) >= LEAST_VISIBLE
        cameras = CameraHypotheses(
            torch.where(known, fitted.scale[:, None], own.scale),
            torch.where(known[..., None], fitted.translation[:, None], own.translation),
            torch.where(known[..., None], fitted.quaternion[:, None], own.quaternion),
            own.logits,
        )
        return replace(decoded, cameras=cameras)

    def fitted(self, keypoints: Float[Tensor, "B K 3"]) -> WeakPerspective:
        """Solve the images' cameras from their keypoints; arbitrary, but finite, where those are too few."""
        structure = self.structure.expand(len(keypoints), -1, -1)
        return fit_weak_perspective(structure, keypoints[..., :2], (keypoints[..., 2] > 0.5).to(structure.dtype))

    def terms(self, state: ForwardState) -> list[Term]:
        """Terms of keypoint reprojection, the solved camera, and the entropy of the keypoints' vertices."""
        weights, keypoints = state.config.weights, state.batch["keypoints"]
        weighs = 1.0 if bool(self.is_solved) else 0.0
        visible: Bool[Tensor, "B K"] = keypoints[..., 2] > 0.5
        on_shape = keypoint_positions(self.assignment, state.decoded.vertices)
        projected, _ = project(state.camera, on_shape)
        misses = keypoint_error(projected, keypoints[..., :2], visible)
        share = misses.sum() / global_count(visible.sum(), misses)
        terms = [Term("keypoint", share, weights.keypoint * weighs)]
        errors = camera_errors(state.decoded.regressed.best(), self.fitted(keypoints))
        known = visible.sum(dim=1) >= LEAST_VISIBLE
        off = (errors.rotation + errors.scale + errors.translation) * known
        terms.append(Term("camera", off.sum() / global_count(known.sum(), off), weights.camera * weighs))
        # Depends on parameters alone, which every rank has: each contributes an equal part.
        undecided = assignment_entropy(self.assignment).mean() / collectives.world_size()
        terms.append(Term("assignment", undecided, weights.assignment * weighs))
        return terms
