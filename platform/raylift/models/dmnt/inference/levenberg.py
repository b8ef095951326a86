"""Refinement of poses by Levenberg-Marquardt on the difference of rendered and seen features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera
from raylift.models.dmnt.inference.candidates import POSE_SIZE, Candidates
from raylift.models.dmnt.inference.objective import Scene
from raylift.models.dmnt.inference.uv_motion import uv_motion
from raylift.rendering.uv_fragments import uv_fragments

FIRST_DAMPING = 1e-2
ACCEPTED, REJECTED = 1 / 3, 4.0
"""Factors of the damping after a step that raised the score, and after one that did not."""
LARGEST_STEP = 0.3
"""Longest step: radians, logarithm of the distance, half image sizes."""


@dataclass(frozen=True)
class _Normal:
    """Normal equations A x = b of each candidate at its pose, and its score there."""

    score: Float[Tensor, "M"]
    matrix: Float[Tensor, "M 6 6"]
    vector: Float[Tensor, "M 6"]


@torch.no_grad()
def levenberg_steps(scene: Scene, candidates: Candidates, num_steps: int) -> tuple[Candidates, Float[Tensor, "M"]]:
    """Raise sum_p max(o, c - price) - c of every candidate by damped Gauss-Newton steps.

    For unit vectors 1 - o = |F - R|^2 / 2, so the pixels where the object wins are a problem of least squares with
    residuals F - R(uv(p)); the others are constant, and are left out until they win. The outline is not moved.

    Returns:
        the candidates, each at its best pose, and their scores.
    """
    vertices = scene.vertices(candidates)
    now = _normal_equations(scene, candidates, vertices)
    damping = torch.full_like(now.score, FIRST_DAMPING)
    for _ in range(num_steps):
        tried = candidates.moved(_solve(now, damping), scene.offset)
        found = _normal_equations(scene, tried, vertices)
        better = found.score > now.score
        candidates = replace(candidates, camera=_chosen(better, tried.camera, candidates.camera))
        now = _Normal(
            torch.where(better, found.score, now.score),
            torch.where(better[:, None, None], found.matrix, now.matrix),
            torch.where(better[:, None], found.vector, now.vector),
        )
        damping = (damping * torch.where(better, ACCEPTED, REJECTED)).clamp(1e-6, 1e6)
    return candidates, now.score


def _solve(now: _Normal, damping: Float[Tensor, "M"]) -> Float[Tensor, "M 6"]:
    diagonal = now.matrix.diagonal(dim1=1, dim2=2)
    # Relative to the largest too, so that a direction that no pixel constrains stays put.
    floor = 1e-6 * diagonal.amax(1, keepdim=True) + 1e-9
    damped = now.matrix + torch.diag_embed(damping[:, None] * diagonal + floor)
    step = torch.linalg.solve(damped.double(), now.vector.double()).to(now.vector)
    return step * (LARGEST_STEP / step.norm(dim=1, keepdim=True).clamp(min=LARGEST_STEP))


def _chosen(better: Tensor, new: Camera, old: Camera) -> Camera:
    return replace(
        old,
        principal=torch.where(better[:, None], new.principal, old.principal),
        rotation=torch.where(better[:, None, None], new.rotation, old.rotation),
        translation=torch.where(better[:, None], new.translation, old.translation),
    )


def _normal_equations(scene: Scene, candidates: Candidates, vertices: Float[Tensor, "M V 3"]) -> _Normal:
    templates, evidence, camera = scene.templates, scene.evidence, candidates.camera
    found = uv_fragments(vertices, templates.faces, templates.corner_uvs, camera, evidence.side)
    motion = uv_motion(vertices, templates.faces, templates.corner_uvs, camera, found, scene.offset)
    at, image = (motion.candidate, motion.row, motion.column), candidates.image[motion.candidate]
    rendered, slope = _read_with_slope(scene, candidates, found.uv)
    rendered, slope = rendered[at], slope[at]
    seen = evidence.features[image, :, motion.row, motion.column]
    margin = (rendered * seen).sum(1) - evidence.clutter[image, motion.row, motion.column]
    count = len(candidates)
    score = margin.new_zeros(count).index_add_(0, motion.candidate, margin.clamp(min=-scene.price))
    wins = (margin > -scene.price).to(margin)
    metric = wins[:, None, None] * (slope @ slope.mT)
    pull = wins[:, None] * (slope @ (seen - rendered)[..., None])[..., 0]
    matrix = margin.new_zeros(count, POSE_SIZE, POSE_SIZE)
    vector = margin.new_zeros(count, POSE_SIZE)
    matrix.index_add_(0, motion.candidate, motion.jacobian.mT @ metric @ motion.jacobian)
    vector.index_add_(0, motion.candidate, (motion.jacobian.mT @ pull[..., None])[..., 0])
    return _Normal(score, matrix, vector)


def _read_with_slope(
    scene: Scene, candidates: Candidates, uv: Float[Tensor, "M S S 2"]
) -> tuple[Float[Tensor, "M S S D"], Float[Tensor, "M S S 2 D"]]:
    """Features at uv and their derivatives by central differences over one texel."""
    gap = 0.5 / scene.texture.config.texels
    shifts = gap * uv.new_tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    places = (uv[:, :, None] + shifts[:, None]).flatten(2, 3)
    read = scene.texture.read(candidates.category, places).unflatten(2, (5, uv.shape[2]))
    center, right, left, up, down = read.unbind(2)
    return center, torch.stack([right - left, up - down], 3) / (2 * gap)
