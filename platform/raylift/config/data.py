"""How samples are drawn from a prepared data set."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.config.tree import LATER
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
        shuffle_window: shards per window of the shuffle: shards come in a drawn order, and objects are shuffled within
            a window of them, so that a loader needs a window and not the whole set. None (or 0) shuffles all objects.
    """

    batch_size: int = 10
    categories: tuple[str, ...] = ()
    max_objects: int = 0
    eval_views: int = 1
    shuffle_window: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.eval_views < 1 or self.max_objects < 0:
            raise ConfigError(
                f"data.batch_size {self.batch_size}, eval_views {self.eval_views}, max_objects {self.max_objects}",
                "use batch_size >= 1, eval_views >= 1 and max_objects >= 0",
            )
        if self.shuffle_window is not None and self.shuffle_window < 0:
            raise ConfigError(
                f"data.shuffle_window is {self.shuffle_window}", "use 1 or more shards, or null to shuffle all objects"
            )
        if self.shuffle_window == 0:  # one spelling, so that a run resumes with either
            object.__setattr__(self, "shuffle_window", None)
