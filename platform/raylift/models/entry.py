"""What the catalogue knows of a model: its config, how to build it, its recipes."""

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
        name: the part before the slash in recipe names.
        config: the class of ``Recipe.model``.
        build: (config, seed, info of the data set) -> the model, on the CPU.
        variants: recipe builders by the part after the slash; each docstring says command, cost, what to expect.
        chains: names that stand for several variants, each of which starts from the run of the one before; a variant
            of another model is given with it, as "model/variant".
        starts_from: other models whose runs this one can start from.
    """

    name: str
    config: type[Any]
    build: Callable[[Any, int, DatasetInfo], Model]
    variants: Mapping[str, Callable[[], Recipe]]
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts_from: tuple[str, ...] = ()
