"""A model's entry in the catalogue: its config, how to build it, its recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model


@dataclass(frozen=True)
class ModelEntry:
    """One model.

    Attributes:
        name: part before the slash in recipe names.
        config: class of ``Recipe.model``.
        build: function (config, seed, data set info) -> the model, on the CPU.
        variants: recipe builders by the part after the slash; each docstring has the command, the cost and the expected
            result.
        chains: sequences of variants by name, each variant initialised from the run of the previous one; a variant of
            another model is written "model/variant".
        starts_from: other models whose runs can initialise this one.
    """

    name: str
    config: type[Any]
    build: Callable[[Any, int, DatasetInfo], Model]
    variants: Mapping[str, Callable[[], Recipe]]
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts_from: tuple[str, ...] = ()
