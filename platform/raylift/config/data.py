"""How samples are drawn from a prepared data set."""

from __future__ import annotations

from dataclasses import dataclass

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    """What a run trains and evaluates on. Where the shards lie is an argument of the run, not part of the recipe.

    An epoch shows every training object once, by one view that is drawn for (seed, epoch, object).

    Attributes:
        batch_size: objects in a global batch, over all workers.
        categories: use only these; empty means all.
        max_objects: keep only the first so many training objects (overfitting, smoke runs); 0 keeps all.
        eval_views: views of each held-out object that are evaluated, spread evenly over those stored.
    """

    batch_size: int = 10
    categories: tuple[str, ...] = ()
    max_objects: int = 0
    eval_views: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.eval_views < 1 or self.max_objects < 0:
            raise ConfigError(
                f"data.batch_size {self.batch_size}, eval_views {self.eval_views}, max_objects {self.max_objects}",
                "give a batch and views of at least 1 and 0 or more objects",
            )
