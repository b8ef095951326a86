"""A model as small as one can be that still has everything the loop must carry: two groups, a lazy phase, a buffer
that training does not touch by gradient, draws keyed by sample, and a term that is only logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from raylift.core.collectives import global_count, global_sum, rank, share_of_mean, world_size
from raylift.core.generators import stable_hash, torch_generator
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Reconstruction, SampleRequest

WIDTH = 5
NUM_OBJECTS = 14
BATCH = 6


class ToyModel(ReconstructionModel):
    """Regression with a generator and a critic of its residuals, which is only trained every other step."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch_generator(seed, "toy")

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.3 * torch.randn(*shape, generator=generator, dtype=dtype))

        self.hidden, self.out, self.critic = normal(WIDTH, 8), normal(8), normal(WIDTH)
        self.register_buffer("template", torch.zeros(WIDTH, dtype=dtype))

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("generate", ("generator",)), Phase("criticise", ("critic",), every=2))

    @property
    def request(self) -> SampleRequest:
        return SampleRequest(image_px=1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [self.hidden, self.out], "critic": [self.critic]}

    def _residual(self, batch: Batch, step_info: StepInfo) -> Tensor:
        noise = torch.stack(
            [
                torch.randn(
                    WIDTH, generator=torch_generator(step_info.seed, step_info.step, int(key)), dtype=self.out.dtype
                )
                for key in batch.keys
            ]
        )
        seen = batch["x"] + 0.1 * noise - self.template
        return torch.tanh(seen @ self.hidden) @ self.out - batch["y"]

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        residual = self._residual(batch, step_info)
        doubt = batch["x"] @ self.critic
        if phase == "generate":
            sums = batch["x"].detach().sum(0) / global_count(len(batch), batch["x"])
            terms = [
                Term("residual", share_of_mean(residual.square()), 2.0),
                Term("doubt", share_of_mean(residual * doubt), 0.1),
                Term("watched", share_of_mean(residual.abs()), 0.0),
            ]
            return LossOutput(terms, {"sums": sums})
        assert "sums" in carry
        return LossOutput([Term("critic", share_of_mean((doubt - residual.detach()).square()))])

    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        self.template.lerp_(global_sum(carry["sums"]), 0.05)

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        return []


class OneGroup(ToyModel):
    """The same with one phase of one group, as most models are."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("generate", ("model",)),)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"model": [self.hidden, self.out, self.critic]}


def sample(row: int, dtype: torch.dtype = torch.float64) -> tuple[str, Tensor, Tensor]:
    """Row k of the endless stream: a pure function of k."""
    name = f"object-{row % NUM_OBJECTS}#0"
    x = torch.randn(WIDTH, generator=torch_generator(7, name), dtype=dtype)
    return name, x, torch.sin(x.sum())


def feed(
    mend: Callable[[int, Batch], Batch] = lambda step, batch: batch, dtype: torch.dtype = torch.float64
) -> Callable[[int, int], Iterator[Batch]]:
    """Global batches of 6 rows, of which each rank gets a contiguous part; parts may differ in size."""

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            world, own = world_size(), rank()
            rows = range(step * BATCH + own * BATCH // world, step * BATCH + (own + 1) * BATCH // world)
            ids, xs, ys = zip(*(sample(row, dtype) for row in rows), strict=True)
            keys = torch.tensor([stable_hash(name) for name in ids])
            yield mend(step, Batch(tuple(ids), keys, {"x": torch.stack(xs), "y": torch.stack(ys)}))

    return batches


def epoch_of(step: int) -> int:
    return step * BATCH // NUM_OBJECTS
