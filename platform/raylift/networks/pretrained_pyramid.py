"""A pretrained image encoder that returns its maps: frozen, or trained with its own learning rate."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import WeightsError
from raylift.networks.feature_extractors import IMAGENET_MEAN, IMAGENET_STD
from raylift.networks.reading_places import ReadingPlaces
from raylift.networks.trunk_weights import fill_in_order, load_trunk, read_state
from raylift.networks.trunks import build_timm, build_trunk, strided_layers

_PROBE_PX = 64


class PretrainedPyramid(nn.Module):
    """An ImageNet trunk without its classifier.

    Batch normalisation keeps its stored statistics in training too, so a sample's features do not depend on the other
    samples of its worker (law 1). The weights are part of the state: a run's checkpoint needs no other file.

    Args:
        name: name in ``networks.trunks.TRUNKS``, ``torchvision:NAME`` or ``timm:NAME``.
        frozen: whether the trunk's parameters get no gradients.

    Attributes:
        channels: channels of each map, finest first.
        places: input positions of each map's cells.

    Raises:
        ConfigError: an unknown name. Missing weights raise on first use without a checkpoint's.
    """

    mean: Tensor
    std: Tensor
    stages: nn.Module

    def __init__(self, name: str, frozen: bool = True) -> None:
        super().__init__()
        self.name, self.frozen = name, frozen
        self._is_list = not name.startswith("timm:")
        self.stages = (
            nn.ModuleList(build_trunk(name))
            if self._is_list
            else build_timm(name.removeprefix("timm:"), pretrained=False)
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.problem: WeightsError | None = None
        try:
            self._load()
        except WeightsError as error:
            # A checkpoint may contain the weights; without one, the first use raises this.
            self.problem = error
        self.requires_grad_(not frozen)
        self.train(self.training)
        self.channels = self._probe()
        self.places = _places(self.stages)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """Maps of RGB in [0, 1], finest first.

        Raises:
            WeightsError: weights found neither in a file nor in a checkpoint.
        """
        if self.problem is not None:
            raise self.problem
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._maps(((image - self.mean) / self.std).contiguous(memory_format=torch.channels_last))

    def train(self, mode: bool = True) -> PretrainedPyramid:
        """Set the mode, but normalisation keeps its statistics, and a frozen trunk never applies dropout."""
        super().train(mode and not self.frozen)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.problem = None

    def _load(self) -> None:
        if self._is_list:
            load_trunk(self.name, self.stages)
        else:
            fill_in_order(self.stages, read_state(self.name), self.name)

    def _maps(self, x: Tensor) -> list[Tensor]:
        if not self._is_list:
            return list(self.stages(x))
        maps = []
        assert isinstance(self.stages, nn.ModuleList)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    @torch.no_grad()
    def _probe(self) -> tuple[int, ...]:
        training = self.training
        self.eval()
        maps = self._maps(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))
        self.train(training)
        return tuple(one.shape[1] for one in maps)


def _places(stages: nn.Module) -> tuple[ReadingPlaces, ...]:
    found, first, spacing = [], 0.0, 1.0
    for stage in stages if isinstance(stages, nn.ModuleList) else [stages]:
        for kernel, stride, padding in strided_layers(stage):
            first += ((kernel - 1) / 2 - padding) * spacing
            spacing *= stride
            if not isinstance(stages, nn.ModuleList):
                found.append(ReadingPlaces(first, spacing))
        if isinstance(stages, nn.ModuleList):
            found.append(ReadingPlaces(first, spacing))
    if isinstance(stages, nn.ModuleList):
        return tuple(found)
    # A network of timm lists its maps' spacings; the last position with a spacing is the end of its stage.
    wanted = [float(value) for value in stages.feature_info.reduction()]  # type: ignore[operator,union-attr]
    return tuple(
        next((one for one in reversed(found) if one.spacing == value), ReadingPlaces(0.0, value)) for value in wanted
    )
