"""How samples are drawn from a prepared data set."""

from __future__ import annotations

from dataclasses import dataclass

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    """What a run trains and evaluates on. The location of the shards is an argument of the run, not of the recipe.

    An epoch shows every training object once, in one view drawn for (seed, epoch, object).

    Attributes:
        batch_size: objects per global batch, over all workers.
        categories: categories to use; empty uses all.
        max_objects: number of training objects to keep, the first ones (overfitting, smoke runs); 0 keeps all.
        eval_views: views evaluated per held-out object, spread evenly over those stored.
    """

    batch_size: int = 10
    categories: tuple[str, ...] = ()
    max_objects: int = 0
    eval_views: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.eval_views < 1 or self.max_objects < 0:
            raise ConfigError(
                f"data.batch_size {self.batch_size}, eval_views {self.eval_views}, max_objects {self.max_objects}",
                "use batch_size >= 1, eval_views >= 1 and max_objects >= 0",
            )
