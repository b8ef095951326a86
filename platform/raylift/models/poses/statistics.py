"""Statistics of the pose search: running means over images, and sums over the run's last part."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core import collectives
from raylift.networks.pose_posterior import LEAST_MARGINAL

LEAST_SHARE = 0.0025
"""Weight of the value 0 in each vertex's mean, relative to a vertex's mean weight: keeps unseen vertices finite."""


def sums_over_ranks(sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sum each entry over all ranks, in float64, in one collective. **Every rank must call it.**"""
    total = collectives.global_sum(torch.cat([part.double().flatten() for part in sums.values()]))
    chunks = total.split([part.numel() for part in sums.values()])
    return {name: chunk.view(part.shape) for (name, part), chunk in zip(sums.items(), chunks, strict=True)}


class SearchStatistics(nn.Module):
    """Buffers of S starts.

    Attributes:
        marginal: running mean of the azimuths' posterior.
        bias: log-factor per azimuth that pulls the marginal towards uniform.
        cue_sums: running sums for each vertex's shared cue, with their weight (last).
        objective: running mean of the expected error.
        final_*: sums over the last part of the run, whose temperature is constant.
    """

    marginal: Tensor
    bias: Tensor
    cue_sums: Tensor
    objective: Tensor
    final_count: Tensor
    final_objective: Tensor
    final_azimuths: Tensor
    final_elevations: Tensor
    final_entropy: Tensor
    final_twins: Tensor
    final_misfit: Tensor

    def __init__(self, starts: int, azimuths: int, elevations: int, vertices: int, channels: int) -> None:
        super().__init__()
        shapes = {
            "bias": (starts, azimuths),
            "cue_sums": (starts, vertices, channels + 1),
            "objective": (starts,),
            "final_count": (),
            "final_objective": (starts,),
            "final_azimuths": (starts, azimuths),
            "final_elevations": (starts, elevations),
            "final_entropy": (starts,),
            "final_twins": (starts,),
            "final_misfit": (starts,),
        }
        self.register_buffer("marginal", torch.full((starts, azimuths), 1 / azimuths, dtype=torch.float64))
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def take(self, count: float, sums: dict[str, Tensor], prior: float, window: int, is_final: bool) -> None:
        """Add one step's sums over ``count`` images of all ranks.

        The pull is damped and has the fixed point bias = -prior / (1 - prior) log(A marginal): with 0.5 an azimuth
        twice as frequent as the mean loses half of its probability.
        """
        share = min(1.0, count / window)
        self.marginal.lerp_(sums["azimuths"] / count, share)
        self.objective.lerp_(sums["objective"] / count, share)
        if prior:
            frequency = self.marginal.clamp(min=LEAST_MARGINAL) * self.marginal.shape[1]
            self.bias.copy_(prior * (self.bias - frequency.log()))
        if "cues" in sums:
            # The mesh changes in the several windows of steps between two paintings, so only one window is kept.
            self.cue_sums.mul_(1 - share).add_(sums["cues"])
        if is_final:
            self.final_count += count
            self.final_objective += sums["objective"]
            self.final_azimuths += sums["free_azimuths"]
            self.final_elevations += sums["elevations"]
            self.final_entropy += sums["entropy"]
            self.final_twins += sums["twins"]
            self.final_misfit += sums["misfit"]

    def cues(self, mirror: Tensor) -> Float[Tensor, "S V C"]:
        """Each vertex's shared cue; both sides of the mirror plane have the same."""
        total = self.cue_sums + self.cue_sums[:, mirror]
        weight = total[..., -1:]
        return total[..., :-1] / (weight + LEAST_SHARE * weight.mean(dim=1, keepdim=True)).clamp(min=LEAST_MARGINAL)

    @property
    def ranking(self) -> Float[Tensor, "S"]:
        """The objective that compares starts: over the run's last part, once it has begun."""
        return self.final_objective / self.final_count if float(self.final_count) else self.objective
