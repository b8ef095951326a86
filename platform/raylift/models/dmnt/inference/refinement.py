"""Refinement of many candidates at once by Adam: poses, then poses and shapes together."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.models.dmnt.inference.candidates import POSE_SIZE, Candidates
from raylift.models.dmnt.inference.objective import Scene, explain

BETAS = (0.4, 0.6)
"""Adam's, as in NeMo: short memories suit a few dozen steps."""
FINAL_RATE = 0.1
"""Learning rate at the end of the cosine, relative to the start."""


def adam_steps(
    scene: Scene,
    candidates: Candidates,
    num_steps: int,
    learning_rate: float,
    first_step: int = 0,
    total_steps: int | None = None,
    shape_learning_rate: float = 0.0,
    prior_weight: float = 0.0,
) -> tuple[Candidates, Float[Tensor, "M"]]:
    """Climb the score of every candidate, and return the best state that each one passed.

    The loss is the sum over candidates and Adam works on each number alone, so a candidate's path does not depend on
    the others in its batch.

    Args:
        first_step: steps done before, for the cosine of the learning rate.
        total_steps: steps of the whole cosine; by default ``num_steps`` after the first.
        shape_learning_rate: of the latent; 0 keeps the shapes.
        prior_weight: of half the squared length of the latent, which the score loses.

    Returns:
        the candidates, and their scores without the prior.
    """
    total = first_step + num_steps if total_steps is None else total_steps
    pose = torch.zeros(len(candidates), POSE_SIZE, device=candidates.latent.device, requires_grad=True)
    latent = candidates.latent.clone().requires_grad_(shape_learning_rate > 0)
    groups = [{"params": [pose], "lr": learning_rate}]
    if shape_learning_rate:
        groups.append({"params": [latent], "lr": shape_learning_rate})
    optimizer = torch.optim.Adam(groups, betas=BETAS)
    best = _Best(candidates)
    for step in range(num_steps + 1):
        with torch.enable_grad():
            now = replace(candidates.moved(pose, scene.offset), latent=latent)
            score = explain(scene, now).score
            objective = score - 0.5 * prior_weight * latent.square().sum(1)
            loss = -objective.sum()
        best.take(now, score.detach(), objective.detach())
        if step == num_steps:
            break
        optimizer.zero_grad()
        loss.backward()
        scale = cosine_rate(first_step + step, total)
        for group, rate in zip(optimizer.param_groups, (learning_rate, shape_learning_rate), strict=False):
            group["lr"] = rate * scale
        optimizer.step()
    return best.candidates, best.score


def cosine_rate(step: int, total: int) -> float:
    """Factor of the learning rate: 1 at the first step, ``FINAL_RATE`` at the end."""
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))


class _Best:
    """The best state of each candidate so far."""

    def __init__(self, start: Candidates) -> None:
        self.candidates = start
        self.score = torch.full((len(start),), -torch.inf, device=start.latent.device)
        self._objective = self.score.clone()

    def take(self, now: Candidates, score: Tensor, objective: Tensor) -> None:
        better = objective > self._objective
        self.score = torch.where(better, score, self.score)
        self._objective = torch.where(better, objective, self._objective)
        kept = self.candidates

        def chosen(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(better.reshape(-1, *[1] * (new.dim() - 1)), new.detach(), old)

        camera = replace(
            kept.camera,
            principal=chosen(now.camera.principal, kept.camera.principal),
            rotation=chosen(now.camera.rotation, kept.camera.rotation),
            translation=chosen(now.camera.translation, kept.camera.translation),
        )
        self.candidates = replace(kept, camera=camera, latent=chosen(now.latent, kept.latent))
