"""A ball at the origin whose radius and colour are read from the pooled image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.collectives import share_of_mean
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Field, Reconstruction, SampleRequest
from tinyball.config import TinyBallConfig

SDF_RANGE = 0.1
"""Signed distances of samples are cut off here, world units."""
LARGEST = 0.5
"""A ball of this radius fills the unit cube."""


class TinyBall(ReconstructionModel):
    """radius = 0.5 sigmoid(a . h), rgb = sigmoid(W h), h = relu(V pooled image).

    Args:
        config: the recipe's model part.
        seed: the run's, which the initial weights follow from.
    """

    def __init__(self, config: TinyBallConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "tinyball", "weights"))
            self.encoder = nn.Linear(3 * config.pooled_px**2, config.hidden)
            self.radius = nn.Linear(config.hidden, 1)
            self.color = nn.Linear(config.hidden, 3)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        return SampleRequest(self.config.image_px, self.config.points)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B 3"]]:
        """Radius in (0, 0.5), world units, and RGB in (0, 1)."""
        pooled = nn.functional.adaptive_avg_pool2d(image, self.config.pooled_px).flatten(1)
        features = self.encoder(pooled).relu()
        return LARGEST * self.radius(features)[:, 0].sigmoid(), self.color(features).sigmoid()

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        radius, color = self(batch["image"])
        distance = (batch["points"].norm(dim=-1) - radius[:, None]).clamp(-SDF_RANGE, SDF_RANGE)
        weights = self.config.weights
        return LossOutput(
            [
                Term("sdf", share_of_mean((distance - batch["sdf"]).abs()), weights.sdf),
                Term("color", share_of_mean((color[:, None] - batch["color"]).abs()), weights.color),
            ]
        )

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        radius, color = self(batch["image"])
        camera = batch.camera
        assert camera is not None, "whole images come with a camera"
        return [
            Reconstruction(name, _ball(radius[index], color[index]), camera[index])
            for index, name in enumerate(batch.ids)
        ]


def _ball(radius: Tensor, color: Float[Tensor, "3"]) -> Field:
    def query(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        return points.norm(dim=-1) - radius, color.expand(len(points), 3)

    return Field(query, device=color.device)
