"""Models whose answers are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Field, Mesh, Reconstruction, SampleRequest
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset


class AnsweringModel(ReconstructionModel):
    """Answers an image with a shape that ``answer`` makes of its sample's id."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        return SampleRequest(image_px=32, num_points=16)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        return [Term("nothing", self.weight.sum())]

    def answer(self, sample: str) -> Mesh | Field:
        raise KeyError(sample)

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        assert not self.training
        assert not torch.is_grad_enabled()
        assert batch.camera is not None
        return [Reconstruction(name, self.answer(name), batch.camera[i]) for i, name in enumerate(batch.ids)]


class TruthModel(AnsweringModel):
    """Answers with the true mesh."""

    def __init__(self, dataset: ShardedDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def answer(self, sample: str) -> Mesh:
        return load_object(self.dataset, sample.rpartition("#")[0]).mesh


class BallModel(AnsweringModel):
    """Answers with a grey ball; its radius may depend on the sample."""

    def __init__(self, radius: float = 0.4, step: float = 0.0) -> None:
        super().__init__()
        self.radius, self.step = radius, step

    def answer(self, sample: str) -> Field:
        radius = self.radius + self.step * int(sample.rpartition("#")[2])

        def query(points: Tensor) -> tuple[Tensor, Tensor]:
            return points.norm(dim=1) - radius, torch.full_like(points, 0.5)

        return Field(query)


class NothingModel(AnsweringModel):
    """Sees nothing anywhere."""

    def answer(self, sample: str) -> Field:
        return Field(lambda points: (torch.ones(len(points)), torch.zeros_like(points)))
