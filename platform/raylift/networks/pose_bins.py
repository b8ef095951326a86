"""A head that predicts a pose as bins of azimuth, elevation and roll, with an offset from each bin's centre."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.errors import ConfigError
from raylift.core.precision import at_least_float32
from raylift.geometry.pose_bins import bin_centers
from raylift.geometry.pose_grid import pose_quaternions
from raylift.geometry.rotations import quaternion_to_matrix


@dataclass(frozen=True)
class PoseBinsConfig:
    """How poses are divided into bins.

    Attributes:
        num_bins: bins of each angle, over 360 degrees; 21 in Tulsiani and Malik and in StarMap's baseline.
        offsets: whether to predict the offset from the bin's centre (MultiBin); otherwise the centre is the answer.
        per_category: whether each category has its own bins' weights (Tulsiani and Malik), or all share one (StarMap).
    """

    num_bins: int = 21
    offsets: bool = True
    per_category: bool = False

    def __post_init__(self) -> None:
        if self.num_bins < 3:
            raise ConfigError(f"pose.num_bins is {self.num_bins}", "use at least 3; 21 is usual")


@dataclass(frozen=True)
class PoseBins:
    """Scores of the bins of azimuth, elevation and roll.

    Attributes:
        logits: score of each bin.
        offsets: (cosine, sine) of each bin's offset from its centre, of any length; None without offsets.
    """

    logits: Float[Tensor, "B 3 N"]
    offsets: Float[Tensor, "B 3 N 2"] | None

    def angles(self) -> Float[Tensor, "B 3"]:
        """Azimuth, elevation and roll in radians, by the highest bin of each."""
        num_bins = self.logits.shape[-1]
        best = self.logits.argmax(dim=-1, keepdim=True)
        centers = bin_centers(num_bins, self.logits).expand_as(self.logits)
        angles = torch.take_along_dim(centers, best, dim=-1).squeeze(-1)
        if self.offsets is None:
            return angles
        picked = torch.take_along_dim(self.offsets, best[..., None], dim=2).squeeze(2)
        return angles + torch.atan2(picked[..., 1], picked[..., 0])

    def rotations(self) -> Float[Tensor, "B 3 3"]:
        """World-to-camera rotations of ``angles``."""
        return quaternion_to_matrix(pose_quaternions(*self.angles().unbind(-1)))


class PoseBinHead(nn.Module):
    """Linear scores of pose bins from a feature vector.

    Args:
        in_features: size of the feature.
        num_categories: number of categories, for bins of their own.
        config: number of bins, and what they have.
    """

    def __init__(self, in_features: int, num_categories: int, config: PoseBinsConfig) -> None:
        super().__init__()
        self.config = config
        self.num_sets = num_categories if config.per_category else 1
        count = self.num_sets * 3 * config.num_bins
        self.bins = nn.Linear(in_features, count)
        self.offsets = nn.Linear(in_features, 2 * count) if config.offsets else None
        if self.offsets is not None:
            with torch.no_grad():
                self.offsets.bias.copy_(torch.tensor([1.0, 0.0]).repeat(count))  # the centre itself

    def forward(self, feature: Float[Tensor, "B D"], category: Int[Tensor, "B"]) -> PoseBins:
        """Scores for the pose of an object of that category, at least float32."""
        which = category if self.config.per_category else torch.zeros_like(category)
        rows = torch.arange(len(which), device=which.device)
        shape = (self.num_sets, 3, self.config.num_bins)
        logits = at_least_float32(self.bins(feature)).unflatten(1, shape)[rows, which]
        if self.offsets is None:
            return PoseBins(logits, None)
        return PoseBins(logits, at_least_float32(self.offsets(feature)).unflatten(1, (*shape, 2))[rows, which])
